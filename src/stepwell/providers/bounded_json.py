"""JSON that others have written, read alike on every version of Python.

How deep msgspec and the standard library read depends on Python: 950 levels on 3.11, 9,980 on 3.13. What is read there
would then overflow the stack in code that recurses by levels, or can't be read again on another version.
"""

from typing import TypeVar

from msgspec import json

from stepwell.domain.weight import MAX_LEVELS, is_deeper

T = TypeVar("T")


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """*data* as JSON of that kind. Raises `ValueError` if it is anything else, or has more than `MAX_LEVELS` levels."""
    try:
        found = json.decode(data, type=kind)
        # Few bodies have so many brackets, so few are read twice.
        brackets = data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")
        if brackets > MAX_LEVELS and is_deeper(json.decode(data), MAX_LEVELS):
            raise ValueError(f"nested deeper than {MAX_LEVELS} levels")
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_LEVELS} levels") from error
    return found


def read_json(data: bytes | str, kind: type[T]) -> T | None:
    """*data* as JSON of that kind; None if `decode_json` refuses it."""
    try:
        return decode_json(data, kind)
    except ValueError:
        return None
