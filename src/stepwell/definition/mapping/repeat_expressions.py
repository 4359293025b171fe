"""The expressions of `repeat`, which read the step's own result."""

from math import isfinite
from typing import Any, Final

from stepwell.contract.definition import Repeat
from stepwell.definition.mapping.templates import OPENING, ConfigText

REPEAT: Final = "repeat"


def repeat_texts(repeat: Repeat) -> list[ConfigText]:
    """Return `until`, and `best` if there is one, each as a text that is one whole expression."""
    named = {"until": repeat.until, "best": repeat.best}
    return [
        ConfigText((name,), f"{OPENING}{expression}}}", member=REPEAT)
        for name, expression in named.items()
        if expression is not None
    ]


def score_of(value: Any) -> float | None:
    """Return the value of `best` as a number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        score = float(value)
    except OverflowError:
        return None
    return score if isfinite(score) else None
