"""The default Replicate model of each task type, and the models' names for the input fields.

Every model has its own schema (the "API" tab of https://replicate.com/{owner}/{name}). The names here are those of the
default models, and of most similar models. For other models, `provider_config.parameters` renames fields:
{"base_image_url": "input_image", "seed": null} renames one field and leaves one out. Only inputs of the step are
sent, and the model's defaults apply to the rest. The exception is `upscale_factor`, whose defaults differ too much.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from msgspec import Struct

from stepwell.basics.artifacts import is_meant_as_artifact
from stepwell.basics.errors import AttemptError, Fault
from stepwell.contract.enums import TaskType
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.lifecycle.steps import KnownStep
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.shared.input_references import provider_reference
from stepwell.providers.shared.refusals import collect_refusals, config_refusal, input_refusal

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_MODEL = re.compile(rf"({_NAME}/{_NAME})(?::([0-9A-Fa-f]{{64}}))?")
_VERSION = re.compile(r"[0-9A-Fa-f]{64}")
_LORA_WEIGHT = re.compile(r"(\w+)_lora_weight")
_LORA_ORDER = ("subject", "product", "product2", "style")
_LORA_PARAMETERS = (("lora_weights", "lora_scale"), ("extra_lora", "extra_lora_scale"))
_LORA_MODEL = "black-forest-labs/flux-dev-lora"
_CLARITY = "philz1337x/clarity-upscaler:dfad41707589d68ecdccd1dfa600d55a208f9310748e44bfe35b4a6291453d5e"
_SHORTEST_DEADLINE_S, _LONGEST_DEADLINE_S = 5, 86_400
_NOT_SENT = frozenset({"timeout_s"})


class Parameter(Struct, frozen=True):
    """A parameter of a model. For the kind `complement`, 1 - value is sent, because the model counts the other way."""

    name: str
    kind: Literal["plain", "file", "files", "complement"] = "plain"


class ReplicateKind(Struct, frozen=True, kw_only=True):
    """The way in which Replicate does a task type. If two fields have the same parameter, the later one wins."""

    model: str | None
    parameters: Mapping[str, Parameter]
    seed: bool = False
    capabilities: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = {}


def _plain_parameters(**names: str) -> dict[str, Parameter]:
    return {field: Parameter(name) for field, name in names.items()}


_IMAGE = {"base_image_url": Parameter("image", "file")}

KINDS: Mapping[TaskType, ReplicateKind] = {
    TaskType.GENERATION: ReplicateKind(
        model="stability-ai/sdxl:7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc",
        parameters={
            **_plain_parameters(prompt="prompt", negative_prompt="negative_prompt", width="width", height="height"),
            **_plain_parameters(num_images="num_outputs"),
            "reference_image_url": Parameter("image", "file"),
            "reference_image_strength": Parameter("prompt_strength", "complement"),
        },
        seed=True,
        capabilities=frozenset({"seed", "negative_prompt", "lora_weights", "reference_image", "num_images"}),
    ),
    TaskType.EDITING: ReplicateKind(
        model="qwen/qwen-image-edit",
        parameters={
            **_IMAGE,
            **_plain_parameters(prompt="prompt", width="width", height="height"),
            "reference_image_urls": Parameter("reference_images", "files"),
            "mask_image_url": Parameter("mask", "file"),
            "overlay_image_url": Parameter("overlay_image", "file"),
        },
        seed=True,
        capabilities=frozenset({"seed", "mask", "reference_image"}),
    ),
    TaskType.REFINE: ReplicateKind(
        model=_CLARITY,
        parameters={
            **_IMAGE,
            **_plain_parameters(
                upscale_factor="scale_factor", sharpness="sharpen", denoise="creativity", prompt="prompt"
            ),
        },
        seed=True,
        capabilities=frozenset({"seed", "upscale", "denoise", "sharpen"}),
        defaults={"upscale_factor": 2.0},
    ),
    TaskType.VIDEO_GENERATION: ReplicateKind(
        model="bytedance/seedance-1-pro",
        parameters={
            **_IMAGE,
            **_plain_parameters(prompt="prompt", duration_s="duration", fps="fps", width="width", height="height"),
        },
        seed=True,
        capabilities=frozenset({"seed"}),
    ),
    TaskType.BACKGROUND_FIX: ReplicateKind(
        model="bria/generate-background",
        parameters={
            **_IMAGE,
            **_plain_parameters(background_color="bg_prompt", prompt="bg_prompt"),
            "background_image_url": Parameter("ref_image_url", "file"),
        },
        seed=True,
        capabilities=frozenset({"seed", "background_color", "background_image"}),
    ),
    TaskType.FACE_ENHANCER: ReplicateKind(
        model="sczhou/codeformer:cc4956dd26fa5a7185d5660cc9100fab1b8070a1d1654a8bb5eb6d443b020bb2",
        parameters={**_IMAGE, "strength": Parameter("codeformer_fidelity", "complement")},
        capabilities=frozenset({"strength"}),
    ),
    TaskType.IMAGE_ADJUSTER: ReplicateKind(model=None, parameters=_IMAGE),
    TaskType.DETAIL_ENHANCER: ReplicateKind(
        model=_CLARITY,
        parameters={**_IMAGE, **_plain_parameters(strength="creativity")},
        seed=True,
        capabilities=frozenset({"seed", "strength"}),
    ),
    TaskType.BACKGROUND_REMOVE: ReplicateKind(
        model="bria/remove-background", parameters=_IMAGE, capabilities=frozenset({"transparency"})
    ),
    TaskType.LLM_INTERACTION: ReplicateKind(
        model="meta/meta-llama-3-70b-instruct",
        parameters={
            **_plain_parameters(
                prompt="prompt", messages="messages", system_prompt="system_prompt", json_schema="json_schema"
            ),
            **_plain_parameters(max_tokens="max_tokens", temperature="temperature"),
            "image_urls": Parameter("image_input", "files"),
        },
        capabilities=frozenset({"system_prompt"}),
    ),
}


def kind_of(task_type: TaskType) -> ReplicateKind:
    """Raises `AttemptError` for a task type that Replicate can't do."""
    kind = KINDS.get(task_type)
    if kind is None:
        raise AttemptError(f"REPLICATE can't do {task_type}", retryable=False)
    return kind


