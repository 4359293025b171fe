"""Pictures and films on their way to and from Google, which has them as base64 in its JSON. All of it off the loop."""

import base64
import binascii
import io as memory
from typing import Any, NamedTuple

from anyio import to_thread
from PIL import Image

from stepwell.contract.tasks import Output
from stepwell.outbound.http_client import UNTYPED
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.shared.result_storage import store_from_answer

# https://ai.google.dev/gemini-api/docs/image-understanding
_READ = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"\x1aE\xdf\xa3", "webm"))
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
_FILMS = frozenset({"mp4", "webm"})
_NAMES = {"jpg": "JPEG"}


class InputImage(NamedTuple):
    """An input. *sides* are its width and height, null where they can't be read; *text* is the base64."""

    media_type: str
    text: str
    sides: tuple[int, int] | None

    @property
    def inline(self) -> dict[str, Any]:
        """As a part of a content."""
        return {"inlineData": {"mimeType": self.media_type, "data": self.text}}

    @property
    def instance(self) -> dict[str, str]:
        """As predict calls want it."""
        return {"bytesBase64Encoded": self.text, "mimeType": self.media_type}


class Media(NamedTuple):
    """A result. *suffix* tells its format: png, jpg, webp, gif, mp4 or webm."""

    data: bytes
    suffix: str
    sides: tuple[int, int] | None

    @property
    def name(self) -> str:
        """Of the file that it is stored as."""
        return f"result.{self.suffix}"

    def result(self, output: Output) -> dict[str, Any]:
        """That of its step, once it is stored."""
        field = "result_video_path" if self.suffix in _FILMS else "result_image_path"
        sides = {} if self.sides is None else {"width": self.sides[0], "height": self.sides[1]}
        about = {"format": _NAMES.get(self.suffix, self.suffix.upper()), "size": len(self.data)}
        return {field: output.path, **sides, **about}


async def picture(reference: Any, field: str, io: AttemptIO) -> InputImage:
    """The picture behind an input. Raises as `AttemptIO.fetch`, also if it is of no kind that Google reads."""
    if not isinstance(reference, str):
        raise invalid_input(field, "expected a string")
    blob = await io.fetch(reference, field)
    media_type = _TYPES.get(_suffix(blob.data), "") if blob.media_type in UNTYPED else blob.media_type
    if media_type not in _READ:
        raise invalid_input(field, "expected a PNG, JPEG, WebP, HEIC or HEIF picture")
    return await to_thread.run_sync(_read, media_type, blob.data)


async def media(text: Any, *, film: bool) -> Media | None:
    """What *text* holds as base64; None if it isn't a picture, or a film if it should be one."""
    return await to_thread.run_sync(_media, text, film) if isinstance(text, str) and text else None


async def stored(found: Media, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """The result of a step, for what came in the answer to a submit. Raises as `keeping.stored_of_answer`."""
    return found.result(await store_from_answer(attempt, io, found.name, found.data))


def _read(media_type: str, data: bytes) -> InputImage:
    return InputImage(media_type, base64.b64encode(data).decode("ascii"), _sides(data))


def _media(text: str, film: bool) -> Media | None:  # noqa: FBT001 - called by position, in a thread
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    suffix = _suffix(data)
    if not suffix or (suffix in _FILMS) is not film:
        return None
    return Media(data, suffix, None if film else _sides(data))


def _suffix(data: bytes) -> str:
    """By its first bytes; "" for what nobody here knows."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:11] not in (b"hei", b"mif", b"avi"):
        return "mp4"
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "")


def _sides(data: bytes) -> tuple[int, int] | None:
    """By its head alone; it is worth knowing, but no more."""
    try:
        with Image.open(memory.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
            return image.size
    except Exception:  # noqa: BLE001 - what a broken picture may raise has no end
        return None
