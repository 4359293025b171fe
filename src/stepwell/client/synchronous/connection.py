# Generated from the asynchronous client by `poe generate`: don't change it.
"""The connection to a service: it sends requests, repeats what is safe to repeat, and follows streams.

What must hold:
- A request that may have had an effect is sent again only if the service does it once.
- The token goes to the service's own URL only: it sends no request to the target of a redirect.
- Whatever ends a stream early, the rest of its events has neither a gap nor a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from os import getpid
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from stepwell.client.concurrency import Items, sync_semaphore, sync_sleep
from stepwell.client.errors import ConnectionFailed, StepwellError, UnexpectedResponse
from stepwell.client.requests import ClientRequest, read
from stepwell.client.responses import connection_failed, cursor_of, decode, failure_of, with_body
from stepwell.client.retries import Retries
from stepwell.client.service_url import find_service
from stepwell.client.sse import FrameParser, SseFrame

T = TypeVar("T")

_CONNECT_S = 10.0
_MAX_RESPONSE = 256 * 1024 * 1024  # bytes. The results of a workflow have at most 64 MiB
_MAX_REQUESTS, _MAX_IDLE = 256, 20  # requests at once, beside streams; connections that stay open for later ones
_STREAM = "text/event-stream"
_SOON_S = 1.0  # a stream that ends sooner, and without an event, has failed


class Connection:
    """A connection to a service, as a context manager. Its subclass in `all_operations` describes the parameters."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        retry_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._service = find_service(url, token)
        self._timeout_s, self._retry_s = timeout_s, retry_s
        self._transport = transport
        self._had_response = False
        self._connect()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._service.url!r})"

    def _connect(self) -> None:
        self._client = httpx.Client(
            timeout=httpx.Timeout(self._timeout_s, connect=min(self._timeout_s, _CONNECT_S)),
            # The time of the pool grows with the square of its queue and of its idle connections.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=_MAX_IDLE),
            transport=self._transport,
        )
        self._semaphore = sync_semaphore(_MAX_REQUESTS)
        self._process = getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(
        self,
        request: ClientRequest,
        *,
        retry_s: float | None = None,
        body: Callable[[], Iterator[bytes]] | None = None,
    ) -> httpx.Response:
        """Return the response of a success. *retry_s* replaces the bound of the connection. *body* returns the body of
        each try, if it isn't the request's content.
        """
        retries = Retries(self._retry_s if retry_s is None else retry_s)
        while True:
            try:
                with self._semaphore, self._stream(request, body) as response:
                    return _read(request, response)
            except StepwellError as failure:
                pause = retries.pause_after(failure, is_repeatable=request.is_repeatable)
            sync_sleep(pause)

    def _fetch(self, kind: type[T], request: ClientRequest, *, retry_s: float | None = None) -> T:
        """Send the *request*, and return the body of its response."""
        return decode(self._send(request, retry_s=retry_s), kind)

    def _tag(self, path: str, query: Mapping[str, Any] = {}) -> str:
        """Return the ETag of what is at *path*."""
        request = ClientRequest(method="HEAD", path=path, query=query, is_repeatable=True)
        tag: str | None = (self._send(request)).headers.get("ETag")
        if tag is None:
            raise UnexpectedResponse(f"{request}: the response has no ETag")
        return tag

    def _pages(self, path: str, query: Mapping[str, Any]) -> Items[httpx.Response]:
        """Yield the responses with the pages of a list. Each is read when it is needed."""
        cursor: str | None = None
        while True:
            response = self._send(read(path, {**query, "cursor": cursor}))
            yield response
            next_cursor = cursor_of(response.links.get("next", {}).get("url"))
            if next_cursor is None:
                return
            if next_cursor == cursor:
                raise UnexpectedResponse(f"a page of {path} leads to itself")
            cursor = next_cursor

    @contextmanager
    def _stream(
        self, request: ClientRequest, body: Callable[[], Iterator[bytes]] | None = None
    ) -> Iterator[httpx.Response]:
        """Send *request* once, and yield its response. Its body has not been read yet.

        Raises the errors of a refusal and of a connection that is lost, also while the body is read.
        """
        if self._process != getpid():  # a fork: the parent would read the responses on its connections
            self._connect()
        try:
            response = self._client.send(self._build(request, body), stream=True)
            self._had_response = True
            try:
                if not response.is_success:
                    raise failure_of(request, _read(request, response))
                yield response
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise connection_failed(request, error, self._service.url) from error

    def _frames(
        self, path: str, query: Mapping[str, Any], last_id: str, terminal: Collection[str] = ()
    ) -> Items[SseFrame]:
        """Yield the events of the stream at *path* after *last_id*, until the service says that there are no more.

        An event of a *terminal* type may be the last one. If the service is unreachable after it, the stream ends.
        Raises `ConnectionFailed` if streams end at once and without an event for as long as requests are repeated.
        """
        retries = Retries(self._retry_s)
        parser, is_over = FrameParser(last_id), False
        while True:
            parser, opened, is_empty = FrameParser(parser.last_id), monotonic(), True
            position = {"Last-Event-ID": parser.last_id} if parser.last_id else {}
            request = read(path, query, headers={"Accept": _STREAM, **position})
            try:
                with self._stream(request) as response:
                    if not _has_events(request, response):
                        return
                    for chunk in response.iter_bytes():
                        if monotonic() - opened >= _SOON_S:
                            retries.extend()
                        for frame in parser.feed(chunk):
                            retries.reset()
                            is_empty = False
                            is_over = frame.type in terminal
                            yield frame
                if is_empty and monotonic() - opened < _SOON_S:
                    raise ConnectionFailed(f"{self._service.url} ended the stream {request} at once, without an event")
                # The service ends streams when it stops, after an hour, and after the last event.
                pause = retries.pause_after_end()
            except StepwellError as failure:
                try:
                    pause = retries.pause_after(failure, is_repeatable=True)
                except StepwellError:
                    if is_over:
                        return
                    raise
            sync_sleep(pause)

    def _build(self, request: ClientRequest, body: Callable[[], Iterator[bytes]] | None = None) -> httpx.Request:
        try:
            message = self._client.build_request(
                request.method,
                f"{self._service.url}{request.url}",
                headers={**self._service.headers, **request.headers},
                content=request.content if body is None else body(),
            )
        except httpx.InvalidURL as error:
            raise ValueError(f"{request}: {error}") from None
        if request.wait_s:
            message.extensions["timeout"]["read"] = request.wait_s + self._timeout_s
        return message


def _has_events(request: ClientRequest, response: httpx.Response) -> bool:
    """Return whether *response* is a stream of events; False: there are no more. Raises `UnexpectedResponse`."""
    if response.status_code == HTTPStatus.NO_CONTENT:
        return False
    if not response.headers.get("Content-Type", "").startswith(_STREAM):
        raise UnexpectedResponse(f"the response to {request} is no stream of events")
    return True


def _read(request: ClientRequest, response: httpx.Response) -> httpx.Response:
    """Return *response* with its body. Raises `UnexpectedResponse` if it is too large: it may be a small one that
    is compressed.
    """
    chunks, size = list[bytes](), 0
    for chunk in response.iter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_RESPONSE:
            raise UnexpectedResponse(f"{request}: the response has over {_MAX_RESPONSE >> 20} MiB")
    return with_body(response, b"".join(chunks))
