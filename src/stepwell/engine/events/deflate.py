"""A stream in the content coding `deflate` (RFC 9110, 8.4.1.2: zlib's format), whose parts many streams share.

What must hold:
- Each part is compressed by itself and ends at a byte, so the same bytes fit into every stream at any place.
- A stream that was finished has the checksum of all that it contained, as if it had been compressed at once.
"""

import zlib
from typing import Final

from msgspec import Struct

_HEAD: Final = b"\x78\x01"
_LAST_BLOCK: Final = b"\x03\x00"
_ADLER_MODULUS: Final = 65_521
_STORED_BYTES: Final = 65_535  # in one block that isn't compressed
_SMALL_BYTES, _LARGE_BYTES = 150, 256 * 1024  # not worth it, and too much work for the loop


class DeflatedPart(Struct, frozen=True):
    """A compressed part of a stream, with the size and the checksum (Adler-32) of what it contains."""

    data: bytes
    size: int
    checksum: int


def deflate(content: bytes) -> DeflatedPart:
    """Return *content* as a part. A small or a large one isn't compressed."""
    if _SMALL_BYTES < len(content) <= _LARGE_BYTES:
        packer = zlib.compressobj(level=1, wbits=-15)
        data = packer.compress(content) + packer.flush(zlib.Z_SYNC_FLUSH)
    else:
        data = b"".join(
            _stored(content[start : start + _STORED_BYTES]) for start in range(0, len(content), _STORED_BYTES)
        )
    return DeflatedPart(data, len(content), zlib.adler32(content))


def _stored(content: bytes) -> bytes:
    size = len(content)
    return b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + content


class DeflateStream:
    """The state of one stream: whether it has begun, and the checksum of what it has contained so far."""

    def __init__(self) -> None:
        self._begun = False
        self._checksum = self._checksum_before = 1

    def add(self, *parts: DeflatedPart) -> bytes:
        """Return the next bytes of the stream, which contain *parts*."""
        found = [] if self._begun else [_HEAD]
        self._begun = True
        self._checksum_before = self._checksum
        for part in parts:
            self._checksum = _combined(self._checksum, part)
            found.append(part.data)
        return b"".join(found)

    def discard_last(self) -> None:
        """Forget what the last call of `add` returned: it isn't sent."""
        self._checksum = self._checksum_before

    def finish(self) -> bytes:
        """Return the last bytes of the stream."""
        return self.add() + _LAST_BLOCK + self._checksum.to_bytes(4, "big")


def _combined(before: int, part: DeflatedPart) -> int:
    """Return the checksum of what the checksum *before* is of, followed by *part*."""
    size = part.size % _ADLER_MODULUS
    low = (before & 0xFFFF) + (part.checksum & 0xFFFF) - 1
    high = (before >> 16) + (part.checksum >> 16) + size * ((before & 0xFFFF) - 1)
    return (high % _ADLER_MODULUS) << 16 | low % _ADLER_MODULUS
