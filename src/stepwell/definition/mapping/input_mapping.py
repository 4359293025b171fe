"""Resolves the inputs of a step from its config and from the results of earlier steps."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct

from stepwell.basics.errors import AttemptError
from stepwell.basics.strict_json.schema_faults import printable_key
from stepwell.basics.strict_json.size import MAX_LEVELS, is_deeper
from stepwell.contract.definition import FieldMapping, WorkflowConfig, WorkflowStepDefinition
from stepwell.contract.enums import WAITS_OF, TaskType, TransformType
from stepwell.contract.task_configs import TASK_TYPES
from stepwell.definition.mapping.expressions import NothingFound, find
from stepwell.definition.mapping.task_configs import config_faults, normalise_inputs, without_nulls
from stepwell.definition.mapping.transforms import TransformError, is_deferred, transform
from stepwell.definition.mapping.work_budget import StepResults, WorkBudget, WorkExceeded

EVERY_TYPE = "*"
TIMEOUT = "timeout_s"
# The mapped values of one step together, as JSON.
MAX_MAPPED_BYTES = 16 * 1024 * 1024

_LISTED_FIELDS = 30
_LISTED_FAULTS = 20


class DeferredTransform(Struct, frozen=True):
    """A transform that needs I/O. `value` is a path or a list of paths; `label` names the mapping in messages."""

    to_field: str
    transform: TransformType
    value: Any
    label: str


def effective_config(config: WorkflowConfig, definition: WorkflowStepDefinition) -> dict[str, Any]:
    """Return the step's config over the workflow's defaults for its type, over those for every type, in a new dict."""
    return merged_config(config.step_defaults, definition.task_type, definition.config)


def merged_config(
    defaults: Mapping[str, Mapping[str, Any]], task_type: TaskType, own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return *own* over the *defaults* for the type, over those for every type, in a new dict.

    A member that is None counts as absent, so it doesn't hide a default. Defaults for every type don't apply to types
    that wait: a `timeout_s` for attempts would end an approval.
    """
    if not defaults:
        return dict(own)
    for_all = {} if task_type in WAITS_OF else defaults.get(EVERY_TYPE, {})
    merged = {**for_all, **without_nulls(defaults.get(task_type, {}))}
    return merged | {name: value for name, value in own.items() if value is not None or name not in merged}


def mapped_values(
    mappings: Sequence[FieldMapping], results: StepResults, budget: WorkBudget, size: int = 0
) -> list[Any]:
    """Return the value of each mapping. *size* is that of the step's other values, in bytes.

    Raises `AttemptError`, not retryable, for the first mapping that fails, and `WorkExceeded`, whose text names the
    mapping that exceeds the budget. The budget is that of all *mappings* together.
    """
    values = list[Any]()
    for mapping in mappings:
        try:
            value = _mapped(mapping, results.get(mapping.from_step), budget)
            more = budget.spend_value(value)
            budget.spend_encode(more)
        except WorkExceeded as error:
            raise WorkExceeded(f"{mapping_label(mapping)} {error}") from None
        check_mapped_bytes(mapping_label(mapping), size := size + more)
        if isinstance(value, (list, dict)) and is_deeper(value, MAX_LEVELS - mapping.to_field.count(".") - 1):
            raise mapping_error(mapping, f"the value is nested deeper than {MAX_LEVELS} levels")
        values.append(value)
    return values


def check_mapped_bytes(label: str, size: int) -> None:
    """Raise `AttemptError`, not retryable, if the values of a step up to that of *label* have too many bytes."""
    if size > MAX_MAPPED_BYTES:
        raise step_error(label, f"the mapped values of the step are over {MAX_MAPPED_BYTES:,} bytes")


