"""The default models of OPENAI, the members of `provider_config`, and the sizes that models support.

Models: https://developers.openai.com/api/docs/models, and retired ones:
https://developers.openai.com/api/docs/deprecations. Sizes: the `size` of
https://developers.openai.com/api/reference/resources/images/methods/generate and .../edit, and of videos:
https://developers.openai.com/api/docs/guides/video-generation.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.providers.shared.refusals import config_refusal

# Flare is faster; Sunburst changes less of an input image. OpenAI has retired the video model, but most other servers
# with the Videos API accept its name.
DEFAULT_CHAT = "gpt-6-luna"
_FLARE, _SUNBURST, _VIDEO_MODEL = "gpt-image-2.6-flare", "gpt-image-2.6-sunburst", "sora-2"
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
MODELS: Mapping[TaskType, str] = dict.fromkeys(CAPABILITIES, _SUNBURST) | {
    TaskType.LLM_INTERACTION: DEFAULT_CHAT,
    TaskType.GENERATION: _FLARE,
    TaskType.VIDEO_GENERATION: _VIDEO_MODEL,
}
# Stepwell's inputs that the API has no parameter for. They aren't sent.
IGNORED_INPUTS: Mapping[TaskType, frozenset[str]] = {
    TaskType.GENERATION: frozenset({"reference_image_strength", "num_images"}),
    TaskType.REFINE: frozenset({"sharpness", "denoise"}),
    TaskType.BACKGROUND_FIX: frozenset({"tolerance"}),
    TaskType.BACKGROUND_REMOVE: frozenset({"tolerance", "feather"}),
    TaskType.DETAIL_ENHANCER: frozenset({"radius"}),
    TaskType.FACE_ENHANCER: frozenset({"radius"}),
}
# Members that only this provider sets: the inputs of a step, and that there is one complete result.
RESERVED = frozenset(
    {
        *("model", "messages", "prompt", "image", "image[]", "images", "mask", "input_reference"),
        *("stream", "stream_options", "partial_images", "n"),
    }
)
_NEUTRAL: Mapping[str, Any] = {"stream": False, "n": 1}
_OUTPUT_FORMATS = ("png", "jpeg", "webp", "gif")
_MAX_NAME = 200

_Size = tuple[int, int]
# Models with a fixed list of sizes.
_FIXED: Sequence[tuple[re.Pattern[str], Sequence[_Size]]] = (
    (re.compile(r"gpt-image-1(?!\d)|chatgpt-image"), ((1024, 1024), (1536, 1024), (1024, 1536))),
    (re.compile(r"dall-e-3"), ((1024, 1024), (1792, 1024), (1024, 1792))),
    (re.compile(r"dall-e-2"), ((256, 256), (512, 512), (1024, 1024))),
    (re.compile(r"sora-2-pro"), ((1280, 720), (720, 1280), (1792, 1024), (1024, 1792), (1920, 1080), (1080, 1920))),
    (re.compile(r"sora"), ((1280, 720), (720, 1280))),
)
# Models that make any size within limits.
_FREE = re.compile(r"gpt-image-\d")
_STEP, _MAX_SIDE, _MAX_ASPECT = 16, 3840, 3
_MIN_PIXELS, _MAX_PIXELS = 655_360, 8_294_400
_SORA_SECONDS = (4, 8, 12, 16, 20)


def model_of(task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
    """Return `provider_config.model`, else the default.

    Raises `AttemptError` for an invalid name, and for a task type that OPENAI can't do.
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
    """Return `provider_config.parameters`, which are merged into the request; a None removes a member.

    Raises `AttemptError` for reserved members: a step gets one result, and gets it complete.
    """
    if provider_config.get("loras"):
        raise config_refusal("loras", why="OPENAI takes no LoRAs")
    parameters = provider_config.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise config_refusal("parameters", why="expected an object")
    members = {name: value for name, value in parameters.items() if name not in _NEUTRAL or value != _NEUTRAL[name]}
    for name in members:
        if name in _NEUTRAL:
            raise config_refusal("parameters", name, why="a step gets one result, in one answer")
        if name in RESERVED:
            raise config_refusal("parameters", name, why="the step's inputs or the provider set it")
    if members.get("output_format") not in (None, *_OUTPUT_FORMATS):
        raise config_refusal("parameters", "output_format", why=f"expected one of {', '.join(_OUTPUT_FORMATS)}")
    return members


def image_size(model: str, width: int, height: int) -> str:
    """Return the nearest size that *model* supports, as WIDTHxHEIGHT. The shape counts first.

    For unknown models it is the size that is asked for.
    """
    name = bare_name(model)
    fixed = next((sizes for pattern, sizes in _FIXED if pattern.match(name)), None)
    if fixed is not None:
        width, height = min(fixed, key=lambda size: _distance(size, (width, height)))
    elif _FREE.match(name):
        width, height = _nearest_size(width, height)
    return f"{width}x{height}"


def video_seconds(model: str, seconds: float) -> str:
    """Return the nearest length that *model* supports, in seconds; for unknown models, *seconds* itself."""
    if bare_name(model).startswith("sora"):
        return str(min(_SORA_SECONDS, key=lambda known: abs(known - seconds)))
    return f"{seconds:g}"


def bare_name(model: str) -> str:
    """Return the name of a model without the owner that gateways put before it, in lower case."""
    return model.rpartition("/")[2].lower()


def _distance(size: _Size, wanted: _Size) -> tuple[float, float]:
    shape = abs(math.log(size[0] / size[1]) - math.log(wanted[0] / wanted[1]))
    return round(shape, 6), abs(math.log(size[0] * size[1] / (wanted[0] * wanted[1])))


def _nearest_size(width: int, height: int) -> _Size:
    """Return the nearest size that is divisible by 16, within 3:1, and neither too small nor too large."""
    long, short = float(max(width, height)), float(min(width, height))
    short = max(short, long / _MAX_ASPECT)
    scale = max(1.0, math.sqrt(_MIN_PIXELS / (long * short)))
    scale = min(scale, _MAX_SIDE / long, math.sqrt(_MAX_PIXELS / (long * short)))
    a, b = (max(_STEP, round(side * scale / _STEP) * _STEP) for side in (long, short))
    a = min(a, _MAX_SIDE)
    while a > _MAX_ASPECT * b or a * b < _MIN_PIXELS:
        b += _STEP
    while a * b > _MAX_PIXELS:
        a -= _STEP
    a, b = max(a, b), min(a, b)
    return (a, b) if width >= height else (b, a)
