"""Pictures on their way to and from OpenAI: what they are, masks in its form, data URIs. Slow enough for a thread."""

import base64
import binascii
import io
from collections.abc import Mapping

from anyio import to_thread
from msgspec import Struct
from PIL import Image

from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import AttemptIO
from stepwell.providers.shared import images

_KINDS: Mapping[str, tuple[str, str]] = {
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "WEBP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
}
_TAKEN = ("PNG", "JPEG", "WEBP")  # as inputs: https://developers.openai.com/api/reference/resources/images/methods/edit


class SentImage(Struct, frozen=True):
    """What the header of a picture says. `format` as Pillow calls it."""

    format: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        return _KINDS[self.format][0]

    @property
    def media_type(self) -> str:
        return _KINDS[self.format][1]


def seen(data: bytes) -> SentImage | None:
    """What *data* is, by its first bytes; null if it isn't a picture of a kind that is known here."""
    try:
        with Image.open(io.BytesIO(data), formats=list(_KINDS)) as picture:
            kind = "JPEG" if picture.format == "MPO" else picture.format or ""
            return SentImage(kind, picture.width, picture.height) if kind in _KINDS else None
    except Exception:  # noqa: BLE001 - whatever a decoder may raise about strange bytes: it documents nothing
        return None


async def picture(reference: str, field: str, io: AttemptIO) -> tuple[str, SentImage]:
    """The picture behind *reference* as a data URI, and what it is. Raises as `AttemptIO.fetch`, and `AttemptError` if
    it is of no kind that OpenAI takes.
    """
    data = (await io.fetch(reference, field)).data
    about = await to_thread.run_sync(seen, data)
    if about is None or about.format not in _TAKEN:
        raise invalid_input(field, "expected a picture as PNG, JPEG or WebP")
    return await to_thread.run_sync(data_uri, data, about.media_type), about


async def mask(reference: str, field: str, size: tuple[int, int], io: AttemptIO) -> str:
    """The mask behind *reference* as OpenAI wants it, a PNG of *size* that is transparent where the picture is to
    change. Stepwell's masks are white there, and black, or transparent, elsewhere. Raises as `picture`.
    """
    data = (await io.fetch(reference, field)).data
    return await to_thread.run_sync(_mask, data, field, size)


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def decoded(text: str) -> bytes | None:
    """The bytes in base64, also as a data URI; null if it is anything else."""
    packed = text.partition(",")[2] if text[:5].lower() == "data:" else text
    try:
        return base64.b64decode(packed, validate=True)
    except (ValueError, binascii.Error):
        return None


def _mask(data: bytes, field: str, size: tuple[int, int]) -> str:
    if seen(data) is None:
        raise invalid_input(field, "expected a picture as PNG, JPEG or WebP")
    colours, alpha = images.split_alpha(images.open_image({field: data}, field))
    light = colours.convert("L")
    if alpha is not None:
        light = Image.composite(light, Image.new("L", light.size, 0), alpha)
    form = Image.new("RGBA", size, (0, 0, 0, 255))
    form.putalpha(light.resize(size).point([255 - level for level in range(256)]))
    return data_uri(images.png(form), "image/png")
