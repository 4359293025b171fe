"""Reads from the bytes of a file which type it has, and how large an image is. Runs in a child process.

Tenants choose the bytes, so reading them may take long, or much memory. The child process bounds both.
"""

import codecs
import mmap
import re
import warnings
from typing import IO

import filetype
from msgspec import DecodeError, Raw, Struct, json
from PIL import Image

from stepwell.basics.artifacts import JSON, MEDIA_TYPES, TEXT
from stepwell.rules.uploads import UploadContents

_HEAD = 8_192  # bytes that the signatures of types are in
_CHUNK = 1 << 20
_SAME_TYPES = {
    "image/apng": "image/png",
    "video/x-m4v": "video/mp4",
    "audio/x-flac": "audio/flac",
    "audio/x-wav": "audio/wav",
    "audio/x-aiff": "audio/aiff",
}
_UNREAD_IMAGES = frozenset({"image/heic"})  # Pillow doesn't read them, so their sizes aren't known
_IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP")
_MOST_PIXELS = 178_956_970  # of an image: Pillow refuses more as a decompression bomb
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_JSON_BEGINS = re.compile(rb"[ \t\r\n]*[\[{]")
_REFUSED = (
    "The file is no image, video, sound, JSON or text that is accepted. Its type is read from its bytes. Accepted are "
    f"{', '.join(sorted(MEDIA_TYPES))}, {JSON} and {TEXT} in UTF-8."
)


class Inspection(Struct, frozen=True):
    """The result: the contents of the file, or why it is refused."""

    contents: UploadContents | None
    refusal: str = ""


def inspect_file(path: bytes) -> bytes:
    """Return the `Inspection` of the file at *path*, encoded as JSON."""
    with open(path, "rb") as file:  # noqa: PTH123 - the path is one of /proc
        return json.encode(inspect(file))


def inspect(file: IO[bytes]) -> Inspection:
    media_type = _signature(file.read(_HEAD))
    if media_type in MEDIA_TYPES:
        if not media_type.startswith("image/") or media_type in _UNREAD_IMAGES:
            return Inspection(UploadContents(media_type))
        try:
            return Inspection(_read_image(file, media_type))
        except Image.DecompressionBombError:
            return Inspection(None, f"The image has more than {_MOST_PIXELS:,} pixels: make it smaller.")
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            return Inspection(None, f"The file begins like {media_type}, but can't be read as such.")
    if media_type is None and _is_text(file):
        return Inspection(UploadContents(JSON if _is_json(file) else TEXT))
    return Inspection(None, _REFUSED)


def _signature(head: bytes) -> str | None:
    """Return the media type whose signature the file has; None if it has no known one."""
    try:
        kind = filetype.guess(head)
    except (ValueError, IndexError):  # a broken header
        return None
    return None if kind is None else _SAME_TYPES.get(kind.mime, kind.mime)


def _read_image(file: IO[bytes], media_type: str) -> UploadContents:
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its bound is half of `_MOST_PIXELS`
        with Image.open(file, formats=_IMAGE_FORMATS) as image:
            return UploadContents(media_type, *image.size)


def _is_text(file: IO[bytes]) -> bool:
    """Return whether the file is UTF-8 without control characters that no text has."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := file.read(_CHUNK):
            if _CONTROL.search(chunk):
                return False
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_json(file: IO[bytes]) -> bool:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
        if not (begin := _JSON_BEGINS.match(contents)):
            return False
        del begin  # it holds the map
        try:
            json.decode(contents, type=Raw)  # checks the syntax, and builds no values
        except (DecodeError, RecursionError):
            return False
    return True
