"""An httpx transport that calls an ASGI app in the running event loop, and streams its responses.

`httpx.ASGITransport` returns a response when the app has sent all of it, so a stream of events would never be returned.

What must hold:
- A response is returned as soon as the app has sent its head. Its body is read while the app sends it, and an app that
  is faster than the reader waits.
- If the reader closes the response, or gives up, the app receives `http.disconnect`, as from a server. It isn't
  cancelled.
- The deadlines of the request count: if no head, or no next part of the body, comes within `read`, that is
  `httpx.ReadTimeout`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import httpx

from stepwell.runtime.asgi_scope import http_scope

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_BUFFERED_PARTS = 16
_GRACE_S = 1.0
_CLIENT = ("127.0.0.1", 50_000)


class StreamingAsgiTransport(httpx.AsyncBaseTransport):
    """Calls *app*, each request in a new asyncio task of *group*. Any number of clients may use it.

    Use `open_transport` to make one.
    """

    def __init__(self, app: AsgiApp, group: asyncio.TaskGroup) -> None:
        self._app, self._group = app, group
        self._running: dict[asyncio.Task[None], _Exchange] = {}
        self._ended = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._ended:
            raise httpx.ConnectError("the app has ended", request=request)
        exchange = _Exchange(request)
        asyncio_task = self._group.create_task(exchange.run(self._app), name=f"{request.method} {request.url.path}")
        self._running[asyncio_task] = exchange
        asyncio_task.add_done_callback(self._running.pop)
        try:
            status, headers = await exchange.read_head()
        except BaseException:
            exchange.disconnect()
            raise
        return httpx.Response(status, headers=headers, stream=exchange)

    async def end_requests(self, grace_s: float = _GRACE_S) -> None:
        """Disconnect the requests that still run, and cancel those that haven't ended after *grace_s*."""
        self._ended = True
        for exchange in self._running.values():
            exchange.disconnect()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for asyncio_task in self._running:
            asyncio_task.cancel()


@asynccontextmanager
async def open_transport(app: AsgiApp) -> AsyncIterator[StreamingAsgiTransport]:
    """Yield a transport to *app*. At the end, its requests get a second. Enter and leave it in one asyncio task."""
    error: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        transport = StreamingAsgiTransport(app, group)
        try:
            yield transport
        except BaseException as raised:  # noqa: BLE001 - raised again below, outside of the group, which would wrap it
            error = raised
        await transport.end_requests()
    if error is not None:
        raise error


class _Exchange(httpx.AsyncByteStream):
    """A request, and the body of its response."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._read_s: float | None = request.extensions.get("timeout", {}).get("read")
        self._body = cast("httpx.AsyncByteStream", request.stream).__aiter__()
        self._body_sent = self._disconnected = False
        self._head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self._parts: deque[bytes] = deque()
        self._readable, self._writable, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._error: httpx.TransportError | None = None

    async def run(self, app: AsgiApp) -> None:
        """Call *app*. An error of the app becomes an error of the response."""
        error = httpx.RemoteProtocolError("the app ended before it had sent a whole response")
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception as raised:  # noqa: BLE001 - the reader gets it
            error = httpx.RemoteProtocolError(f"the app raised {type(raised).__name__}: {raised}")
            error.__cause__ = raised
        finally:
            self._end(error)

    def disconnect(self) -> None:
        """Close the connection from the reader's side."""
        self._disconnected = True
        self._parts.clear()
        self._writable.set()
        self._end(httpx.ReadError("the connection was closed"))

    async def read_head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        return await self._within_deadline(self._head)

    async def aclose(self) -> None:
        self.disconnect()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await self._within_deadline(self._readable.wait())
            if self._parts:
                part = self._parts.popleft()
                self._writable.set()
                if not self._parts and not self._ended.is_set():
                    self._readable.clear()
                yield part
            elif self._error is not None:
                raise self._error
            else:
                return

    async def _within_deadline(self, awaitable: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._read_s):
                return await awaitable
        except TimeoutError:
            raise httpx.ReadTimeout(f"nothing for {self._read_s} s", request=self._request) from None

    async def _receive(self) -> Message:
        if not self._body_sent:
            async for part in self._body:
                return {"type": "http.request", "body": part, "more_body": True}
            self._body_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._disconnected:
            return
        if message["type"] == "http.response.start":
            if not self._head.done():
                self._head.set_result((message["status"], list(message.get("headers", ()))))
            return
        if body := message.get("body"):
            self._parts.append(bytes(body))
            self._readable.set()
        while len(self._parts) > _BUFFERED_PARTS and not self._disconnected:
            self._writable.clear()
            await self._writable.wait()
        if not message.get("more_body", False):
            self._end(None)

    def _end(self, error: httpx.TransportError | None) -> None:
        """End the response, with *error* unless it is complete."""
        if self._ended.is_set():
            return
        self._ended.set()
        if not self._head.done():
            self._head.set_exception(error or httpx.RemoteProtocolError("the app has sent a body without a head"))
        self._error = error
        self._readable.set()

    def _scope(self) -> dict[str, Any]:
        request, url = self._request, self._request.url
        server = url.host, url.port
        headers = request.headers.raw
        return http_scope(request.method, url.raw_path, headers, scheme=url.scheme, server=server, client=_CLIENT)
