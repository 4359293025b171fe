"""What all who speak HTTP here share: a client without memory, the words for a refusal, what Retry-After says."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from stepwell.outbound.sanitise import invalid_input, sanitised

MAX_RETRY_AFTER_S = 3_600.0
MAX_URL = 8_192  # characters
MAX_PORT = 65_535
# Statuses by which a provider says that it has no such job. A proxy in front of it may answer them as well.
GONE = frozenset({404, 410})
UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})


def plain_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client without state between requests, or anything taken from the environment; close it when done."""
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    # How many go out at once is the engine's business: 100 for each of several providers, and more by setting.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(
        transport=transport, limits=limits, cookies=no_cookies, trust_env=False, follow_redirects=False
    )


def check_media_type(media_type: str, field: str) -> None:
    """Raise unless *media_type* is an image's or says nothing, where *field* names an image."""
    if "image" in field and media_type not in UNTYPED and not media_type.startswith("image/"):
        raise invalid_input(field, f"expected an image, got {sanitised(media_type, 80)}")


def origin_of(url: object) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an address; None for what isn't one, or would send a user name along."""
    if not isinstance(url, str):
        return None
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # decodes IDNA, which may fail
    except (httpx.InvalidURL, ValueError):
        return None
    port = parsed.port or {"http": 80, "https": 443}.get(parsed.scheme)
    return (parsed.scheme, host, port) if host and not parsed.userinfo else None


def retry_after_s(headers: Mapping[str, str], most_s: float = MAX_RETRY_AFTER_S) -> float | None:
    """The server's own word on when to come back, 0 to *most_s* seconds; None where it says nothing sensible.

    A date is read against the server's own clock, which is the one it was written by.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), most_s)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(wait.total_seconds(), 0.0), most_s)
