"""What OPENAI refuses of a step whatever its pictures are, and whatever the run gives it."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import CONFIGS, EditingConfig
from stepwell.domain.errors import Fault
from stepwell.domain.mapping.task_configs import without_nulls
from stepwell.domain.steps import KnownStep
from stepwell.providers.openai.addresses import check_addresses
from stepwell.providers.openai.parameters import OWN, model_of, parameters_of
from stepwell.providers.shared.chat_messages import check_image_count
from stepwell.providers.shared.refusals import collect_refusals, input_refusal

_EXACT = ("x", "y", "scale", "opacity", "crop", "rotate")
_USUAL = EditingConfig()
_WEIGHT = "_lora_weight"
_OURS = {task_type: frozenset({*kind.__struct_fields__, "prompt"}) for task_type, kind in CONFIGS.items()}


def refusals(step: KnownStep, *, public: bool) -> Iterator[Fault]:
    """*public*: it goes to OpenAI itself. All of it is refused by the bodies too."""
    task_type, config, inputs = step.task_type, step.provider_config, step.inputs
    yield from collect_refusals(
        partial(model_of, task_type, config),
        lambda: check_rest(rest_of(task_type, inputs), parameters_of(config), public=public),
    )
    if task_type is TaskType.GENERATION:
        yield from collect_refusals(*(partial(check_weight, name) for name in inputs if name.endswith(_WEIGHT)))
    elif task_type is TaskType.EDITING:
        yield from collect_refusals(*(partial(check_exact, name, inputs[name]) for name in _EXACT if name in inputs))
    elif task_type is TaskType.LLM_INTERACTION:
        yield from collect_refusals(partial(check_image_count, inputs.get("messages", ())))


def check_weight(name: str) -> None:
    """Raises `Refusal` if the input of that name is the weight of a LoRA."""
    if name.endswith(_WEIGHT):
        raise input_refusal(name, why="OPENAI takes no LoRAs", provider_fault=True)


def check_exact(name: str, value: Any) -> None:
    """Raises `Refusal` where an input of EDITING says how exactly something is to be done."""
    if name in _EXACT and value != getattr(_USUAL, name):
        raise input_refusal(name, why="OPENAI places and cuts nothing exactly", provider_fault=True)


def rest_of(task_type: TaskType, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that Stepwell doesn't know."""
    ours = _OURS[task_type]
    return {name: value for name, value in without_nulls(inputs).items() if name not in ours}


def check_rest(rest: Mapping[str, Any], parameters: Mapping[str, Any], *, public: bool) -> None:
    """Raises `Refusal` for inputs that Stepwell doesn't know, and `parameters`, which can't be sent."""
    if (name := next((name for name in rest if name in OWN), None)) is not None:
        raise input_refusal(name, why="OPENAI has a meaning of its own for it")
    if not public:
        check_addresses(rest, parameters)
