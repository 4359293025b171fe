"""Short WebM videos, made of single-colour VP8 frames: Pillow has an encoder of such frames, for WebP."""

import io
import struct
from collections.abc import Iterable

from PIL import Image

_FRAME_MS = 500
_SIZE = 64


def _element(identity: str, content: bytes) -> bytes:
    """Return an EBML element, with a length of eight bytes."""
    return bytes.fromhex(identity) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _number(identity: str, value: int) -> bytes:
    return _element(identity, value.to_bytes(8, "big"))


def _frame(colour: str) -> bytes:
    """Return a VP8 key frame: the content of the only chunk of a lossy WebP file."""
    buffer = io.BytesIO()
    Image.new("RGB", (_SIZE, _SIZE), colour).save(buffer, "WEBP", quality=50)
    return buffer.getvalue()[20:]


def webm(colour: str, seconds: int) -> bytes:
    """Return a video of that colour. A viewer can seek in it, because it has an index."""
    times = range(0, seconds * 1000, _FRAME_MS)
    frame = _frame(colour)
    clusters = [
        _element("1F43B675", _number("E7", at) + _element("A3", b"\x81\0\0\x80" + frame)) for at in times
    ]  # each has one block: of track 1, at the cluster's time, a key frame
    info = _element(
        "1549A966",
        _number("2AD7B1", 1_000_000)  # nanoseconds of a unit of time
        + _element("4489", struct.pack(">d", seconds * 1000))
        + _element("4D80", b"tests")
        + _element("5741", b"tests"),
    )
    video = _element("E0", _number("B0", _SIZE) + _number("BA", _SIZE))
    track = _number("D7", 1) + _number("73C5", 1) + _number("83", 1) + _element("86", b"V_VP8") + video
    tracks = _element("1654AE6B", _element("AE", track))
    head = info + tracks
    first = len(head) + len(_index(times, (0 for _ in times)))
    index = _index(times, (first + number * len(clusters[0]) for number in range(len(clusters))))
    ebml = _number("4286", 1) + _number("42F7", 1) + _number("42F2", 4) + _number("42F3", 8)
    ebml += b"\x42\x82\x84webm" + _number("4287", 2) + _number("4285", 2)
    return _element("1A45DFA3", ebml) + _element("18538067", head + index + b"".join(clusters))


def _index(times: Iterable[int], positions: Iterable[int]) -> bytes:
    """Return the element Cues: where the cluster of each time begins, in bytes after the segment's start."""
    return _element(
        "1C53BB6B",
        b"".join(
            _element("BB", _number("B3", at) + _element("B7", _number("F7", 1) + _number("F1", position)))
            for at, position in zip(times, positions, strict=True)
        ),
    )