def target(task_type: TaskType, provider_config: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the model, as in `Request.model`, and the version if the step asks for one.

    The model is `owner/name`, a bare version, or `deployments/owner/name`. Raises `AttemptError`.
    """
    config = without_nulls(provider_config)
    if "deployment" in config:
        if "model" in config:
            raise config_refusal("deployment", why="a step names a model or a deployment, not both")
        match = _MODEL.fullmatch(_text(config, "deployment"))
        if match is None or match[2]:
            raise config_refusal("deployment", why="expected owner/name")
        return f"deployments/{match[1]}", None
    default = _LORA_MODEL if config.get("loras") else kind_of(task_type).model
    model = _text(config, "model") if "model" in config else default
    if model is None:
        raise config_refusal("model", why=f"REPLICATE has no default model for {task_type}; name one")
    if _VERSION.fullmatch(model):
        return model.lower(), model.lower()
    match = _MODEL.fullmatch(model)
    if match is None:
        raise config_refusal("model", why="expected owner/name, owner/name:version or a version of 64 hex digits")
    return match[1], match[2].lower() if match[2] else None


def refusals(step: KnownStep) -> Iterator[Fault]:
    """Yield what `target`, `deadline` and `model_input` would refuse for any values of inputs that aren't known yet."""
    config = step.provider_config
    return collect_refusals(
        partial(target, step.task_type, config),
        partial(deadline, config),
        partial(_renames, config),
        partial(_check_loras, config, step.inputs),
    )


def deadline(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the header for `provider_config.cancel_after_s`, after which Replicate cancels. Raises `AttemptError`."""
    seconds = config.get("cancel_after_s")
    if seconds is None:
        return {}
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise config_refusal("cancel_after_s", why="expected a number of seconds")
    return {"Cancel-After": f"{int(min(max(seconds, _SHORTEST_DEADLINE_S), _LONGEST_DEADLINE_S))}s"}


async def model_input(attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """Return the model's `input`. Raises `AttemptError` for inputs that can't be converted."""
    kind, renames = kind_of(attempt.task_type), _renames(attempt.provider_config)
    inputs = {**kind.defaults, **without_nulls(attempt.inputs)}
    if kind.seed:
        inputs.setdefault("seed", attempt.seed)
    values: dict[str, Any] = {}
    for field in (*kind.parameters, *(field for field in inputs if field not in kind.parameters)):
        if field not in inputs or field in _NOT_SENT or _LORA_WEIGHT.fullmatch(field):
            continue
        parameter = kind.parameters.get(field) or Parameter(field, _guess_kind(field, inputs[field]))
        name = renames.get(field, parameter.name)
        if name is not None:
            values[name] = await _value(parameter.kind, inputs[field], field, io)
    return {**values, **{name: value async for name, value in _loras(attempt, inputs, io)}}


async def _value(kind: str, value: Any, field: str, io: AttemptIO) -> Any:
    match kind:
        case "file":
            return await _file(value, field, io)
        case "files" if isinstance(value, list):
            return [await _file(item, f"{field}[{index}]", io) for index, item in enumerate(value)]
        case "files":
            raise AttemptError(f"{field}: expected a list", retryable=False, provider_fault=False)
        case "complement":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise AttemptError(f"{field}: expected a number", retryable=False, provider_fault=False)
            return round(1 - value, 6)
        case _:
            return value


async def _file(value: Any, field: str, io: AttemptIO) -> str:
    if not isinstance(value, str):
        raise AttemptError(f"{field}: expected a string", retryable=False, provider_fault=False)
    return await provider_reference(value, field, io)


def _guess_kind(field: str, value: Any) -> Literal["plain", "file", "files"]:
    """Return the kind of a field without an entry: a file if its name ends like one, and its value is an artifact."""
    if field.endswith("_url") and isinstance(value, str) and is_meant_as_artifact(value):
        return "file"
    if field.endswith("_urls") and isinstance(value, list) and any(is_meant_as_artifact(str(item)) for item in value):
        return "files"
    return "plain"


async def _loras(attempt: Attempt, inputs: Mapping[str, Any], io: AttemptIO) -> AsyncIterator[tuple[str, Any]]:
    """Yield the parameters for `provider_config.loras`, which maps names to the references of weights."""
    loras, weights = _check_loras(attempt.provider_config, inputs)
    for (weights_name, scale), name in zip(_LORA_PARAMETERS, _in_order(loras), strict=False):
        reference = loras[name]
        if is_meant_as_artifact(reference):  # weights may also be named `owner/name`
            reference = await provider_reference(reference, f"provider_config.loras.{name}", io)
        yield weights_name, reference
        if name in weights:
            yield scale, weights[name]


def _check_loras(config: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[Mapping[str, str], dict[str, Any]]:
    """Return the references and the scales of the LoRAs that the step names, by name. Raises `AttemptError`."""
    loras = _mapping(config, "loras")
    weights = {match[1]: inputs[field] for field in inputs if (match := _LORA_WEIGHT.fullmatch(field))}
    for name in weights:
        if name not in loras:
            why = f"provider_config.loras has no {name!r}"
            raise input_refusal(f"{name}_lora_weight", why=why, provider_fault=True)
    if len(loras) > len(_LORA_PARAMETERS):
        third = _in_order(loras)[len(_LORA_PARAMETERS)]
        raise config_refusal("loras", third, why=f"Replicate takes at most {len(_LORA_PARAMETERS)} LoRAs")
    for name, address in loras.items():
        if not isinstance(address, str) or not address:
            raise config_refusal("loras", name, why="expected the address of the weights")
    return loras, weights


def _in_order(loras: Mapping[str, Any]) -> list[str]:
    """Return the names in a fixed order, because the same step must give the same request."""
    rest = sorted(name for name in loras if name not in _LORA_ORDER)
    return [*(name for name in _LORA_ORDER if name in loras), *rest]


def _renames(config: Mapping[str, Any]) -> Mapping[str, str | None]:
    names = _mapping(config, "parameters")
    for field, name in names.items():
        if name is not None and (not isinstance(name, str) or not name):
            raise config_refusal("parameters", field, why="expected the model's name for it, or null")
    return names


def _mapping(config: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    value = config.get(member)
    if value is not None and not isinstance(value, Mapping):
        raise config_refusal(member, why="expected an object")
    return value or {}


def _text(config: Mapping[str, Any], member: str) -> str:
    value = config[member]
    if not isinstance(value, str):
        raise config_refusal(member, why="expected a string")
    return value
