"""Sends the requests of a client to an ASGI app in the same process.

The API checks the token, the tenant and the limits of such a request as of any other. `httpx.ASGITransport` would
collect answers of any size.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
from litestar.types import ASGIApp

from stepwell.mcp.collected_response import CollectedResponse
from stepwell.mcp.tool import AnswerTooLarge, ToolFailed
from stepwell.runtime.asgi_scope import http_scope

MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
"""Decoding it takes 20 ms, during which nothing else runs."""
_FREE_BYTES: Final = 64 * 1024
_TOO_LARGE: Final = (
    f"The service's answer has more than {MAX_ANSWER_BYTES // 1024**2} MiB, which is too much for an assistant. Ask "
    "for less, or let the user use the API or the command line."
)


class InProcessTransport(httpx.AsyncBaseTransport):
    """A transport to *app* for requests one after the other. Raises `AnswerTooLarge`.

    *reserve* waits for memory for an answer. It is called once, because one answer is held at a time.
    """

    def __init__(self, app: ASGIApp, reserve: Callable[[int], Awaitable[object]]) -> None:
        self._app, self._reserve = app, reserve
        self._has_room = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        response = _BoundedResponse(await request.aread(), self._make_room)
        scope: Any = http_scope(
            request.method, url.raw_path, request.headers.raw, scheme=url.scheme, server=(url.host, url.port)
        )
        await self._app(scope, response.receive, response.send)
        if response.failure is not None:
            raise response.failure
        return httpx.Response(response.status, headers=response.headers, content=response.body, request=request)

    async def _make_room(self) -> None:
        if not self._has_room:
            await self._reserve(MAX_ANSWER_BYTES)
            self._has_room = True


class _BoundedResponse(CollectedResponse):
    """A response of bounded size. `failure` is the reason why it isn't whole, if any."""

    def __init__(self, body: bytes, make_room: Callable[[], Awaitable[object]]) -> None:
        super().__init__(body)
        self._make_room = make_room
        self._size = 0
        self.failure: ToolFailed | None = None

    async def _add(self, part: bytes) -> None:
        if self.failure is not None:
            return
        before, self._size = self._size, self._size + len(part)
        # The app would take an exception for a failure of its own.
        if self._size > MAX_ANSWER_BYTES:
            self._fail(AnswerTooLarge(_TOO_LARGE, self.header(b"location")))
            return
        if before <= _FREE_BYTES < self._size:
            try:
                await self._make_room()
            except ToolFailed as error:
                self._fail(error)
                return
        await super()._add(part)

    def _fail(self, error: ToolFailed) -> None:
        self.failure = error
        self._parts.clear()
