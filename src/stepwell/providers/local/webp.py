"""The container of an animated WebP, put together from finished frames.

Pillow's own writer merges frames that look alike, so that a film of a plain picture would have fewer frames than
it should; and it keeps what it needs of all frames. The format: developers.google.com/speed/webp/docs/riff_container
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

_HAS_ANIMATION = 0x02
_HEADER = 12  # bytes: "RIFF", size, "WEBP"


class Frame(NamedTuple):
    """A picture as a simple lossy WebP file without transparency, and how long it is shown."""

    file: bytes
    milliseconds: int


def animation(size: tuple[int, int], frames: Iterable[Frame]) -> bytes:
    """A film of *frames*, all of *size* (width, height in pixels), that repeats without end."""
    width, height = size
    chunks = [
        _chunk(b"VP8X", struct.pack("<I", _HAS_ANIMATION) + _int24(width - 1) + _int24(height - 1)),
        _chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0)),
    ]
    for frame in frames:
        place = _int24(0) * 2 + _int24(width - 1) + _int24(height - 1)
        chunks.append(_chunk(b"ANMF", place + _int24(frame.milliseconds) + b"\x02" + frame.file[_HEADER:]))
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _int24(value: int) -> bytes:
    return value.to_bytes(3, "little")
