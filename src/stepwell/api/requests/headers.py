"""The names of the headers that this API uses in a way of its own, and a function that reads a request's header."""

from collections.abc import Mapping
from typing import Any

from litestar import Request
from litestar.types import Scope

IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PREFER = "Idempotency-Key", "If-Match", "If-None-Match", "Prefer"
REPLAYED, APPLIED, ETAG = "Idempotency-Replayed", "Preference-Applied", "ETag"
RANGE, IF_RANGE, ACCEPT_RANGES, CONTENT_RANGE = "Range", "If-Range", "Accept-Ranges", "Content-Range"
# The request headers of every operation that changes a workflow or its webhooks.
CHANGING = (IDEMPOTENCY_KEY, IF_MATCH)

Headers = Mapping[str, str]
NO_HEADERS: Headers = {}


def encode_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response in the form of an ASGI message."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def header_value(request: Request[Any, Any, Any], name: str) -> str | None:
    """Return the values of the request header *name*, joined by commas; None if it wasn't sent."""
    return values_of(request.scope, name)


def values_of(scope: Scope, name: str) -> str | None:
    """Return the values of the header *name* in the request of *scope*, as `header_value` does."""
    encoded = name.lower().encode()
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == encoded]
    return ", ".join(values) if values else None
