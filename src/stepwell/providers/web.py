"""A download that ends: bounded in bytes and in time, no redirects, and every failure told as an `AttemptError`."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import anyio
import httpx

from stepwell.domain.errors import AttemptError
from stepwell.ports import Blob
from stepwell.providers.text import sanitised

MAX_RETRY_AFTER_S = 3_600.0
MAX_URL = 8_192  # characters
MAX_PORT = 65_535
_WORTH_A_RETRY = frozenset({408, 425, 429})
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "stepwell"}


class Download:
    """Fetches a URL whole. Raises `AttemptError` as `ports.AttemptIO.fetch` says."""

    def __init__(self, client: httpx.AsyncClient, max_bytes: int, timeout_s: float) -> None:
        self._client, self._max_bytes, self._timeout_s = client, max_bytes, timeout_s

    async def __call__(self, url: str, field: str) -> Blob:
        target = _parsed(url, field)
        shown = _without_query(target)
        try:
            # httpx's timeouts start anew with each byte: a server that drips is ended by the deadline alone.
            with anyio.fail_after(self._timeout_s):
                return await self._get(target, field, shown)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise _failed(field, f"{shown} took longer than {self._timeout_s:g} s") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError) as error:
            raise refused(field, f"{shown} can't be requested") from error
        except httpx.HTTPError as error:
            raise _failed(field, f"{shown} could not be read ({type(error).__name__})") from error

    async def _get(self, url: httpx.URL, field: str, shown: str) -> Blob:
        timeout = httpx.Timeout(self._timeout_s)
        async with self._client.stream(
            "GET", url, headers=_HEADERS, timeout=timeout, follow_redirects=False, auth=None
        ) as response:
            _check_status(response, field, shown)
            if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise refused(field, f"{shown} is compressed, which was not asked for")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            check_media_type(media_type, field)
            data = await self._body(response, field, shown)
        return Blob(data, media_type)

    async def _body(self, response: httpx.Response, field: str, shown: str) -> bytes:
        too_large = refused(field, f"{shown} is larger than {self._max_bytes} bytes")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > self._max_bytes:  # noqa: PLR2004
            raise too_large
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > self._max_bytes:
                raise too_large
        if announced.isdecimal() and announced.lstrip("0") != str(len(data)).lstrip("0"):
            raise _failed(field, f"{shown} ended early")
        if not data:
            raise refused(field, f"{shown} is empty")
        return bytes(data)


def plain_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client without state between requests, or anything taken from the environment; close it when done."""
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(transport=transport, cookies=no_cookies, trust_env=False, follow_redirects=False)


def refused(field: str, why: str) -> AttemptError:
    """An input that can't get better; another provider would not like it better either."""
    return AttemptError(sanitised(f"{field}: {why}"), retryable=False, provider_fault=False)


def check_media_type(media_type: str, field: str) -> None:
    """Raise unless *media_type* is an image's or says nothing, where *field* names an image."""
    if "image" in field and media_type not in _UNTYPED and not media_type.startswith("image/"):
        raise refused(field, f"expected an image, got {sanitised(media_type, 80)}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The server's own word on when to come back, 0 to 3,600 seconds; None where it says nothing sensible.

    A date is read against the server's own clock, which is the one it was written by.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER_S)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _failed(field: str, why: str, after_s: float | None = None) -> AttemptError:
    return AttemptError(sanitised(f"{field}: {why}"), retryable=True, provider_fault=False, retry_after_s=after_s)


def _parsed(url: str, field: str) -> httpx.URL:
    if len(url) > MAX_URL:
        raise refused(field, "the URL is too long")
    try:
        target = httpx.URL(url)
        host = target.host
    except (httpx.InvalidURL, ValueError) as error:
        raise refused(field, "the URL is not valid") from error
    if not host or target.scheme not in {"http", "https"} or (target.port or 0) > MAX_PORT:
        raise refused(field, "the URL is not valid")
    if target.userinfo:
        raise refused(field, "the URL holds a user name or a password")
    return target


def _without_query(url: httpx.URL) -> str:
    port = f":{url.port}" if url.port else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return sanitised(f"{url.scheme}://{host}{port}{url.path}", 300)


def _check_status(response: httpx.Response, field: str, shown: str) -> None:
    status = response.status_code
    if response.is_success:
        return
    if response.is_redirect:
        raise refused(field, f"{shown} answered {status}; redirects are not followed")
    if status in _WORTH_A_RETRY or response.is_server_error:
        raise _failed(field, f"{shown} answered {status}", retry_after_s(response.headers))
    raise refused(field, f"{shown} answered {status}")
