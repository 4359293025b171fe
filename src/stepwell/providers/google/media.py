"""Images and videos sent to and received from Google, as base64 in JSON. They are converted in a thread."""

import io as memory
from typing import Any, NamedTuple

from anyio import to_thread
from PIL import Image

from stepwell.basics.data_uris import decode_base64, encode_base64
from stepwell.contract.tasks import Output
from stepwell.outbound.http_client import UNTYPED
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.shared.result_storage import file_name, store_from_answer

# https://ai.google.dev/gemini-api/docs/image-understanding
_READABLE = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"\x1aE\xdf\xa3", "webm"))
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
_VIDEOS = frozenset({"mp4", "webm"})
_NAMES = {"jpg": "JPEG"}


class InputImage(NamedTuple):
    """An input image. `sides` are its width and height, None if they can't be read; `text` is the base64."""

    media_type: str
    text: str
    sides: tuple[int, int] | None

    @property
    def inline(self) -> dict[str, Any]:
        """The image as a part of a content."""
        return {"inlineData": {"mimeType": self.media_type, "data": self.text}}


class Media(NamedTuple):
    """A result file. `suffix` is png, jpg, webp, gif, mp4 or webm."""

    data: bytes
    suffix: str
    sides: tuple[int, int] | None

    def result(self, output: Output) -> dict[str, Any]:
        """Return the step's result for the stored file."""
        field = "result_video_path" if self.suffix in _VIDEOS else "result_image_path"
        sides = {} if self.sides is None else {"width": self.sides[0], "height": self.sides[1]}
        facts = {"format": _NAMES.get(self.suffix, self.suffix.upper()), "size": len(self.data)}
        return {field: output.path, **sides, **facts}


async def image_input(reference: Any, field: str, io: AttemptIO) -> InputImage:
    """Fetch an input image. Raises as `AttemptIO.fetch`, also for a format that Google doesn't read."""
    if not isinstance(reference, str):
        raise invalid_input(field, "expected a string")
    blob = await io.fetch(reference, field)
    media_type = _TYPES.get(_suffix(blob.data), "") if blob.media_type in UNTYPED else blob.media_type
    if media_type not in _READABLE:
        raise invalid_input(field, "expected a PNG, JPEG, WebP, HEIC or HEIF image")
    return await to_thread.run_sync(lambda: InputImage(media_type, encode_base64(blob.data), _sides(blob.data)))


async def decode_media(text: Any, *, is_video: bool) -> Media | None:
    """Decode base64 to an image, or with *is_video* to a video; None if it isn't one."""
    return await to_thread.run_sync(_decode, text, is_video) if isinstance(text, str) and text else None


async def store_media(media: Media, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """Store a file from the answer to a submit, and return the step's result. Raises as `store_from_answer`."""
    return media.result(await store_from_answer(attempt, io, file_name(1, media.suffix), media.data))


def _decode(text: str, is_video: bool) -> Media | None:  # noqa: FBT001 - called by position, in a thread
    try:
        data = decode_base64(text)
    except ValueError:
        return None
    suffix = _suffix(data)
    if not suffix or (suffix in _VIDEOS) is not is_video:
        return None
    return Media(data, suffix, None if is_video else _sides(data))


def _suffix(data: bytes) -> str:
    """Return the suffix for a file, by its first bytes; "" if the format is unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:11] not in (b"hei", b"mif", b"avi"):
        return "mp4"
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "")


def _sides(data: bytes) -> tuple[int, int] | None:
    """Read width and height from the header; None if that fails, as they are optional."""
    try:
        with Image.open(memory.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
            return image.size
    except Exception:  # noqa: BLE001 - decoders don't document what they raise for broken bytes
        return None
