"""Shared HTTP code: a stateless client, the origin of a URL, the media type check, and Retry-After."""

import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from stepwell.outbound.sanitise import invalid_input, sanitised

MAX_RETRY_AFTER_S = 3_600.0
MAX_URL = 8_192  # characters
MAX_PORT = 65_535
# Statuses that mean: no such job. A proxy in front of the provider may respond with them as well.
GONE = frozenset({404, 410})
# Media types that say nothing about the contents.
UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})


@cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context of all outgoing connections. Only the first call loads the certificates, in about 5 ms."""
    return httpx.create_ssl_context(trust_env=False)


def plain_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return a client that keeps no cookies and takes nothing from the environment. Close it when done."""
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    # No limit on connections, because the engine limits how many requests run at once, per provider and by settings.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(
        verify=tls_context(),
        transport=transport,
        limits=limits,
        cookies=no_cookies,
        trust_env=False,
        follow_redirects=False,
    )


def check_media_type(media_type: str, field: str) -> None:
    """Raise if *field* names an image and *media_type* is a type other than an image's."""
    if "image" in field and media_type not in UNTYPED and not media_type.startswith("image/"):
        raise invalid_input(field, f"expected an image, got {sanitised(media_type, 80)}")


def origin_of(url: object) -> tuple[str, str, int | None] | None:
    """Return the scheme, host and port of *url*; None if it isn't a URL, or contains a user name."""
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
    """Return the delay that Retry-After asks for, 0 to *most_s* seconds; None if there is none or it can't be read.

    A date is compared with the response's own Date header, because both come from the server's clock.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), most_s)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(wait.total_seconds(), 0.0), most_s)
