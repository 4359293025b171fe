"""Writes an animated WebP from finished frames.

This isn't Pillow's writer, because that merges frames that look alike, so that a video of a plain image would have too
few frames, and because it keeps all frames in memory. The format: developers.google.com/speed/webp/docs/riff_container
"""

import struct
from collections.abc import Iterable
from typing import IO, NamedTuple

_HAS_ANIMATION = 0x02
_HEADER = 12  # bytes: "RIFF", size, "WEBP"


class Frame(NamedTuple):
    """A simple lossy WebP file without transparency, and the duration for which it is shown."""

    file: bytes
    milliseconds: int


def write_animation(size: tuple[int, int], frames: Iterable[Frame], target: IO[bytes]) -> None:
    """Write a video of *frames*, all of *size* (width, height in pixels), that repeats endlessly."""
    width, height = size
    target.write(b"RIFF" + bytes(4) + b"WEBP")
    target.write(_chunk(b"VP8X", struct.pack("<I", _HAS_ANIMATION) + _int24(width - 1) + _int24(height - 1)))
    target.write(_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0)))
    for frame in frames:
        place = _int24(0) * 2 + _int24(width - 1) + _int24(height - 1)
        target.write(_chunk(b"ANMF", place + _int24(frame.milliseconds) + b"\x02" + frame.file[_HEADER:]))
    end = target.tell()
    target.seek(4)
    target.write(struct.pack("<I", end - 8))
    target.seek(end)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _int24(value: int) -> bytes:
    return value.to_bytes(3, "little")
