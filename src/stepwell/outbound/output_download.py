"""Streams the output files of providers from the URLs that they name: bounded in size, time and media type."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import httpx

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.outbound.http_client import GONE, UNTYPED, origin_of, retry_after_s
from stepwell.outbound.sanitise import sanitised
from stepwell.outbound.ssrf_guard import UrlBlocked, parse_url
from stepwell.ports.providers import ErrorText

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "stepwell"}
_MAX_ERROR_BYTES = 64 * 1024  # read of an error response


class HttpOutputDownloader:
    """Downloads the outputs of providers.

    *client* is an `ssrf_guard.guarded_client`. *timeout_s* is the deadline of a whole file.
    """

    def __init__(self, client: httpx.AsyncClient, *, max_bytes: int, timeout_s: float) -> None:
        self._client, self._max_bytes, self._timeout_s = client, max_bytes, timeout_s

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        media_types: Sequence[str],
        *,
        headers: Mapping[str, str] | None = None,
        error_text: ErrorText | None = None,
        redirects: int = 0,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Stream the bytes at a provider's address.

        Raises the errors of `AttemptIO.download`, also after the first bytes.
        """
        try:
            # httpx's timeouts restart with each byte, so only this deadline ends a slow drip.
            with anyio.fail_after(self._timeout_s):
                target = parse_url(url)
                async with self._open(target, headers or {}, redirects) as response:
                    if error_text is not None and origin_of(str(response.url)) == origin_of(str(target)):
                        await _check_api_status(response, error_text)
                    _check_status(response)
                    self._check_headers(response, media_types)
                    yield self._chunks(response)
        except UrlBlocked as error:
            raise AttemptError(
                sanitised(f"the output's address: {error}"), retryable=False, provider_fault=False
            ) from error
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise CallFailed(f"the output could not be read ({type(error).__name__})") from error

    @asynccontextmanager
    async def _open(
        self, target: httpx.URL, headers: Mapping[str, str], redirects: int
    ) -> AsyncIterator[httpx.Response]:
        """Open the response of *target*, after up to *redirects* redirects."""
        origin = origin_of(str(target))
        for rest in range(redirects, -1, -1):
            own = headers if origin_of(str(target)) == origin else {}
            async with self._client.stream(
                "GET", target, headers={**_HEADERS, **own}, timeout=httpx.Timeout(self._timeout_s)
            ) as response:
                if rest == 0 or not response.has_redirect_location:
                    yield response
                    return
                target = parse_url(str(target.join(response.headers["location"])))

    def _check_headers(self, response: httpx.Response, media_types: Sequence[str]) -> None:
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise _refused("the output is compressed, which was not requested")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in UNTYPED and media_types and not kind.startswith(tuple(media_types)):
            raise _refused(f"the output is {kind}, expected {' or '.join(media_types)}")
        if (length := _content_length(response)) is not None and length > self._max_bytes:
            raise self._too_large()

    async def _chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            yield chunk
        if not size or size != (_content_length(response) or size):
            raise CallFailed("the output ended early")

    def _too_large(self) -> AttemptError:
        return _refused(f"the output is larger than {self._max_bytes} bytes")


async def _check_api_status(response: httpx.Response, error_text: ErrorText) -> None:
    """Raise `CallFailed` for an error of the provider's API. It is `forgotten` only in the API's own words.

    A refused key or a proxy's error page says nothing about the file, which is paid for.
    """
    if response.is_success:
        return
    status, body = response.status_code, bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _MAX_ERROR_BYTES:
            break
    words = error_text(bytes(body[:_MAX_ERROR_BYTES]))
    why = sanitised(f"the output's address responded with {status}" + (f": {words}" if words else ""), 300)
    forgotten, again_s = status in GONE and words is not None, retry_after_s(response.headers)
    raise CallFailed(why, forgotten=forgotten, retry_after_s=again_s)


def _check_status(response: httpx.Response) -> None:
    """Raise for an error of a pre-signed URL. Once such a URL refuses, it refuses for good."""
    status = response.status_code
    if response.is_redirect:
        raise _refused(f"the output's address responded with {status}; redirects are not followed")
    if not response.is_success:
        forgotten = response.is_client_error and status not in (408, 425, 429)
        again_s = retry_after_s(response.headers)
        raise CallFailed(f"the output's address responded with {status}", forgotten=forgotten, retry_after_s=again_s)


def _refused(why: str) -> AttemptError:
    """Return an error that leads to neither a retry nor the fallback, because the work is done and paid for."""
    return AttemptError(sanitised(why, 300), retryable=False, provider_fault=False)


def _content_length(response: httpx.Response) -> int | None:
    text = response.headers.get("content-length", "")
    return int(text) if text.isdecimal() and len(text) < 20 else None  # noqa: PLR2004 - longer than any file
