"""Downloads the URL of an input into memory: bounded in bytes and time, without redirects.

What must hold:
- The body has its room in memory before it is read. The time of the wait doesn't count for the deadline.
- No connection is open during a long wait for a body of known length: the server would give up.
"""

import math

import anyio
import httpx

from stepwell.basics.errors import AttemptError
from stepwell.outbound.http_client import check_media_type, retry_after_s
from stepwell.outbound.sanitise import invalid_input, sanitised
from stepwell.outbound.ssrf_guard import UrlBlocked, parse_url
from stepwell.ports.providers import Blob, FileRoom

_WORTH_A_RETRY = frozenset({408, 425, 429})
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "stepwell"}


class Download:
    """Fetches a whole URL into memory. Raises `AttemptError` as `AttemptIO.fetch` says.

    *client* is an `ssrf_guard.guarded_client`. *timeout_s* is the deadline of the whole download.
    """

    def __init__(self, client: httpx.AsyncClient, max_bytes: int, timeout_s: float) -> None:
        self._client, self._max_bytes, self._timeout_s = client, max_bytes, timeout_s

    async def __call__(self, url: str, field: str, room: FileRoom) -> Blob:
        try:
            target = parse_url(url)
        except UrlBlocked as error:
            raise invalid_input(field, str(error)) from error
        printable_url = _without_query(target)
        try:
            # httpx's timeouts restart with each byte, so only this deadline ends a slow drip.
            with anyio.fail_after(self._timeout_s) as scope:
                admission = _Admission(room, scope)
                while (blob := await self._get(target, field, printable_url, admission)) is None:
                    pass
                return blob
        except UrlBlocked as error:
            raise invalid_input(field, str(error)) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise _failed(field, f"{printable_url} took longer than {self._timeout_s:g} s") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError) as error:
            raise invalid_input(field, f"{printable_url} can't be requested") from error
        except httpx.HTTPError as error:
            raise _failed(field, f"{printable_url} could not be read ({type(error).__name__})") from error

    async def _get(self, url: httpx.URL, field: str, printable_url: str, admission: "_Admission") -> Blob | None:
        """Return the contents; None if the body has waited for its room, so that it must be requested again."""
        timeout = httpx.Timeout(self._timeout_s)
        async with self._client.stream(
            "GET", url, headers=_HEADERS, timeout=timeout, follow_redirects=False, auth=None
        ) as response:
            _check_status(response, field, printable_url)
            if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise invalid_input(field, f"{printable_url} is compressed, which was not asked for")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            check_media_type(media_type, field)
            data = await self._body(response, field, printable_url, admission)
        return None if data is None else Blob(data, media_type)

    async def _body(
        self, response: httpx.Response, field: str, printable_url: str, admission: "_Admission"
    ) -> bytes | None:
        too_large = invalid_input(field, f"{printable_url} is larger than {self._max_bytes} bytes")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and len(announced) < 20:  # noqa: PLR2004
            if int(announced) > self._max_bytes:
                raise too_large
            if await admission.admit(int(announced)):
                return None
        data = bytearray()
        async for chunk in response.aiter_raw():
            if len(data) + len(chunk) > self._max_bytes:
                raise too_large
            if len(data) + len(chunk) > admission.admitted:
                await admission.admit(min(2 * (len(data) + len(chunk)), self._max_bytes))
            data += chunk
        if announced.isdecimal() and announced.lstrip("0") != str(len(data)).lstrip("0"):
            raise _failed(field, f"{printable_url} ended early")
        if not data:
            raise invalid_input(field, f"{printable_url} is empty")
        return bytes(data)


class _Admission:
    """The room of one download. `admitted` is the size of the body for which there is room."""

    def __init__(self, room: FileRoom, deadline: anyio.CancelScope) -> None:
        self._room, self._scope = room, deadline
        self.admitted = 0

    async def admit(self, size: int) -> bool:
        """Make room for a body of *size*. Return whether that took a wait."""
        if size <= self.admitted:
            return False
        deadline, began = self._scope.deadline, anyio.current_time()
        self._scope.deadline = math.inf
        try:
            waited = await self._room.take_file(size - self.admitted)
        finally:
            self._scope.deadline = deadline + anyio.current_time() - began
        self.admitted = size
        return waited


def _failed(field: str, why: str, after_s: float | None = None) -> AttemptError:
    return AttemptError(sanitised(f"{field}: {why}"), retryable=True, provider_fault=False, retry_after_s=after_s)


def _without_query(url: httpx.URL) -> str:
    port = f":{url.port}" if url.port else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return sanitised(f"{url.scheme}://{host}{port}{url.path}", 300)


def _check_status(response: httpx.Response, field: str, printable_url: str) -> None:
    status = response.status_code
    if response.is_success:
        return
    if response.is_redirect:
        raise invalid_input(field, f"{printable_url} answered {status}; redirects are not followed")
    if status in _WORTH_A_RETRY or response.is_server_error:
        raise _failed(field, f"{printable_url} answered {status}", retry_after_s(response.headers))
    raise invalid_input(field, f"{printable_url} answered {status}")
