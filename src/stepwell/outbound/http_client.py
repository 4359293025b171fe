"""What all who speak HTTP here share: a client without memory, the words for a refusal, what Retry-After says."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from stepwell.domain.errors import AttemptError
from stepwell.outbound.sanitise import sanitised

MAX_RETRY_AFTER_S = 3_600.0
MAX_URL = 8_192  # characters
MAX_PORT = 65_535
UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})


def plain_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client without state between requests, or anything taken from the environment; close it when done."""
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    # How many go out at once is the engine's business: 100 for each of several providers, and more by setting.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(
        transport=transport, limits=limits, cookies=no_cookies, trust_env=False, follow_redirects=False
    )


def refused(field: str, why: str) -> AttemptError:
    """An input that can't get better; another provider would not like it better either."""
    return AttemptError(sanitised(f"{field}: {why}"), retryable=False, provider_fault=False)


def check_media_type(media_type: str, field: str) -> None:
    """Raise unless *media_type* is an image's or says nothing, where *field* names an image."""
    if "image" in field and media_type not in UNTYPED and not media_type.startswith("image/"):
        raise refused(field, f"expected an image, got {sanitised(media_type, 80)}")


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
