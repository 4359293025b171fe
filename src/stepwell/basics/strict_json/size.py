"""The size and depth of a value as JSON, measured without encoding it.

A mapping may repeat a long text many times, so the encoded value could be too large for memory.
"""

from typing import Any

MAX_RESULT_BYTES = 1024 * 1024
# The limit for results and for providers' answers. Python 3.11 has a stack of 1,000 frames, and recursive code needs
# two for each level.
MAX_LEVELS = 200


def is_larger_than(value: Any, limit: int) -> bool:
    """Return whether *value* takes more than about *limit* bytes as JSON. Stops at the limit, and doesn't recurse."""
    rest, stack = limit, [value]
    while stack and rest >= 0:
        match stack.pop():
            case str() as text:
                rest -= len(text) + 2
            case dict() as members:
                rest -= sum(len(str(key)) + 4 for key in members) + 2
                stack += members.values()
            case list() | tuple() as items:
                rest -= len(items) + 2
                stack += items
            case _:
                rest -= 4
    return rest < 0


def decoded_size(data: bytes) -> int:
    """Return about how many bytes of memory the JSON *data* takes as Python objects, together with a copy as JSON.

    An empty list takes 56 bytes and its place in another one 8. One character beyond ASCII can make a text four times
    as large.
    """
    values = sum(data.count(mark) for mark in (b",", b"[", b"{", b":"))
    return len(data) * (2 if data.isascii() else 5) + 64 * values


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and objects in *value* are nested more than *levels* deep. Doesn't recurse."""
    level = [value]
    for _ in range(levels):
        inner: list[Any] = []
        for each in level:
            match each:
                case dict():
                    inner += each.values()
                case list() | tuple():
                    inner += each
        if not inner:
            return False
        level = inner
    return any(isinstance(each, dict | list | tuple) for each in level)
