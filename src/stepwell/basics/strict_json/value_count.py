"""Counts the values of a JSON text without decoding it. A text of 16 MiB can hold millions, which take gigabytes.

The text is searched by methods of bytes, in slices, so that no other thread waits for the interpreter for long.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_VALUES: Final = 1_000_000
# Half a second passes for 1,000,000 different keys, while the decoder holds the interpreter's lock.
MAX_MEMBERS: Final = 500_000
_SLICE = 256 * 1024
_BLANKS = b" \t\n\r"


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
    the one that closes follows it. Each colon outside of strings counts as a member.
    """
    members = 0
    count, in_string, escaped, last = 1, False, False, b""
    for part in _slices(data):
        # The backslashes that are left when the pairs are gone belong to the next byte.
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
