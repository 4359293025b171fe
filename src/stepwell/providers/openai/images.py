"""Images sent to and received from OpenAI: their formats, masks, data URIs, and requests with them as form data.

Large images are handled in a thread.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from anyio import to_thread
from msgspec import Struct, json
from PIL import Image

from stepwell.basics.data_uris import data_uri, decode_base64
from stepwell.basics.strict_json.canonical import digest
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import AttemptIO
from stepwell.providers.shared import images
from stepwell.providers.shared.form_data import Part, encode_form

_KINDS: Mapping[str, tuple[str, str]] = {
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "WEBP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
}
# As inputs: https://developers.openai.com/api/reference/resources/images/methods/edit
_ACCEPTED = ("PNG", "JPEG", "WEBP")
FILES = frozenset({"image", "mask", "input_reference"})
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class SentImage(Struct, frozen=True):
    """The format and size in the header of an image file. `format` is Pillow's name."""

    format: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        return _KINDS[self.format][0]

    @property
    def media_type(self) -> str:
        return _KINDS[self.format][1]


def inspect(data: bytes) -> SentImage | None:
    """Read the header of an image file; None if it isn't a PNG, JPEG, WebP or GIF."""
    try:
        with Image.open(io.BytesIO(data), formats=list(_KINDS)) as image:
            kind = "JPEG" if image.format == "MPO" else image.format or ""
            return SentImage(kind, image.width, image.height) if kind in _KINDS else None
    except Exception:  # noqa: BLE001 - decoders don't document what they raise for broken bytes
        return None


async def image_input(reference: str, field: str, io: AttemptIO) -> tuple[str, SentImage]:
    """Fetch an image. Returns it as a data URI, and its header.

    Raises as `AttemptIO.fetch`, and `AttemptError` for a format that OpenAI doesn't accept.
    """
    data = (await io.fetch(reference, field)).data
    info = await to_thread.run_sync(inspect, data)
    if info is None or info.format not in _ACCEPTED:
        raise invalid_input(field, "expected an image as PNG, JPEG or WebP")
    return await to_thread.run_sync(data_uri, data, info.media_type), info


async def mask_input(reference: str, field: str, size: tuple[int, int], io: AttemptIO) -> str:
    """Fetch a mask, and convert it to OpenAI's form: a PNG of *size* that is transparent where the image may change.

    Stepwell's masks are white there, and black or transparent elsewhere. Raises as `image_input`.
    """
    data = (await io.fetch(reference, field)).data
    return await to_thread.run_sync(_mask, data, field, size)


def image_bytes(text: str) -> bytes | None:
    """Decode base64, bare or in a data URI; None for anything else."""
    packed = text.partition(",")[2] if text[:5].lower() == "data:" else text
    try:
        return decode_base64(packed)
    except ValueError:
        return None


def _mask(data: bytes, field: str, size: tuple[int, int]) -> str:
    if inspect(data) is None:
        raise invalid_input(field, "expected an image as PNG, JPEG or WebP")
    colours, alpha = images.split_alpha(images.open_image({field: io.BytesIO(data)}, field))
    light = colours.convert("L")
    if alpha is not None:
        light = Image.composite(light, Image.new("L", light.size, 0), alpha)
    openai_mask = Image.new("RGBA", size, (0, 0, 0, 255))
    openai_mask.putalpha(light.resize(size).point([255 - level for level in range(256)]))
    return data_uri(images.png(openai_mask), "image/png")


def form_body(body: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the content type and the bytes of *body*.

    The members in `FILES` are data URIs; `image` is a list of them. Several images are sent under the name `image[]`,
    as OpenAI's own clients do. Objects and lists are sent as JSON.
    """
    parts = [part for name in sorted(body) for part in _parts(name, body[name])]
    return encode_form(parts, f"stepwell-{digest(body)[:40]}")


def _parts(name: str, value: Any) -> Iterator[Part]:
    if name not in FILES:
        text = value if isinstance(value, str) else json.encode(value).decode()
        yield name, (None, text.encode("utf-8", "replace"), None)
        return
    files = value if isinstance(value, list) else [value]
    field = f"{name}[]" if len(files) > 1 else name
    for place, uri in enumerate(files):
        media_type = uri.partition(";")[0].removeprefix("data:")
        yield field, (f"{name}-{place}.{_EXTENSIONS[media_type]}", image_bytes(uri) or b"", media_type)
