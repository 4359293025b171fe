"""Checks the result that a person gives to a step or an item, against what the step's task type may give.

What must hold:
- A result that passes has the members that those of attempts have, so that the mappings of later steps find them.
- Each file in a result is of the kind that its member says. Whether it exists isn't checked here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import json

from stepwell.basics.artifacts import MEDIA_TYPES, media_type_of, parse_artifact_path
from stepwell.basics.errors import Fault
from stepwell.basics.spelling import did_you_mean
from stepwell.basics.strict_json.schema_faults import Loc, printable_key
from stepwell.contract.task_configs import TASK_TYPES
from stepwell.contract.workflows import MAX_DATA_BYTES
from stepwell.definition.mapping.items import RESULT_LISTS, result_of_items
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.definition.validation.step_outputs import declared_outputs
from stepwell.lifecycle.records import StepRecord

# The members with the work itself, by the kind of output. A result has at least one of those of its kind, unless the
# step's provider doesn't declare what its results have.
_WORK: Final = {
    "image": ("result_image_path", "result_image_paths"),
    "video": ("result_video_path", "result_video_paths"),
    "text": ("result_text", "result_json"),
}
_ITEMS: Final = "items"
_PATH: Final = "Expected the path of a stored file, media/{id}/{name}: upload the file, and give the path of the upload"


def hand_result(
    step: StepRecord, catalog: ProviderCatalog, result: dict[str, Any], loc: Loc, *, of_item: bool
) -> tuple[bytes, list[Fault]]:
    """Return the result as it is stored, encoded, and its faults. *of_item*: it is the result of one item of the step.

    That of a step with items has `items`, the results in their order. The rest of it is derived from these.
    """
    fields = _fields(step, catalog)
    if len(json.encode(result)) > MAX_DATA_BYTES:
        return b"", [Fault(loc, f"Expected at most {MAX_DATA_BYTES:,} bytes: files belong into uploads", "too_long")]
    if of_item or step.resolved.flow is None or step.resolved.flow.for_each is None:
        return _completed(result), list(_faults(step, fields, result, loc))
    items = result.get(_ITEMS)
    number = None if step.state.flow is None else step.state.flow.items
    if not isinstance(items, list) or len(result) > 1 or number not in (None, len(items)):
        many = "of all items" if number is None else f"of all {number:,} items"
        why = f"Expected the member items alone, with the results {many} in their order; null for one without a result"
        return b"", [Fault((*loc, _ITEMS), why, "items_expected")]
    faults = [
        fault for index, item in enumerate(items) for fault in _item_faults(step, fields, item, (*loc, _ITEMS, index))
    ]
    if faults:
        return b"", faults
    return result_of_items([None if item is None else _completed(item) for item in items], failed=0), []


def _fields(step: StepRecord, catalog: ProviderCatalog) -> frozenset[str] | None:
    """Return the members that a result of the step's attempts may have; None if it may have any."""
    resolved, definition = step.resolved, step.definition
    primary = resolved.provider, definition.provider_config
    fallback = resolved.fallback, definition.fallback_provider_config
    used = [(provider, config or {}) for provider, config in (primary, fallback) if provider is not None]
    return declared_outputs(resolved.task_type, used, catalog)


def _faults(step: StepRecord, fields: frozenset[str] | None, result: Mapping[str, Any], loc: Loc) -> Iterator[Fault]:
    kind = TASK_TYPES[step.resolved.task_type].output
    work = () if kind is None or fields is None else _WORK[kind]
    if work and not any(result.get(name) is not None for name in work):
        yield Fault((*loc, work[0]), f"A result of {step.resolved.task_type} has {' or '.join(work)}", "missing")
    for name, value in result.items():
        if fields is not None and name not in fields and name not in work:
            hint = did_you_mean(name, fields) or f"; it may have {', '.join(sorted(fields))}"
            why = f"A result of {step.resolved.task_type} has no {printable_key(name)}{hint}"
            yield Fault((*loc, printable_key(name)), why, "unknown_output")
        elif value is not None:
            yield from _member_faults(name, value, (*loc, printable_key(name)))


def _member_faults(name: str, value: Any, loc: Loc) -> Iterator[Fault]:
    """Yield the faults of a member with the work itself; others may have any value."""
    if name in RESULT_LISTS:
        if not isinstance(value, list) or not value:
            yield Fault(loc, "Expected a list with at least one element", "list_type")
            return
        for index, each in enumerate(value):
            yield from _member_faults(RESULT_LISTS[name], each, (*loc, index))
    elif name in ("result_image_path", "result_video_path"):
        kind = name.split("_")[1]
        if not isinstance(value, str) or parse_artifact_path(value) is None:
            yield Fault(loc, _PATH, "file_invalid")
        elif not media_type_of(value).startswith(f"{kind}/"):
            names = sorted({suffixes[0] for media_type, suffixes in MEDIA_TYPES.items() if media_type.startswith(kind)})
            yield Fault(loc, f"Expected the path of a file of the kind {kind}: {', '.join(names)}", "file_invalid")
    elif name == "result_text" and not isinstance(value, str):
        yield Fault(loc, "Expected a string", "string_type")


def _item_faults(step: StepRecord, fields: frozenset[str] | None, item: Any, loc: Loc) -> Iterator[Fault]:
    if isinstance(item, dict):
        yield from _faults(step, fields, item, loc)
    elif item is not None:
        yield Fault(loc, "Expected an object or null", "dict_type")


def _completed(result: dict[str, Any]) -> bytes:
    """Return the encoded result without nulls. The first element of a list is also the member that has one element."""
    result = {name: value for name, value in result.items() if value is not None}
    for several, single in RESULT_LISTS.items():
        if isinstance(values := result.get(several), list) and values:
            result.setdefault(single, values[0])
    return json.encode(result)
