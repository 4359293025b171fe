"""The forms of durations, sizes, amounts and single lines on a terminal."""

import re
from datetime import datetime
from decimal import Decimal

from rich.text import Text

from stepwell.cli.output import printable
from stepwell.contract.workflows import ItemCounts

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SPACE = re.compile(r"\s+")
_UNITS = ("kB", "MB", "GB", "TB")
_BAR_STYLE, _REST_STYLE = "green", "dim"


def line_text(text: str, style: str = "") -> Text:
    """Return *text* in one line, which is cut where the terminal ends. It can't control the terminal."""
    return Text(printable(_SPACE.sub(" ", text)), style=style, no_wrap=True, overflow="ellipsis")


def fit(text: Text, width: int, *, right: bool = False) -> Text:
    """Return *text* in exactly *width* columns: cut with an ellipsis, or padded."""
    text.truncate(width, overflow="ellipsis")
    text.align("right" if right else "left", width)
    return text


def items_text(items: ItemCounts) -> str:
    """Return how the items of a step stand, like "7 of 12 items, 2 failed"."""
    failed = f", {items.failed:,} failed" if items.failed else ""
    return f"{items.completed:,} of {items.total:,} items{failed}"


def duration(seconds: float) -> str:
    """Return a duration like "4.2 s", "1 min 05 s", "2 h 03 min" or "3 d 04 h". A negative one counts as 0."""
    tenths = round(max(0.0, seconds) * 10)
    if tenths < _MINUTE * 10:
        return f"{tenths / 10:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02} h"


def duration_between(start: datetime | None, end: datetime | None) -> str:
    """Return the duration from *start* to *end*; an empty text if one of them isn't known."""
    return "" if start is None or end is None else duration((end - start).total_seconds())


def byte_size(size: int) -> str:
    """Return a size like "512 B" or "3.4 MB"."""
    if size < 1000:  # noqa: PLR2004 - the decimal unit
        return f"{size} B"
    power = min(len(_UNITS), (len(str(size)) - 1) // 3)
    if round(size / 1000**power, 1) >= 1000 and power < len(_UNITS):  # noqa: PLR2004
        power += 1
    return f"{size / 1000**power:.1f} {_UNITS[power - 1]}"


def exact_number(number: float | Decimal) -> str:
    """Return *number* in full, without an exponent and without zeros at its end."""
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def bar(share: float, width: int) -> Text:
    """Return a bar that is filled to *share*, between 0 and 1."""
    filled = min(width, max(0, int(share * width + 1e-9)))
    return Text.assemble(("━" * filled, _BAR_STYLE), ("─" * (width - filled), _REST_STYLE))


def counted(number: int, noun: str) -> str:
    """Return "1 step" or "2 steps"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
