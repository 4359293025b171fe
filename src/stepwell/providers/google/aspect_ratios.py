"""The aspect ratios and lengths that Google's models support. A step gets the nearest one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.outbound.sanitise import invalid_input

# The ratios in https://ai.google.dev/gemini-api/docs/image-generation that all Gemini image models support.
IMAGE_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
# https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api
IMAGEN_RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9")
# https://ai.google.dev/gemini-api/docs/video
VIDEO_RATIOS = ("16:9", "9:16")


def nearest_ratio(
    inputs: Mapping[str, Any], supported: Sequence[str], sides: tuple[int, int] | None = None
) -> str | None:
    """Return the ratio nearest to `width` and `height`, or to *sides* if one is missing; None without either."""
    input_sides = tuple(_side(inputs, field) for field in ("width", "height") if field in inputs)
    width, height = input_sides if len(input_sides) == 2 else sides or (0, 0)  # noqa: PLR2004 - width and height
    if not (width and height):
        return None
    wanted = math.log(width / height)
    return min(supported, key=lambda name: abs(_log(name) - wanted))


def nearest_seconds(inputs: Mapping[str, Any], supported: Sequence[int], default: int) -> int:
    """Return the length nearest to `duration_s`; of two that are equally near, the shorter one, which costs less."""
    seconds = inputs.get("duration_s", default)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise invalid_input("duration_s", "expected a number of seconds")
    return min(supported, key=lambda length: (abs(length - seconds), length))


def _side(inputs: Mapping[str, Any], field: str) -> int:
    value = inputs[field]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid_input(field, "expected a number of pixels")
    return value


def _log(name: str) -> float:
    across, _, down = name.partition(":")
    return math.log(int(across) / int(down))
