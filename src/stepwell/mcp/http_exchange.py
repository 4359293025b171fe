"""One exchange over streamable HTTP: the SDK gets a message of one request, and responds with JSON.

Each exchange has its own server, so there is no state between requests, and any replica serves any request. Its
tools send their requests to the ASGI app in the same process. The API checks the token, the tenant and the limits of
such a request as of any other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import httpx
from litestar.types import ASGIApp, Scope
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from stepwell.client import AsyncStepwell
from stepwell.mcp.assistant_server import build_server
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool_errors import ResponseTooLarge, ToolFailed
from stepwell.runtime.asgi_scope import http_scope

_CLIENT_S: Final = 60.0
_URL: Final = "http://stepwell"  # of the API in this process; a public URL may have a path that only proxies know
MAX_RESPONSE_BYTES: Final = 2 * 1024 * 1024
"""Decoding it takes 20 ms, during which nothing else runs."""
_FREE_BYTES: Final = 64 * 1024
_TOO_LARGE: Final = (
    f"The service's response has over {MAX_RESPONSE_BYTES // 1024**2} MiB, which is too much for an assistant. Ask "
    "for less, or let the user use the API or the command line."
)


class CollectedResponse:
    """The response of an ASGI app to a request with the body *body*, collected as it is sent.

    `receive` and `send` are what the app is called with.
    """

    def __init__(self, body: bytes) -> None:
        self._request_body: bytes | None = body
        self._parts: list[bytes] = []
        self._ended = asyncio.Event()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    def header(self, name: bytes) -> str | None:
        """Return the first header *name*, which is in lower case."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), None)

    async def receive(self) -> Any:
        """Return the request, then a disconnect once the response is complete."""
        if self._request_body is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        body, self._request_body = self._request_body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            await self._add(message.get("body", b""))
            if not message.get("more_body", False):
                self._ended.set()

    async def _add(self, part: bytes) -> None:
        self._parts.append(part)


class _BoundedResponse(CollectedResponse):
    """A response of bounded size. `failure` is the reason why it isn't whole, if any."""

    def __init__(self, body: bytes, reserve: Callable[[], Awaitable[object]]) -> None:
        super().__init__(body)
        self._reserve = reserve
        self._size = 0
        self.failure: ToolFailed | None = None

    async def _add(self, part: bytes) -> None:
        if self.failure is not None:
            return
        before, self._size = self._size, self._size + len(part)
        # The app would take an exception for its own failure.
        if self._size > MAX_RESPONSE_BYTES:
            self._fail(ResponseTooLarge(_TOO_LARGE, self.header(b"location")))
            return
        if before <= _FREE_BYTES < self._size:
            try:
                await self._reserve()
            except ToolFailed as error:
                self._fail(error)
                return
        await super()._add(part)

    def _fail(self, error: ToolFailed) -> None:
        self.failure = error
        self._parts.clear()


class InProcessTransport(httpx.AsyncBaseTransport):
    """A transport to *app* for requests one after the other. Raises `ResponseTooLarge`.

    `httpx.ASGITransport` would collect responses of any size.

    *reserve* waits for memory for a response. It is called once, because one response is held at a time.
    """

    def __init__(self, app: ASGIApp, reserve: Callable[[int], Awaitable[object]]) -> None:
        self._app, self._reserve = app, reserve
        self._is_reserved = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        response = _BoundedResponse(await request.aread(), self._reserve_once)
        scope: Any = http_scope(
            request.method, url.raw_path, request.headers.raw, scheme=url.scheme, server=(url.host, url.port)
        )
        await self._app(scope, response.receive, response.send)
        if response.failure is not None:
            raise response.failure
        return httpx.Response(response.status, headers=response.headers, content=response.body, request=request)

    async def _reserve_once(self) -> None:
        if not self._is_reserved:
            await self._reserve(MAX_RESPONSE_BYTES)
            self._is_reserved = True


async def respond_to(
    app: ASGIApp,
    scope: Scope,
    message: bytes,
    *,
    token: str,
    scopes: Collection[str],
    reserve: Callable[[int], Awaitable[object]],
    stopping: Callable[[], Awaitable[object]],
) -> CollectedResponse:
    """Return the response to a *message* with the head *scope* of its request. Its tools call *app*, the API.

    They do so with the caller's own *token*. `ServiceAccess` explains the rest.
    """
    transport = InProcessTransport(app, reserve)
    # The assistant repeats what fails, so that no call takes long.
    async with AsyncStepwell(_URL, token=token, timeout_s=_CLIENT_S, retry_s=0, transport=transport) as client:
        access = ServiceAccess(client, scopes, local_files=False, reserve=reserve, stopping=stopping)
        manager = StreamableHTTPSessionManager(build_server(access), json_response=True, stateless=True)
        response = CollectedResponse(message)
        async with manager.run():
            await manager.handle_request(_scope_for_sdk(scope), response.receive, response.send)
    return response


def _scope_for_sdk(scope: Scope) -> Any:
    """Return what the SDK needs of a request. The message and its type have been checked, and it has been inflated."""
    unread = (b"authorization", b"content-length", b"content-encoding", b"content-type")
    headers = [(name, value) for name, value in scope["headers"] if name not in unread]
    headers.append((b"content-type", b"application/json"))
    return http_scope("POST", b"/mcp", headers, scheme=scope["scheme"], server=scope["server"], client=scope["client"])
