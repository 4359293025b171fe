"""The names of the headers that this API uses in its own way, and functions that read a request's headers."""

import re
from collections.abc import Mapping

from litestar.types import Scope

IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PREFER = "Idempotency-Key", "If-Match", "If-None-Match", "Prefer"
REPLAYED, APPLIED, ETAG = "Idempotency-Replayed", "Preference-Applied", "ETag"
RANGE, IF_RANGE, ACCEPT_RANGES, CONTENT_RANGE = "Range", "If-Range", "Accept-Ranges", "Content-Range"
# The request headers of every operation that changes a workflow or its webhooks.
CHANGING = (IDEMPOTENCY_KEY, IF_MATCH)

_QUALITY = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)

Headers = Mapping[str, str]
NO_HEADERS: Headers = {}


def encode_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response in the form of an ASGI message."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def header_value(scope: Scope, name: str) -> str | None:
    """Return the values of the header *name* in the request of *scope*, joined by commas; None if it wasn't sent."""
    encoded = name.lower().encode()
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == encoded]
    return ", ".join(values) if values else None


def prefers(scope: Scope, media_type: str) -> bool:
    """Return whether the request's `Accept` (RFC 9110, 12.5.1) names *media_type*, and doesn't rank JSON above it.

    Wildcards mean JSON.
    """
    ranks: dict[str, float] = {}
    for part in (header_value(scope, "accept") or "").split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((match[1] for each in parameters if (match := _QUALITY.fullmatch(each))), "1")
        ranks[kind.lower()] = float(quality)
    rank = ranks.get(media_type, 0.0)
    return rank > 0 and rank >= ranks.get("application/json", 0.0)
