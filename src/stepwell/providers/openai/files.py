"""The files of a step, as OpenAI's API takes them: images, masks and form data, and which URLs are sent on.

OpenAI reads URLs itself. Another server may be inside the operator's network, so it only gets URLs of this service's
artifacts. Other URLs are read here, through the SSRF guard, and their contents are sent. Large images are handled in a
thread.
"""

import io
import re
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
from stepwell.providers.shared.input_references import provider_reference
from stepwell.providers.shared.provider_api import Part, encode_form
from stepwell.providers.shared.refusals import config_refusal, input_refusal

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
# Matches URLs as lenient parsers do, which ignore control characters.
_WEB = re.compile(r"[\x00-\x20]*(?:" + r"[\t\r\n]*".join([*"http", "s?", ":"]) + "|ftp:|file:)", re.IGNORECASE)
_UNTYPED = "application/octet-stream"
_TEXTS = frozenset({"type", "text"})  # members of a part that never are references
_MEDIA = frozenset({"image", "images", "video", "videos", "audio", "audios"})


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
    for index, uri in enumerate(files):
        media_type = uri.partition(";")[0].removeprefix("data:")
        yield field, (f"{name}-{index}.{_EXTENSIONS[media_type]}", image_bytes(uri) or b"", media_type)


async def chat_reference(reference: str, field: str, io: AttemptIO, *, public: bool) -> str:
    """Return a reference that the server can read. *public*: the server is OpenAI. Raises as `AttemptIO.fetch`."""
    if public or not _is_web(reference):
        return await provider_reference(reference, field, io)
    blob = await io.fetch(reference, field)
    info = await to_thread.run_sync(inspect, blob.data)
    media_type = info.media_type if info is not None else blob.media_type or _UNTYPED
    return await to_thread.run_sync(data_uri, blob.data, media_type)


async def chat_message(message: Mapping[str, Any], field: str, io: AttemptIO, *, public: bool) -> dict[str, Any]:
    """Return *message* with `chat_reference` applied to the references in its content. Raises as `AttemptIO.fetch`."""

    async def readable(value: Any, name: str, place: str) -> Any:
        if isinstance(value, Mapping):
            return {inner: await readable(each, inner, f"{place}.{inner}") for inner, each in value.items()}
        if isinstance(value, list):
            return [await readable(each, name, f"{place}[{number}]") for number, each in enumerate(value)]
        if not isinstance(value, str) or name in _TEXTS:
            return value
        if name == "url" or name.endswith("_url") or (_is_web(value) and not public):
            return await chat_reference(value, place.removesuffix(".url"), io, public=public)
        return value

    content = message.get("content")
    if not isinstance(content, list | Mapping):
        return dict(message)
    return {**message, "content": await readable(content, "text", f"{field}.content")}


def check_addresses(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raise `Refusal` for a URL that a server other than OpenAI would read. *parameters* override *inputs*."""
    for name, value in {**inputs, **parameters}.items():
        if any(_is_web(text) for text in _references(value)):
            why = "a server other than OpenAI's own gets no URLs; use image_urls, which Stepwell reads"
            raise config_refusal("parameters", name, why=why) if name in parameters else input_refusal(name, why=why)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if name in _MEDIA or name.lower().endswith(("url", "urls")):
                yield from _references(each)


def _is_web(text: str) -> bool:
    return _WEB.match(text) is not None