def resolve_inputs(
    definition: WorkflowStepDefinition, base: Mapping[str, Any], values: Sequence[Any]
) -> tuple[dict[str, Any], list[DeferredTransform]]:
    """Return the inputs of a step and its deferred transforms.

    The inputs are *base*, the step's effective config, with the *values* of its mappings on top. A deferred value isn't
    in the inputs yet: the caller adds it by `put_input`. `timeout_s` is an input of steps that wait only.
    """
    waits = definition.task_type in WAITS_OF
    inputs = {name: value for name, value in base.items() if name != TIMEOUT or waits}
    deferred = []
    for mapping, value in zip(definition.input_mappings, values, strict=True):
        if mapping.transform is not None and is_deferred(mapping.transform):
            deferred.append(DeferredTransform(mapping.to_field, mapping.transform, value, mapping_label(mapping)))
        else:
            put_input(inputs, mapping.to_field, value)
    return inputs, deferred


def _mapped(mapping: FieldMapping, result: Any, budget: WorkBudget) -> Any:
    try:
        value = find(result, mapping.from_field, budget)
        return value if mapping.transform is None else transform(mapping.transform, value, budget)
    except NothingFound as error:
        why = f" ({error})" if str(error) else ""
        raise _failed(
            f"{mapping_label(mapping)} finds nothing{why}; {_fields_of(result)}: correct from_field"
        ) from error
    except TransformError as error:
        raise mapping_error(mapping, f"{mapping.transform} {error}; {_fields_of(result)}") from error


def put_input(inputs: dict[str, Any], to_field: str, value: Any) -> None:
    """Set *to_field*, whose dots nest. Nested objects are copied, so that only *inputs* itself changes."""
    *parents, last = to_field.split(".")
    target = inputs
    for name in parents:
        below = target.get(name)
        target[name] = dict(below) if isinstance(below, dict) else {}
        target = target[name]
    target[last] = value


def checked_inputs(
    task_type: TaskType, inputs: Mapping[str, Any], left_out: Sequence[FieldMapping] = ()
) -> dict[str, Any]:
    """Check the known fields, mapped values included, and return the inputs as `normalise_inputs` does.

    *left_out* are the mappings that gave no value, because their step has no result. Raises `AttemptError`, not
    retryable, that lists the faults and these mappings.
    """
    # A mapped list may have a fault in each item.
    listed = islice(config_faults(task_type, inputs, ()), _LISTED_FAULTS)
    faults = [f"{'.'.join(map(str, fault.loc))}: {fault.msg}" for fault in listed]
    alternatives = TASK_TYPES[task_type].inputs
    if alternatives and without_nulls(inputs).keys().isdisjoint(alternatives):
        faults.append(f"{' or '.join(alternatives)}: required")
    if faults:
        absent = [f". {mapping_label(each)} was left out: the step has no result" for each in left_out[:_LISTED_FAULTS]]
        raise _failed(f"Refused inputs: {'; '.join(faults)}{''.join(absent)}")
    return normalise_inputs(task_type, inputs)


def _failed(message: str) -> AttemptError:
    return AttemptError(message, retryable=False, provider_fault=False)


def mapping_error(mapping: FieldMapping, why: str) -> AttemptError:
    """Return the error, not retryable, of a step whose *mapping* has no value."""
    return step_error(mapping_label(mapping), why)


def step_error(label: str, why: str, separator: str = ": ") -> AttemptError:
    """Return the error, not retryable, of a step that *label* has no value for."""
    return _failed(f"{label}{separator}{why}")


def mapping_label(mapping: FieldMapping) -> str:
    """Return how errors name the mapping."""
    return f"Mapping of '{printable_key(mapping.from_field)}' of step '{mapping.from_step}' to '{mapping.to_field}'"


def _fields_of(result: Any) -> str:
    if not isinstance(result, dict):
        return "the result is no object"
    names = [printable_key(name) for name in islice(result, _LISTED_FIELDS)]
    more = f" and {len(result) - _LISTED_FIELDS} more" if len(result) > _LISTED_FIELDS else ""
    return f"the result has {', '.join(names)}{more}" if names else "the result has no fields"
