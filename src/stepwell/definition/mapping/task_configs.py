"""Reads and validates the members of configs that Stepwell knows: those of steps, and that of the workflow."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import ValidationError, convert, structs

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.normalise import Handling, normalise
from stepwell.basics.strict_json.schema_faults import Loc, iter_faults
from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import CONFIGS, EditingConfig, GenerationConfig, StepConfig

MAX_PIXELS = 64_000_000
NO_PLACES: Mapping[Loc, bool] = MappingProxyType({})
_NEVER_TEXT = frozenset({"int_type", "float_type", "bool_type", "list_type", "dict_type"})  # types of faults


def without_nulls(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return *config* without the members that are None."""
    return {name: value for name, value in config.items() if value is not None}


def known_config(task_type: TaskType, config: Mapping[str, Any]) -> StepConfig:
    """Return the known fields of *config*, with defaults filled in. Raises `msgspec.ValidationError`."""
    known = without_nulls(config)
    try:
        return convert(known, CONFIGS[task_type])
    except ValidationError:
        return convert(normalise_inputs(task_type, known), CONFIGS[task_type])


def normalise_inputs(task_type: TaskType, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return *inputs* with integers in known fields that take integers, where they have integral floats."""
    normalised: dict[str, Any] = normalise(CONFIGS[task_type], inputs)
    return normalised


def config_faults(
    task_type: TaskType, config: Mapping[str, Any], loc: Loc, evaluated: Mapping[Loc, bool] = NO_PLACES
) -> Iterator[Fault]:
    """Yield the faults of the known fields in *config*. Required fields may be absent: a mapping may provide them.

    *evaluated* are the locations of strings with expressions, whose values aren't known yet. Each is true if the string
    is one whole expression, and so may have a value of any type.
    """
    try:
        known = known_config(task_type, config)
    except ValidationError:
        faults = iter_faults(CONFIGS[task_type], normalise_inputs(task_type, without_nulls(config)), loc)
        for fault in faults:
            if fault.loc not in evaluated:
                yield fault
            elif not evaluated[fault.loc] and fault.type in _NEVER_TEXT:
                message = "An expression with text around it gives a text: write one whole ${…}"
                yield structs.replace(fault, msg=f"{fault.msg}. {message}")
        return
    if isinstance(known, GenerationConfig) and known.width * known.height > MAX_PIXELS:
        message = f"{known.width} x {known.height} is more than {MAX_PIXELS // 1_000_000} megapixels"
        yield Fault((*loc, "width"), message, "too_many_pixels")
    if isinstance(known, EditingConfig) and known.crop is not None:
        left, top, right, bottom = known.crop
        if left >= right or top >= bottom:
            yield Fault(
                (*loc, "crop"), "Expected [left, top, right, bottom] with left < right, top < bottom", "value_error"
            )


def read_workflow_config(config: Mapping[str, Any]) -> WorkflowConfig:
    """Return the known members of *config*, which was accepted at create."""
    known = without_nulls(config)
    try:
        return convert(known, WorkflowConfig)
    except ValidationError:
        return convert(normalise(WorkflowConfig, known, Handling.LENIENT), WorkflowConfig)
