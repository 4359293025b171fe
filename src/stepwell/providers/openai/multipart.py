"""Requests with files, as multipart/form-data (RFC 7578). The same request gives the same bytes."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import json

from stepwell.providers.openai.images import decoded

FILES = frozenset({"image", "mask", "input_reference"})
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def form(body: Mapping[str, Any]) -> tuple[str, bytes]:
    """The content type and the bytes for *body*, in which the members in `FILES` are data URIs, `image` a list of them.

    Several pictures go under the name `image[]`, as OpenAI's own clients send them. Objects and lists go as JSON.
    """
    parts = [part for name in sorted(body) for part in _parts(name, body[name])]
    boundary = "stepwell-" + hashlib.sha256(b"".join(head + data for head, data in parts)).hexdigest()[:40]
    lines = [f"--{boundary}\r\n".encode() + head + b"\r\n" + data + b"\r\n" for head, data in parts]
    return f"multipart/form-data; boundary={boundary}", b"".join([*lines, f"--{boundary}--\r\n".encode()])


def _parts(name: str, value: Any) -> Iterator[tuple[bytes, bytes]]:
    if name not in FILES:
        text = value if isinstance(value, str) else json.encode(value).decode()
        yield f'Content-Disposition: form-data; name="{_quoted(name)}"\r\n'.encode(), text.encode("utf-8", "replace")
        return
    files = value if isinstance(value, list) else [value]
    field = f"{name}[]" if len(files) > 1 else name
    for place, uri in enumerate(files):
        media_type = uri.partition(";")[0].removeprefix("data:")
        filename = f"{name}-{place}.{_EXTENSIONS[media_type]}"
        head = (
            f'Content-Disposition: form-data; name="{field}"; filename="{filename}"\r\nContent-Type: {media_type}\r\n'
        )
        yield head.encode(), decoded(uri) or b""


def _quoted(name: str) -> str:
    """As browsers do it: https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
