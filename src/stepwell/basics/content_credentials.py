"""Finds Content Credentials in files: a C2PA manifest that the file itself contains. It isn't verified.

A manifest is one of these (https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html,
appendix A): a chunk `caBX` of a PNG, an APP11 segment with a JUMBF box of a JPEG, a chunk `C2PA` of a WebP, and a box
`uuid` of an MP4, MOV, HEIC or AVIF.

What must hold:
- Only the headers of a file's parts are read, whatever its size is, and at most `MAX_PARTS` of them.
- Any bytes have a result. A file that is cut off or broken has no manifest behind the fault.
"""

from collections.abc import Generator
from typing import IO, Final, NamedTuple

MAX_PARTS: Final = 20_000  # about 10 ms
_PNG, _JPEG, _RIFF, _WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF", b"WEBP"
_SOS, _EOI, _APP11 = 0xDA, 0xD9, 0xEB
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # without a length
_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_BOX, _LARGE_BOX = 8, 16  # bytes of a header
_LONGEST = 1 << 62  # bytes of a box; a file can't be so long, and nobody can seek over it


class _Need(NamedTuple):
    """The next bytes that a scan needs: *read* of them, after the next *skip* bytes. It gets fewer at the end."""

    skip: int
    read: int


_Scan = Generator[_Need, bytes, bool]


def has_credentials(file: IO[bytes]) -> bool:
    """Return whether the file, from its present position on, contains a manifest. Seeks over what isn't read."""
    scan = _scan()
    try:
        need = next(scan)
        while True:
            if need.skip:
                file.seek(need.skip, 1)
            need = scan.send(file.read(need.read))
    except StopIteration as end:
        return bool(end.value)


class CredentialsDetector:
    """Looks for a manifest in a file that arrives in chunks. `found` becomes true as soon as there is one."""

    def __init__(self) -> None:
        self.found = False
        self._scan: _Scan | None = _scan()
        self._need, self._bytes = next(self._scan), b""

    def feed(self, chunk: bytes) -> None:
        at = 0
        while self._scan is not None:
            skipped = min(self._need.skip, len(chunk) - at)
            at += skipped
            missing = self._need.read - len(self._bytes)
            self._need = self._need._replace(skip=self._need.skip - skipped)
            if self._need.skip or len(chunk) - at < missing:
                self._bytes += chunk[at:]
                return
            read, self._bytes = self._bytes + chunk[at : at + missing], b""
            at += missing
            try:
                self._need = self._scan.send(read)
            except StopIteration as end:
                self.found, self._scan = bool(end.value), None


def _scan() -> _Scan:
    head = yield _Need(0, 12)
    if head.startswith(_PNG):
        return (yield from _scan_png(head))
    if head.startswith(_JPEG):
        return (yield from _scan_jpeg(head))
    if head[:4] == _RIFF and head[8:] == _WEBP:
        return (yield from _scan_webp())
    if head[4:8] == b"ftyp":
        return (yield from _scan_boxes(head))
    return False


def _scan_png(head: bytes) -> _Scan:
    """Chunks: length, type, data, CRC."""
    header = head[8:] + (yield _Need(0, 4))
    for _ in range(MAX_PARTS):
        kind = header[4:]
        if kind == b"caBX":
            return True
        if len(header) < _BOX or kind == b"IEND":
            return False
        header = yield _Need(int.from_bytes(header[:4]) + 4, _BOX)
    return False


def _scan_jpeg(head: bytes) -> _Scan:
    """Segments: marker, length with its own two bytes, data. The image data follows SOS; manifests come before."""
    rest = head[2:]
    for _ in range(MAX_PARTS):
        header = rest[:4]
        rest = rest[4:]
        if len(header) < 4:  # noqa: PLR2004 - marker and length
            header += yield _Need(0, 4 - len(header))
        if len(header) < 4 or header[0] != 0xFF or header[1] in (_SOS, _EOI):  # noqa: PLR2004
            return False
        if header[1] in _BARE_MARKERS or header[1] == 0xFF:  # noqa: PLR2004 - a fill byte
            bare = 1 if header[1] == 0xFF else 2  # noqa: PLR2004
            rest = header[bare:] + rest
            continue
        length = int.from_bytes(header[2:]) - 2
        if length < 0:
            return False
        wanted = min(length, 48) if header[1] == _APP11 else 0
        data, rest = rest[:length], rest[length:]
        if len(data) < wanted:
            data += yield _Need(0, wanted - len(data))
        if len(data) < wanted:
            return False
        if header[1] == _APP11 and _is_manifest_segment(data):
            return True
        if length > len(data):
            rest = yield _Need(length - len(data), 4)
    return False


def _is_manifest_segment(data: bytes) -> bool:
    """True for JPEG XT's box header, with a JUMBF superbox whose description has C2PA's type.

    The header is "JP", a number of two bytes, and one of four. A long box has a length of eight bytes more.
    """
    box = data[8:]
    description = box[16:] if box[:4] == b"\0\0\0\1" else box[8:]
    return data[:2] == b"JP" and box[4:8] == b"jumb" and description[4:12] == b"jumdc2pa"


def _scan_webp() -> _Scan:
    """Chunks: type, length, data to an even length."""
    header = yield _Need(0, _BOX)
    for _ in range(MAX_PARTS):
        if header[:4] == b"C2PA" and len(header) == _BOX:
            return True
        if len(header) < _BOX:
            return False
        length = int.from_bytes(header[4:], "little")
        header = yield _Need(length + length % 2, _BOX)
    return False


def _scan_boxes(head: bytes) -> _Scan:
    """Boxes of ISO base media: length with the header, type. 1: a length of 8 bytes follows. 0: to the end."""
    header, read = head[:_BOX], len(head)
    for _ in range(MAX_PARTS):
        if len(header) < _BOX:
            return False
        length = int.from_bytes(header[:4])
        if length == 1:
            length = int.from_bytes((yield _Need(0, _LARGE_BOX - _BOX)))
            read = _LARGE_BOX
        if header[4:8] == b"uuid":
            kind = yield _Need(0, len(_UUID))
            read += len(kind)
            if kind == _UUID:
                return True
        if not read <= length < _LONGEST:
            return False
        header = yield _Need(length - read, _BOX)
        read = _BOX
    return False
