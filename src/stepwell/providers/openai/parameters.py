"""Which OpenAI model does what, what a step's `provider_config` may say, and the sizes that models know.

Models: https://developers.openai.com/api/docs/models and, for those that are gone,
https://developers.openai.com/api/docs/deprecations. Sizes: the `size` of
https://developers.openai.com/api/reference/resources/images/methods/generate and .../edit, and of videos:
https://developers.openai.com/api/docs/guides/video-generation.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.contract.enums import TaskType
from stepwell.domain.errors import AttemptError
from stepwell.providers.shared.refusals import config_refusal

# Flare is the quicker one, Sunburst keeps to what it is given. The film model is gone at OpenAI itself: it is what
# servers that speak the Videos API mostly still answer to.
DEFAULT_CHAT = "gpt-6-luna"
_FLARE, _SUNBURST, _FILM = "gpt-image-2.6-flare", "gpt-image-2.6-sunburst", "sora-2"
MODELS: Mapping[TaskType, str] = {
    TaskType.LLM_INTERACTION: DEFAULT_CHAT,
    TaskType.GENERATION: _FLARE,
    TaskType.EDITING: _SUNBURST,
    TaskType.REFINE: _SUNBURST,
    TaskType.BACKGROUND_FIX: _SUNBURST,
    TaskType.BACKGROUND_REMOVE: _SUNBURST,
    TaskType.DETAIL_ENHANCER: _SUNBURST,
    TaskType.FACE_ENHANCER: _SUNBURST,
    TaskType.VIDEO_GENERATION: _FILM,
}
CAPABILITIES: Mapping[TaskType, frozenset[str]] = {
    TaskType.LLM_INTERACTION: frozenset({"system_prompt", "json_schema", "image_input"}),
    TaskType.GENERATION: frozenset({"negative_prompt", "reference_image"}),
    TaskType.EDITING: frozenset({"prompt", "mask", "reference_image"}),
    TaskType.REFINE: frozenset({"prompt", "upscale"}),
    TaskType.BACKGROUND_FIX: frozenset({"prompt", "background_color", "background_image"}),
    TaskType.BACKGROUND_REMOVE: frozenset({"transparency"}),
    TaskType.DETAIL_ENHANCER: frozenset({"strength"}),
    TaskType.FACE_ENHANCER: frozenset({"strength"}),
    TaskType.VIDEO_GENERATION: frozenset({"prompt", "motion"}),
}
# What only the provider itself may say: the inputs of a step, and that it gets one whole result.
OWN = frozenset(
    {
        *("model", "messages", "prompt", "image", "image[]", "images", "mask", "input_reference"),
        *("stream", "stream_options", "partial_images", "n"),
    }
)
_NEUTRAL: Mapping[str, Any] = {"stream": False, "n": 1}
_OUTPUT_FORMATS = ("png", "jpeg", "webp", "gif")
_MAX_NAME = 200

_Size = tuple[int, int]
_FIXED: Sequence[tuple[re.Pattern[str], Sequence[_Size]]] = (
    (re.compile(r"gpt-image-1(?!\d)|chatgpt-image"), ((1024, 1024), (1536, 1024), (1024, 1536))),
    (re.compile(r"dall-e-3"), ((1024, 1024), (1792, 1024), (1024, 1792))),
    (re.compile(r"dall-e-2"), ((256, 256), (512, 512), (1024, 1024))),
    (re.compile(r"sora-2-pro"), ((1280, 720), (720, 1280), (1792, 1024), (1024, 1792), (1920, 1080), (1080, 1920))),
    (re.compile(r"sora"), ((1280, 720), (720, 1280))),
)
_FREE = re.compile(r"gpt-image-\d")
_STEP, _LONGEST, _MOST_OBLONG = 16, 3840, 3
_FEWEST_PIXELS, _MOST_PIXELS = 655_360, 8_294_400
_SORA_SECONDS = (4, 8, 12, 16, 20)


def model_of(task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
    """`provider_config.model`, else the default. Raises `AttemptError` for what can't be a model's name, and for what
    OPENAI isn't asked to do.
    """
    if task_type not in MODELS:
        raise AttemptError(f"OPENAI can't do {task_type}", retryable=False)
    model = provider_config.get("model")
    if model is None:
        return MODELS[task_type]
    if not isinstance(model, str) or not model.isprintable() or not 0 < len(model) <= _MAX_NAME:
        raise config_refusal("model", why=f"expected a name of 1 to {_MAX_NAME} characters")
    return model


def parameters_of(provider_config: Mapping[str, Any]) -> dict[str, Any]:
    """`provider_config.parameters`: what is merged into the request as it is; a null takes a member out of it.

    Raises `AttemptError` for members that are the provider's own: a step gets one result, and gets it whole.
    """
    if provider_config.get("loras"):
        raise config_refusal("loras", why="OPENAI takes no LoRAs")
    parameters = provider_config.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise config_refusal("parameters", why="expected an object")
    found = {name: value for name, value in parameters.items() if name not in _NEUTRAL or value != _NEUTRAL[name]}
    for name in found:
        if name in _NEUTRAL:
            raise config_refusal("parameters", name, why="a step gets one result, in one answer")
        if name in OWN:
            raise config_refusal("parameters", name, why="it is what the step's inputs, or the provider, say")
    if found.get("output_format") not in (None, *_OUTPUT_FORMATS):
        raise config_refusal("parameters", "output_format", why=f"expected one of {', '.join(_OUTPUT_FORMATS)}")
    return found


def picture_size(model: str, width: int, height: int) -> str:
    """The nearest size that *model* makes, as WIDTHxHEIGHT: by its shape first. Models that aren't known here are asked
    for exactly what is wanted.
    """
    name = bare(model)
    fixed = next((sizes for pattern, sizes in _FIXED if pattern.match(name)), None)
    if fixed is not None:
        width, height = min(fixed, key=lambda size: _distance(size, (width, height)))
    elif _FREE.match(name):
        width, height = _fitted(width, height)
    return f"{width}x{height}"


def film_seconds(model: str, seconds: float) -> str:
    """The nearest length that *model* makes, in seconds; as it is for models that aren't known here."""
    if bare(model).startswith("sora"):
        return str(min(_SORA_SECONDS, key=lambda known: abs(known - seconds)))
    return f"{seconds:g}"


def bare(model: str) -> str:
    """Without the owner that gateways put before a name."""
    return model.rpartition("/")[2].lower()


def _distance(size: _Size, wanted: _Size) -> tuple[float, float]:
    shape = abs(math.log(size[0] / size[1]) - math.log(wanted[0] / wanted[1]))
    return round(shape, 6), abs(math.log(size[0] * size[1] / (wanted[0] * wanted[1])))


def _fitted(width: int, height: int) -> _Size:
    """The nearest that is divisible by 16, no more oblong than 3:1, and neither too small nor too large."""
    long, short = float(max(width, height)), float(min(width, height))
    short = max(short, long / _MOST_OBLONG)
    scale = max(1.0, math.sqrt(_FEWEST_PIXELS / (long * short)))
    scale = min(scale, _LONGEST / long, math.sqrt(_MOST_PIXELS / (long * short)))
    a, b = (max(_STEP, round(side * scale / _STEP) * _STEP) for side in (long, short))
    a = min(a, _LONGEST)
    while a > _MOST_OBLONG * b or a * b < _FEWEST_PIXELS:
        b += _STEP
    while a * b > _MOST_PIXELS:
        a -= _STEP
    a, b = max(a, b), min(a, b)
    return (a, b) if width >= height else (b, a)
