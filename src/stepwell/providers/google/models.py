"""Which of Google's models does what, and by which call: the family in its name decides.

| family   | call                                      | answered with                                            |
|----------|-------------------------------------------|----------------------------------------------------------|
| gemini-… | generateContent                           | the result: text, or a picture where the task is for one |
| imagen-… | predict                                   | the result                                               |
| veo-…    | predictLongRunning                        | an operation                                             |
| …-omni-… | interactions in the background (GEMINI)   | an interaction                                           |

The models that are used where a step names none are generally available ones:
https://ai.google.dev/gemini-api/docs/models, https://ai.google.dev/gemini-api/docs/deprecations and
https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/model-versions. By these Google has ended Imagen
in 2026, and Veo on the Gemini API; a step may still name them, for whom they are served to.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.domain.errors import AttemptError
from stepwell.providers.shared.refusals import config_refusal

_NAME = re.compile(r"(?:gemini|imagen|veo)(?:[.-][a-z0-9]+){1,15}")
_LONGEST = 100  # characters
# Wishes for more than one result: a step has one, and each costs.
_COUNTS = frozenset({"candidatecount", "numberofimages", "numberofvideos", "samplecount"})  # by `plain`
_TEXT, _PICTURE = "gemini-3.8-flash", "gemini-nano-banana-2.1"
_FILM = {ProviderType.GEMINI: "gemini-omni-1.1-flash", ProviderType.VERTEX: "veo-3.1-generate-001"}

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


class Family(Enum):
    GEMINI = auto()
    IMAGEN = auto()
    VEO = auto()
    OMNI = auto()


def capabilities(provider: ProviderType, task_type: TaskType) -> frozenset[str] | None:
    """What *provider* offers for it; None if it can't do it. Omni, which makes GEMINI's films, takes no seed."""
    found = _CAPABILITIES.get(task_type)
    if task_type is TaskType.VIDEO_GENERATION and provider is ProviderType.VERTEX:
        return (found or frozenset()) | {"seed"}
    return found


def family_of(model: str) -> Family:
    if model.startswith("imagen"):
        return Family.IMAGEN
    if model.startswith("veo"):
        return Family.VEO
    return Family.OMNI if "omni" in re.split(r"[.-]", model) else Family.GEMINI


def target(provider: ProviderType, task_type: TaskType, config: Mapping[str, Any]) -> str:
    """The model for it: `provider_config.model`, or the default. Raises `AttemptError` if it can't do such a task."""
    if task_type not in _CAPABILITIES:
        raise AttemptError(f"{provider} can't do {task_type}", retryable=False)
    model = config.get("model")
    if model is None:
        return default_model(provider, task_type)
    if not isinstance(model, str) or len(model) > _LONGEST or not _NAME.fullmatch(model):
        raise config_refusal("model", why="expected the name of a Gemini, Imagen or Veo model")
    if family_of(model) not in _families(provider, task_type):
        raise config_refusal("model", why=f"{model} is of no family that does {task_type} on {provider}")
    return model


def default_model(provider: ProviderType, task_type: TaskType) -> str:
    if task_type is TaskType.LLM_INTERACTION:
        return _TEXT
    return _FILM[provider] if task_type is TaskType.VIDEO_GENERATION else _PICTURE


def parameters(
    config: Mapping[str, Any], own: Mapping[str, Any], usual: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`provider_config.parameters` over *usual* and under *own*, which wins, objects member by member; counts of
    results are left out. Raises `AttemptError` if they are no object.
    """
    wished = {name: value for name, value in asked_in(config).items() if plain(name) not in _COUNTS}
    return _merged(_merged(usual or {}, wished), own)


def asked_in(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`provider_config.parameters` as they are. Raises `AttemptError` if they are no object."""
    asked = config.get("parameters")
    if asked is not None and not isinstance(asked, Mapping):
        raise config_refusal("parameters", why="expected an object")
    return asked or {}


def plain(name: str) -> str:
    """A member's name, however it is written: Google takes candidateCount and candidate_count alike
    (https://protobuf.dev/programming-guides/json/).
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


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Spelled as *over* does."""
    spelled = {plain(name): name for name in over}
    found = {spelled.get(plain(name), name): value for name, value in under.items()}
    for name, value in over.items():
        below = found.get(name)
        found[name] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return found
