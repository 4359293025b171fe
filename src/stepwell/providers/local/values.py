"""Inputs read defensively: mapped values are checked by nobody else, and a bad one must not crash a worker."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from PIL import ImageColor

from stepwell.domain.errors import AttemptError
from stepwell.outbound.sanitise import sanitised

Inputs = Mapping[str, Any]


def refuse(field: str, why: str) -> NoReturn:
    """Raise for an input that can't get better, with whatever provider."""
    raise AttemptError(sanitised(f"{field}: {why}"), retryable=False, provider_fault=False)


def number(inputs: Inputs, field: str, default: float, low: float, high: float) -> float:
    """A finite number from *low* to *high*; *default* where it is absent or null."""
    value = inputs.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(field, f"must be a number from {low:g} to {high:g}")
    if not low <= value <= high:  # false for NaN
        refuse(field, f"must be from {low:g} to {high:g}")
    return float(value)


def whole(inputs: Inputs, field: str, low: int, high: int) -> int | None:
    """An integer from *low* to *high* (a float counts if it is whole), or None where it is absent or null."""
    value = inputs.get(field)
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        refuse(field, f"must be an integer from {low} to {high}")
    return value


def text(inputs: Inputs, field: str, default: str = "") -> str:
    value = inputs.get(field)
    if value is None:
        return default
    if not isinstance(value, str):
        refuse(field, "must be a string")
    return value


def choice(inputs: Inputs, field: str, default: str, allowed: tuple[str, ...]) -> str:
    value = text(inputs, field, default)
    if value not in allowed:
        refuse(field, f"must be one of {', '.join(allowed)}")
    return value


def colour(inputs: Inputs, field: str, default: str) -> tuple[int, int, int, int]:
    """A colour as (red, green, blue, alpha), each 0 to 255: `#rgb[a]`, `#rrggbb[aa]` or a name."""
    value = text(inputs, field, default)
    try:
        red, green, blue, alpha = ImageColor.getcolor(value[:100], "RGBA")  # type: ignore[misc]
    except (ValueError, TypeError):
        refuse(field, "must be a colour: #rgb, #rrggbb, #rrggbbaa or a name")
    return red, green, blue, alpha
