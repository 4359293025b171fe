"""The valid part of a step that may be broken in other places, so that one response can list all faults."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct, ValidationError, convert

from stepwell.basics.strict_json.schema_faults import struct_fields
from stepwell.contract.definition import Condition, FieldMapping, ForEach, JsonObject, Repeat, WorkflowStepDefinition
from stepwell.contract.enums import ProviderType, TaskType

_SOURCES = ("items", "count", "from_step", "from_field")


class PartialItems(Struct, frozen=True):
    """The items of a step: the valid members, and the names of the members that name a source, valid or not."""

    valid: ForEach
    sources: frozenset[str]


class PartialStep(Struct, frozen=True, kw_only=True):
    """A step of which some members may be broken. A broken member, or item of a list, is None.

    `schema_faults` reports the broken members, and the rules of this package skip them. `provider_known` and
    `fallback_known` are false if the member that names the provider, or the provider's config, is broken.
    """

    id: str | None = None
    task_type: TaskType | None = None
    config: JsonObject | None = None
    condition: str | None = None
    for_each: PartialItems | None = None
    repeat: Repeat | None = None
    depends_on: Sequence[str | None] = ()
    input_mappings: Sequence[FieldMapping | None] | None = ()
    has_max_retries: bool = False
    provider_config: JsonObject | None = None
    provider_known: bool = True
    capabilities: Sequence[str | None] = ()
    fallback: ProviderType | None = None
    fallback_known: bool = True
    fallback_config: JsonObject | None = None
    fallback_capabilities: Sequence[str | None] | None = None


def to_partial_step(step: WorkflowStepDefinition) -> PartialStep:
    return PartialStep(
        id=step.id,
        task_type=step.task_type,
        config=step.config,
        condition=None if step.when is UNSET else step.when,
        for_each=None if step.for_each is UNSET else _items_of(step.for_each),
        repeat=None if step.repeat is UNSET else step.repeat,
        depends_on=step.depends_on,
        input_mappings=step.input_mappings,
        has_max_retries=step.max_retries is not UNSET,
        provider_config=step.provider_config,
        capabilities=step.active_provider_capabilities or (),
        fallback=step.fallback_provider_type,
        fallback_config=step.fallback_provider_config,
        fallback_capabilities=step.fallback_provider_capabilities,
    )


def parse_valid_parts(raw: Any) -> PartialStep:
    """Return the valid part of *raw*, a step as the client sent it."""
    try:
        return to_partial_step(convert(raw, WorkflowStepDefinition))
    except ValidationError:
        if not isinstance(raw, dict):
            return PartialStep()
    provider_config = _valid_or_none(raw.get("provider_config"), JsonObject)
    fallback = _valid_or_none(raw.get("fallback_provider_type"), ProviderType)
    fallback_config = _valid_or_none(raw.get("fallback_provider_config"), JsonObject)
    return PartialStep(
        id=_valid_or_none(raw.get("id"), str),
        task_type=_valid_or_none(raw.get("task_type"), TaskType),
        config=_valid_or_none(raw.get("config", {}), JsonObject),
        condition=_valid_or_none(raw.get("when"), Condition),
        for_each=_valid_items(raw.get("for_each")),
        repeat=_valid_or_none(raw.get("repeat"), Repeat),
        depends_on=_items(raw.get("depends_on"), str) or (),
        input_mappings=_items(raw.get("input_mappings", []), FieldMapping),
        has_max_retries=raw.get("max_retries") is not None,
        provider_config=provider_config,
        provider_known=provider_config == raw.get("provider_config"),
        capabilities=_items(raw.get("active_provider_capabilities"), str) or (),
        fallback=fallback,
        fallback_known=(fallback, fallback_config)
        == (raw.get("fallback_provider_type"), raw.get("fallback_provider_config")),
        fallback_config=fallback_config,
        fallback_capabilities=_items(raw.get("fallback_provider_capabilities"), str),
    )


def _items_of(items: ForEach) -> PartialItems:
    return PartialItems(items, frozenset(name for name in _SOURCES if getattr(items, name) is not None))


def _valid_items(raw: Any) -> PartialItems | None:
    if not isinstance(raw, dict):
        return None
    named = frozenset(name for name in _SOURCES if raw.get(name) is not None)
    types = {member.encode_name: member.type for member in struct_fields(ForEach)}
    valid = {name: value for name, value in raw.items() if name in types and _is_valid(value, types[name])}
    return PartialItems(convert(valid, ForEach), named)


def _is_valid(value: Any, type_: Any) -> bool:
    try:
        convert(value, type_)
    except ValidationError:
        return False
    return True


def _valid_or_none(value: Any, type_: Any) -> Any:
    try:
        return convert(value, type_)
    except ValidationError:
        return None


def _items(value: Any, type_: Any) -> list[Any] | None:
    """Return the items of a list, None for each broken one; None if *value* isn't a list."""
    return [_valid_or_none(item, type_) for item in value] if isinstance(value, list) else None
