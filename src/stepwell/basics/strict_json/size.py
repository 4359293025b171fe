"""The size, the depth and the number of values of JSON, measured without encoding or decoding it.

A mapping may repeat a long text many times, so the encoded value could be too large for memory. A text of 16 MiB can
hold millions of values, which take gigabytes.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

MAX_RESULT_BYTES = 1024 * 1024
# The limit for results and for providers' answers. Python 3.11 has a stack of 1,000 frames, and recursive code needs
# two for each level.
MAX_LEVELS = 200
MAX_VALUES: Final = 1_000_000
# Half a second passes for 1,000,000 different keys, while the decoder holds the interpreter's lock.
MAX_MEMBERS: Final = 500_000
_SLICE = 256 * 1024  # of a text that is searched, so that no other thread waits for the interpreter for long
_BLANKS = b" \t\n\r"


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

    An empty list takes 56 bytes, and the reference to it in another list 8. One character beyond ASCII can make a text
    four times as large.
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


class JsonCounts(NamedTuple):
    """The numbers of values in a text, and of the members of all objects in it, duplicates included."""

    values: int
    members: int


def most_values(data: bytes) -> int:
    """Return a number that the values of *data* don't exceed. Commas and brackets in strings count too."""
    return 1 + sum(part.count(b",") + part.count(b"{") + part.count(b"[") for part in _slices(data))


def most_members(data: bytes) -> int:
    """Return a number that the members of *data* don't exceed. Colons in strings count too."""
    return sum(part.count(b":") for part in _slices(data))


def count_values(data: bytes) -> JsonCounts:
    """Count the values of *data*: the outermost one, and every element and member. Keys aren't values.

    *data* needn't be well-formed. Each comma outside of strings counts as a value, and each bracket that opens, unless
    the closing one comes right after it. Each colon outside of strings counts as a member.
    """
    members = 0
    count, in_string, escaped, last = 1, False, False, b""
    for part in _slices(data):
        # A backslash that is left after the pairs are removed belongs to the next byte.
        text = (part[1:] if escaped else part).replace(b"\\\\", b"")
        escaped = text.endswith(b"\\")
        parts = text.replace(b'\\"', b"").split(b'"')
        outside = b'"'.join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0
        # A quote stands for each string, so that a list of one string isn't empty.
        plain = last + (outside + b'"' if in_string else outside).translate(None, _BLANKS)
        empty = plain.count(b"{}") + plain.count(b"[]")
        count += plain.count(b",") + plain.count(b"{") + plain.count(b"[") - empty - len(last)
        members += plain.count(b":")
        last = plain[-1:] if plain[-1:] in (b"{", b"[") else b""
    return JsonCounts(count, members)


def _slices(data: bytes) -> Iterator[bytes]:
    return (data[begin : begin + _SLICE] for begin in range(0, len(data), _SLICE))
