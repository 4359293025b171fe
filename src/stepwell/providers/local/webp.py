"""Writes an animated WebP from finished frames.

This isn't Pillow's writer, because that merges frames that look alike, so that a video of a plain image would have too
few frames, and because it keeps all frames in memory. The format: developers.google.com/speed/webp/docs/riff_container
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

_HAS_ANIMATION = 0x02
_HEADER = 12  # bytes: "RIFF", size, "WEBP"


class Frame(NamedTuple):
    """A simple lossy WebP file without transparency, and the duration for which it is shown."""

    file: bytes
    milliseconds: int


def animation(size: tuple[int, int], frames: Iterable[Frame]) -> bytes:
    """Return a video of *frames*, all of *size* (width, height in pixels), that repeats endlessly."""
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
