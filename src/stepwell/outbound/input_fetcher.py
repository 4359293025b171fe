"""Reads the file that an input refers to: from the artifact store, the web, or a data URI.

What must hold for a download:
- It is bounded in bytes and time, and follows no redirects.
- The memory for the body is reserved before the body is read. The time of the wait doesn't count for the deadline.
- No connection is open during a long wait for a body of known length: the server would give up.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import IO

import anyio
import httpx
from anyio import to_thread

from stepwell.basics.artifacts import is_meant_as_artifact, media_type_of, parse_artifact_path
from stepwell.basics.data_uris import decode_data
from stepwell.basics.errors import ArtifactError, ArtifactGone, AttemptError
from stepwell.basics.tenancy import FileScope
from stepwell.outbound.http_client import check_media_type, retry_after_s
from stepwell.outbound.sanitise import invalid_input, sanitised
from stepwell.outbound.ssrf_guard import UrlBlocked, parse_url
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.providers import Blob, FileMemory
from stepwell.runtime.temporary_files import path_for_others, temporary_file

_WORTH_A_RETRY = frozenset({408, 425, 429})
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "stepwell"}
_CHUNK = 1 << 20  # bytes: about what the store reads of a file at once
SizeOf = Callable[[str, FileScope], Awaitable[int | None]]


class Download:
    """Fetches a whole URL into memory. Raises `AttemptError` as `AttemptIO.fetch` says.

    *client* is an `ssrf_guard.guarded_client`. *timeout_s* is the deadline of the whole download.
    """

    def __init__(self, client: httpx.AsyncClient, max_bytes: int, timeout_s: float) -> None:
        self._client, self._max_bytes, self._timeout_s = client, max_bytes, timeout_s

    async def __call__(self, url: str, field: str, memory: FileMemory) -> Blob:
        try:
            target = parse_url(url)
        except UrlBlocked as error:
            raise invalid_input(field, str(error)) from error
        printable_url = _without_query(target)
        try:
            # httpx's timeouts restart with each byte, so only this deadline ends a slow drip.
            with anyio.fail_after(self._timeout_s) as scope:
                reserved = _ReservedBody(memory, scope)
                while (blob := await self._get(target, field, printable_url, reserved)) is None:
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

    async def _get(self, url: httpx.URL, field: str, printable_url: str, reserved: "_ReservedBody") -> Blob | None:
        """Return the contents; None if the URL must be requested again, because memory for it became free late."""
        timeout = httpx.Timeout(self._timeout_s)
        async with self._client.stream(
            "GET", url, headers=_HEADERS, timeout=timeout, follow_redirects=False, auth=None
        ) as response:
            _check_status(response, field, printable_url)
            if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise invalid_input(field, f"{printable_url} is compressed, which was not requested")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            check_media_type(media_type, field)
            data = await self._body(response, field, printable_url, reserved)
        return None if data is None else Blob(data, media_type)

    async def _body(
        self, response: httpx.Response, field: str, printable_url: str, reserved: "_ReservedBody"
    ) -> bytes | None:
        too_large = invalid_input(field, f"{printable_url} is larger than {self._max_bytes} bytes")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and len(announced) < 20:  # noqa: PLR2004
            if int(announced) > self._max_bytes:
                raise too_large
            if await reserved.grow(int(announced)):
                return None
        data = bytearray()
        async for chunk in response.aiter_raw():
            if len(data) + len(chunk) > self._max_bytes:
                raise too_large
            if len(data) + len(chunk) > reserved.size:
                await reserved.grow(min(2 * (len(data) + len(chunk)), self._max_bytes))
            data += chunk
        if announced.isdecimal() and announced.lstrip("0") != str(len(data)).lstrip("0"):
            raise _failed(field, f"{printable_url} ended early")
        if not data:
            raise invalid_input(field, f"{printable_url} is empty")
        return bytes(data)


class _ReservedBody:
    """The memory of one download. `size` is the size of the body for which memory is reserved."""

    def __init__(self, memory: FileMemory, deadline: anyio.CancelScope) -> None:
        self._memory, self._scope = memory, deadline
        self.size = 0

    async def grow(self, size: int) -> bool:
        """Reserve memory for a body of *size*. Return whether that took a wait."""
        if size <= self.size:
            return False
        deadline, began = self._scope.deadline, anyio.current_time()
        self._scope.deadline = math.inf
        try:
            waited = await self._memory.take_file(size - self.size)
        finally:
            self._scope.deadline = deadline + anyio.current_time() - began
        self.size = size
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
        raise invalid_input(field, f"{printable_url} responded with {status}; redirects are not followed")
    if status in _WORTH_A_RETRY or response.is_server_error:
        raise _failed(field, f"{printable_url} responded with {status}", retry_after_s(response.headers))
    raise invalid_input(field, f"{printable_url} responded with {status}")


class HttpInputFetcher:
    """Implements `ports.providers.InputFetcher`.

    *size_of* returns the size of an artifact of a scope, None if there is none. *client* is an
    `ssrf_guard.guarded_client`. *max_bytes* bounds every input; *timeout_s* is the deadline of a whole download.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        size_of: SizeOf,
        *,
        client: httpx.AsyncClient,
        max_bytes: int = 64 * 1024 * 1024,
        timeout_s: float = 30.0,
    ) -> None:
        self._artifacts = artifacts
        self._size_of = size_of
        self._download = Download(client, max_bytes, timeout_s)
        self._max_bytes = max_bytes

    async def fetch(self, reference: str, field: str, scope: FileScope, memory: FileMemory) -> Blob:
        scheme = reference[:8].lower()
        if is_meant_as_artifact(reference):
            return await self._read_artifact(reference, field, scope, memory)
        if scheme.startswith(("http://", "https://")):
            return await self._download(reference, field, memory)
        if scheme.startswith("data:"):
            await memory.take_decoded(len(reference))
            return await to_thread.run_sync(self._decode_data_uri, reference, field)
        why = f"{_printable(reference)} is neither an artifact path, nor an http(s) URL, nor a data URI"
        raise invalid_input(field, why)

    @asynccontextmanager
    async def file(self, reference: str, field: str, scope: FileScope, memory: FileMemory) -> AsyncIterator[str]:
        artifact = is_meant_as_artifact(reference)
        if artifact:
            await self._check_artifact(reference, field, scope)
            with _artifact_errors(reference, field):
                local_path = await self._artifacts.local_path(reference)
            if local_path is not None:
                yield local_path
                return
        async with temporary_file() as file:
            with memory.for_request(), _file_errors(field):
                if artifact:
                    await self._copy_artifact(reference, field, memory, file)
                else:
                    blob = await self.fetch(reference, field, scope, memory)
                    await to_thread.run_sync(file.write, blob.data)
                await to_thread.run_sync(file.flush)
            yield path_for_others(file)

    async def _copy_artifact(self, path: str, field: str, memory: FileMemory, file: IO[bytes]) -> None:
        await memory.take_file(_CHUNK)
        with _artifact_errors(path, field):
            async with self._artifacts.stream(path) as chunks:
                async for chunk in chunks:
                    await to_thread.run_sync(file.write, chunk)

    async def _check_artifact(self, path: str, field: str, scope: FileScope) -> int:
        """Return the size of the artifact."""
        size = None if parse_artifact_path(path) is None else await self._size_of(path, scope)
        if size is None:
            raise invalid_input(field, f"artifact {_printable(path)} not found")
        if size > self._max_bytes:
            raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        return size

    async def _read_artifact(self, path: str, field: str, scope: FileScope, memory: FileMemory) -> Blob:
        await memory.take_file(await self._check_artifact(path, field, scope))
        data = bytearray()
        with _artifact_errors(path, field):
            async with self._artifacts.stream(path) as chunks:
                async for chunk in chunks:
                    data += chunk
                    if len(data) > self._max_bytes:
                        raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        return Blob(bytes(data), media_type_of(path))

    def _decode_data_uri(self, uri: str, field: str) -> Blob:
        """Return the contents of a data URI, which are base64 or percent-encoded."""
        head, comma, body = uri[len("data:") :].partition(",")
        if not comma:
            raise invalid_input(field, "broken data URI: it has no comma")
        media_type, *parameters = (part.strip().lower() for part in head.split(";"))
        check_media_type(media_type, field)
        if len(body) > 4 * self._max_bytes:  # longer than any encoding of max_bytes
            raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        try:
            data = decode_data(body, is_base64="base64" in parameters)
        except ValueError as error:
            raise invalid_input(field, f"broken data URI: its contents can't be decoded: {error}") from error
        if len(data) > self._max_bytes:
            raise invalid_input(field, f"larger than {self._max_bytes} bytes")
        if not data:
            raise invalid_input(field, "the data URI is empty")
        return Blob(data, media_type)


@contextmanager
def _artifact_errors(path: str, field: str) -> Iterator[None]:
    try:
        yield
    except ArtifactGone as error:
        raise invalid_input(field, f"artifact {_printable(path)} not found") from error
    except ArtifactError as error:
        raise AttemptError(sanitised(f"{field}: {error}"), retryable=True, provider_fault=False) from error


@contextmanager
def _file_errors(field: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{field}: could not be written to a temporary file: {error.strerror}"
        raise AttemptError(message, retryable=True, provider_fault=False) from error


def _printable(reference: str) -> str:
    """Return the beginning of *reference* for a message, without the query, which may contain a secret."""
    return repr(sanitised(reference.partition("?")[0], 120))
