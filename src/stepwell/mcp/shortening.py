"""Shortens the values that tools return, because an assistant reads all of them, and what it can read is limited."""

from typing import Any, Final

from msgspec import json

MAX_BYTES: Final = 48 * 1024
"""The most bytes of the JSON of one result. An assistant reads about one token for every three bytes."""
# Each step shortens more: the items of a list, the members of an object, and the characters of a string.
_STEPS: Final = ((200, 400, 4_000), (50, 100, 1_000), (20, 60, 300), (8, 40, 120), (3, 40, 60))
_ELLIPSIS: Final = "…"


def shorten(value: Any) -> tuple[Any, bool]:
    """Return *value*, which is plain JSON, with at most `MAX_BYTES`, and whether something was left out.

    Lists keep their first items, objects their first members, and strings their beginning. So a value of bounded depth
    keeps the form that its schema describes. *value* must have few values, because each is visited: `shorten_object`
    ensures that.
    """
    if len(json.encode(value)) <= MAX_BYTES:
        return value, False
    short = value
    for items, members, characters in _STEPS:
        short = _cut(value, items, members, characters)
        if len(json.encode(short)) <= MAX_BYTES:
            break
    return short, True


def shorten_object(value: dict[str, Any] | None, most: int) -> dict[str, Any] | None:
    """Return an object of any content if its JSON has at most *most* bytes, else one with the beginning of its JSON.

    The JSON isn't visited value by value, because a tenant chooses how many values it has.
    """
    if value is None or len(text := json.encode(value)) <= most:
        return value
    return {"shortened": shorten_text(text[: 4 * most].decode(errors="ignore"), most)}


def shorten_text(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS


def _cut(value: Any, items: int, members: int, characters: int) -> Any:
    if isinstance(value, str):
        return shorten_text(value, characters)
    if isinstance(value, list):
        return [_cut(each, items, members, characters) for each in value[:items]]
    if isinstance(value, dict):
        return {key: _cut(value[key], items, members, characters) for key in list(value)[:members]}
    return value
