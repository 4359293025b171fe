"""The refusals of OPENAI that don't depend on a step's images, or on inputs that aren't known yet."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from stepwell.basics.errors import Fault
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import CONFIGS, EditingConfig
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.lifecycle.steps import KnownStep
from stepwell.providers.openai.addresses import check_addresses
from stepwell.providers.openai.parameters import RESERVED, model_of, parameters_of
from stepwell.providers.shared.chat_messages import check_image_count
from stepwell.providers.shared.refusals import collect_refusals, input_refusal

# Inputs that place or cut exactly, which an instruction in words can't.
_EXACT = ("x", "y", "scale", "opacity", "crop", "rotate")
_DEFAULTS = EditingConfig()
_WEIGHT = "_lora_weight"
_KNOWN_INPUTS = {task_type: frozenset({*kind.__struct_fields__, "prompt"}) for task_type, kind in CONFIGS.items()}


def refusals(step: KnownStep, *, public: bool) -> Iterator[Fault]:
    """Yield the faults of a step, which `bodies` refuses too. *public*: the server is OpenAI."""
    task_type, config, inputs = step.task_type, step.provider_config, step.inputs
    yield from collect_refusals(
        partial(model_of, task_type, config),
        lambda: check_unknown_inputs(unknown_inputs(task_type, inputs), parameters_of(config), public=public),
    )
    if task_type is TaskType.GENERATION:
        yield from collect_refusals(*(partial(check_weight, name) for name in inputs if name.endswith(_WEIGHT)))
    elif task_type is TaskType.EDITING:
        yield from collect_refusals(*(partial(check_exact, name, inputs[name]) for name in _EXACT if name in inputs))
    elif task_type is TaskType.LLM_INTERACTION:
        yield from collect_refusals(partial(check_image_count, inputs.get("messages", ())))


def check_weight(name: str) -> None:
    """Raise `Refusal` if the input *name* is the weight of a LoRA."""
    if name.endswith(_WEIGHT):
        raise input_refusal(name, why="OPENAI takes no LoRAs", provider_fault=True)


def check_exact(name: str, value: Any) -> None:
    """Raise `Refusal` if an input of EDITING asks for something exact."""
    if name in _EXACT and value != getattr(_DEFAULTS, name):
        raise input_refusal(name, why="OPENAI can't place or crop exactly", provider_fault=True)


def unknown_inputs(task_type: TaskType, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that aren't Stepwell's, without None values."""
    known = _KNOWN_INPUTS[task_type]
    return {name: value for name, value in without_nulls(inputs).items() if name not in known}


def check_unknown_inputs(rest: Mapping[str, Any], parameters: Mapping[str, Any], *, public: bool) -> None:
    """Raise `Refusal` for inputs that aren't Stepwell's, or `parameters`, that must not be sent.

    *public*: they would be sent to OpenAI.
    """
    if (name := next((name for name in rest if name in RESERVED), None)) is not None:
        raise input_refusal(name, why="OPENAI uses this name for a parameter of its own")
    if not public:
        check_addresses(rest, parameters)
