"""Google's models: the defaults per task type, and the families. The family in a model's name decides the call.

| family   | call                                      | answer                                                   |
|----------|-------------------------------------------|----------------------------------------------------------|
| gemini-… | generateContent                           | the result: text, or an image for image tasks            |
| imagen-… | predict                                   | the result                                               |
| veo-…    | predictLongRunning                        | an operation                                             |
| …-omni-… | interactions in the background (GEMINI)   | an interaction                                           |

The default models are generally available ones:
https://ai.google.dev/gemini-api/docs/models, https://ai.google.dev/gemini-api/docs/deprecations and
https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/model-versions. According to
these pages, Google has retired Imagen in 2026, and Veo on the Gemini API. A step may still name them, for accounts that
are still served.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import cache
from typing import Any

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.lifecycle.steps import StepMembers
from stepwell.providers.google.descriptors import GEMINI, VERTEX
from stepwell.providers.shared.refusals import config_refusal

_NAME = re.compile(r"(?:gemini|imagen|veo)(?:[.-][a-z0-9]+){1,15}")
_MAX_NAME = 100  # characters
# Parameters for more than one result. A step has one result, and each result costs.
_COUNTS = frozenset({"candidatecount", "numberofimages", "numberofvideos", "samplecount"})  # by `same_spelling`
_TEXT, _IMAGE = "gemini-3.8-flash", "gemini-nano-banana-2.1"
_VIDEO = {ProviderType.GEMINI: "gemini-omni-1.1-flash", ProviderType.VERTEX: "veo-3.1-generate-001"}

_EDIT = frozenset({"seed", "prompt"})
_CAPABILITIES: Mapping[TaskType, frozenset[str]] = {
    TaskType.GENERATION: frozenset({"seed", "negative_prompt", "reference_image"}),
    TaskType.EDITING: _EDIT | {"mask", "reference_image"},
    TaskType.REFINE: _EDIT,
    TaskType.BACKGROUND_FIX: _EDIT | {"background_color", "background_image"},
    TaskType.BACKGROUND_REMOVE: frozenset({"seed"}),
    TaskType.DETAIL_ENHANCER: frozenset({"seed", "strength"}),
    TaskType.FACE_ENHANCER: frozenset({"seed", "strength"}),
    TaskType.VIDEO_GENERATION: frozenset({"prompt", "motion"}),
    TaskType.LLM_INTERACTION: frozenset({"system_prompt", "json_schema", "image_input"}),
}
# The inputs that become a part of the request. Others aren't sent.
_SHAPE = frozenset({"seed", "width", "height"})
_INPUTS: Mapping[TaskType, frozenset[str]] = {
    TaskType.GENERATION: _SHAPE | {"prompt", "negative_prompt", "reference_image_url"},
    TaskType.EDITING: _SHAPE
    | {"base_image_url", "prompt", "mask_image_url", "overlay_image_url", "reference_image_urls"},
    TaskType.REFINE: _SHAPE | {"base_image_url", "prompt", "upscale_factor"},
    TaskType.BACKGROUND_FIX: _SHAPE | {"base_image_url", "prompt", "background_color", "background_image_url"},
    TaskType.BACKGROUND_REMOVE: _SHAPE | {"base_image_url"},
    TaskType.DETAIL_ENHANCER: _SHAPE | {"base_image_url", "strength"},
    TaskType.FACE_ENHANCER: _SHAPE | {"base_image_url", "strength"},
    TaskType.VIDEO_GENERATION: _SHAPE | {"base_image_url", "prompt", "duration_s", "motion"},
    TaskType.LLM_INTERACTION: frozenset({"seed", "prompt", "messages", "system_prompt", "json_schema"})
    | {"temperature", "max_tokens", "image_urls"},
}


class Family(Enum):
    GEMINI = auto()
    IMAGEN = auto()
    VEO = auto()
    OMNI = auto()


def capabilities(provider: ProviderType, task_type: TaskType) -> frozenset[str] | None:
    """Return what *provider* offers for a task type; None if it can't do it.

    Omni, which makes GEMINI's videos, takes no seed.
    """
    offered = _CAPABILITIES.get(task_type)
    if task_type is TaskType.VIDEO_GENERATION and provider is ProviderType.VERTEX:
        return (offered or frozenset()) | {"seed"}
    return offered


@cache
def known_members(provider: ProviderType, task_type: TaskType) -> StepMembers:
    own = GEMINI if provider is ProviderType.GEMINI else VERTEX
    return StepMembers(inputs=_INPUTS.get(task_type), config=own.config_members, outputs=own.outputs_of(task_type))


def family_of(model: str) -> Family:
    """Return the family of a model, by its name."""
    if model.startswith("imagen"):
        return Family.IMAGEN
    if model.startswith("veo"):
        return Family.VEO
    return Family.OMNI if "omni" in re.split(r"[.-]", model) else Family.GEMINI


def model_for(provider: ProviderType, task_type: TaskType, config: Mapping[str, Any]) -> str:
    """Return `provider_config.model`, or the default. Raises `AttemptError` if the model can't do such a task."""
    if task_type not in _CAPABILITIES:
        raise AttemptError(f"{provider} can't do {task_type}", retryable=False)
    model = config.get("model")
    if model is None:
        return default_model(provider, task_type)
    if not isinstance(model, str) or len(model) > _MAX_NAME or not _NAME.fullmatch(model):
        raise config_refusal("model", why="expected the name of a Gemini, Imagen or Veo model")
    if family_of(model) not in _families(provider, task_type):
        raise config_refusal("model", why=f"{model} is of no family that does {task_type} on {provider}")
    return model


def default_model(provider: ProviderType, task_type: TaskType) -> str:
    """Return the model for a step that names none."""
    if task_type is TaskType.LLM_INTERACTION:
        return _TEXT
    return _VIDEO[provider] if task_type is TaskType.VIDEO_GENERATION else _IMAGE


def parameters(
    config: Mapping[str, Any], own: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Merge *defaults*, `provider_config.parameters` and *own*, objects member by member; the later ones win.

    Counts of results in `provider_config.parameters` are ignored. Raises `AttemptError` if they aren't an object.
    """
    from_step = {name: value for name, value in parameters_of(config).items() if same_spelling(name) not in _COUNTS}
    return _merge(_merge(defaults or {}, from_step), own)


def parameters_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `provider_config.parameters`. Raises `AttemptError` if they aren't an object."""
    members = config.get("parameters")
    if members is not None and not isinstance(members, Mapping):
        raise config_refusal("parameters", why="expected an object")
    return members or {}


def same_spelling(name: str) -> str:
    """Return a member's name in one spelling, because Google accepts candidateCount and candidate_count.

    https://protobuf.dev/programming-guides/json/
    """
    return name.replace("_", "").lower()


def _families(provider: ProviderType, task_type: TaskType) -> tuple[Family, ...]:
    match task_type:
        case TaskType.VIDEO_GENERATION:
            return (Family.VEO, Family.OMNI) if provider is ProviderType.GEMINI else (Family.VEO,)
        case TaskType.GENERATION:
            return (Family.GEMINI, Family.IMAGEN)
        case _:
            return (Family.GEMINI,)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two objects member by member. *over* wins, also in the spelling of names."""
    spelling = {same_spelling(name): name for name in over}
    merged = {spelling.get(same_spelling(name), name): value for name, value in under.items()}
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
