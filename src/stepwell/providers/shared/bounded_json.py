"""A decoder for JSON from other parties, with the same limit of nesting on every version of Python.

The limit of msgspec and the standard library depends on Python: 950 levels on 3.11, 9,980 on 3.13. A value with more
levels than `MAX_LEVELS` could overflow the stack of recursive code, or be unreadable for another version.
"""

from typing import TypeVar

from anyio import to_thread
from msgspec import json

from stepwell.basics.strict_json.size import MAX_LEVELS, MAX_VALUES, count_values, is_deeper, most_values

T = TypeVar("T")
_HEAD_BYTES = 1_024  # the first bracket of a JSON text is within these


async def has_bounded_values(data: bytes) -> bool:
    """Return whether *data* is safe to decode: it has at most `MAX_VALUES` JSON values, or isn't JSON.

    A value takes at least two bytes, so only long answers are counted.
    """
    if len(data) <= 2 * MAX_VALUES or data[:_HEAD_BYTES].lstrip()[:1] not in (b"{", b"["):
        return True
    return (
        await to_thread.run_sync(most_values, data) <= MAX_VALUES
        or (await to_thread.run_sync(count_values, data)).values <= MAX_VALUES
    )


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """Decode *data* as JSON of *kind*. Raises `ValueError` if that fails, or at more than `MAX_LEVELS` levels."""
    try:
        value = json.decode(data, type=kind)
        # Few bodies have so many brackets, so few are read twice.
        brackets = data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")
        if brackets > MAX_LEVELS and is_deeper(json.decode(data), MAX_LEVELS):
            raise ValueError(f"nested deeper than {MAX_LEVELS} levels")
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_LEVELS} levels") from error
    return value


def read_json(data: bytes | str, kind: type[T]) -> T | None:
    """Decode *data* as JSON of *kind*; None if `decode_json` refuses it."""
    try:
        return decode_json(data, kind)
    except ValueError:
        return None


def without_code_fence(text: str) -> str:
    """Return the JSON in a model's answer without the Markdown code fence that some models put around it."""
    return text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
