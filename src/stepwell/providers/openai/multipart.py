"""Requests with files, as multipart/form-data. The same request gives the same bytes."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import json

from stepwell.basics.strict_json.canonical import digest
from stepwell.providers.openai.images import image_bytes
from stepwell.providers.shared.form_data import Part, encode_form

FILES = frozenset({"image", "mask", "input_reference"})
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


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
