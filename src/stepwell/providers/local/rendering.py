"""What all rendering functions use: the checks of their inputs, and the output file.

Values that come by mappings are checked here only, and a bad one must not crash a child process.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, NamedTuple

from PIL import Image, ImageColor

from stepwell.outbound.sanitise import invalid_input
from stepwell.providers.shared import images

Inputs = Mapping[str, Any]


def number(inputs: Inputs, field: str, default: float, low: float, high: float) -> float:
    """Return a finite number from *low* to *high*; *default* if it is absent or None."""
    value = inputs.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_input(field, f"must be a number from {low:g} to {high:g}")
    if not low <= value <= high:  # false for NaN
        raise invalid_input(field, f"must be from {low:g} to {high:g}")
    return float(value)


def integer(inputs: Inputs, field: str, low: int, high: int) -> int | None:
    """Return an integer from *low* to *high* (3.0 is one); None if it is absent or None."""
    value = inputs.get(field)
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid_input(field, f"must be an integer from {low} to {high}")
    return value


def text(inputs: Inputs, field: str, default: str = "") -> str:
    """Return a string; *default* if it is absent or None."""
    value = inputs.get(field)
    if value is None:
        return default
    if not isinstance(value, str):
        raise invalid_input(field, "must be a string")
    return value


def colour(inputs: Inputs, field: str, default: str) -> tuple[int, int, int, int]:
    """Return a colour as (red, green, blue, alpha), each 0 to 255. The input is `#rgb[a]`, `#rrggbb[aa]` or a name."""
    value = text(inputs, field, default)
    try:
        red, green, blue, alpha = ImageColor.getcolor(value[:100], "RGBA")  # type: ignore[misc]
    except (ValueError, TypeError) as error:
        raise invalid_input(field, "must be a colour: #rgb, #rrggbb, #rrggbbaa or a name") from error
    return red, green, blue, alpha


class RenderedFile(NamedTuple):
    """The output. `write` writes the file piece by piece. `result` has the members of the step's result about it."""

    write: Callable[[IO[bytes]], None]
    result: dict[str, Any]


def png_file(image: Image.Image, **more: object) -> RenderedFile:
    """Return *image* as PNG, with its size in the result."""
    facts = {"width": image.width, "height": image.height, "format": "PNG"}
    return RenderedFile(partial(images.write_png, image), facts | more)
