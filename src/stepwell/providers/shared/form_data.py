"""multipart/form-data (RFC 7578), encoded by httpx. The same parts give the same bytes."""

from collections.abc import Sequence

import httpx

Part = tuple[str, tuple[str | None, bytes, str | None]]
"""The name of a field, and its file name, content and media type. A field without a file has None for both."""


def encode_form(parts: Sequence[Part], boundary: str) -> tuple[str, bytes]:
    """Return the content type and the body. *boundary* must not occur in any content, so callers derive it by a hash.

    httpx takes the boundary from the Content-Type header that it is given.
    """
    content_type = f"multipart/form-data; boundary={boundary}"
    request = httpx.Request("POST", "http://unused", headers={"Content-Type": content_type}, files=list(parts))
    return content_type, request.read()
