"""Sends the requests of a client to an ASGI app in the same process.

The API checks the token, the tenant and the limits of such a request as of any other. `httpx.ASGITransport` would
collect answers of any size.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import httpx
from litestar.types import ASGIApp, Message

from stepwell.mcp.tool_errors import AnswerTooLarge, ToolFailed

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
        answer = _Answer(await request.aread(), self._make_room)
        await self._app(_scope_of(request), answer.receive, answer.send)
        if answer.failure is not None:
            raise answer.failure
        return httpx.Response(answer.status, headers=answer.headers, content=b"".join(answer.parts), request=request)

    async def _make_room(self) -> None:
        if not self._has_room:
            await self._reserve(MAX_ANSWER_BYTES)
            self._has_room = True


class _Answer:
    """Collects the answer to a request with the body *body*. `failure` is why it couldn't."""

    def __init__(self, body: bytes, make_room: Callable[[], Awaitable[object]]) -> None:
        self._body: bytes | None = body
        self._make_room = make_room
        self._size = 0
        self._ended = asyncio.Event()
        self.failure: ToolFailed | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []

    async def receive(self) -> Any:
        if self._body is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            # An exception would be taken for a failure of the app.
            try:
                await self._add(message["body"])
            except ToolFailed as error:
                self.failure = error
                self.parts.clear()
            if not message.get("more_body", False):
                self._ended.set()

    async def _add(self, part: bytes) -> None:
        if self.failure is not None:
            return
        before, self._size = self._size, self._size + len(part)
        if self._size > MAX_ANSWER_BYTES:
            location = next((value.decode() for name, value in self.headers if name.lower() == b"location"), None)
            raise AnswerTooLarge(_TOO_LARGE, location)
        if before <= _FREE_BYTES < self._size:
            await self._make_room()
        self.parts.append(part)


def _scope_of(request: httpx.Request) -> Any:
    path, _, query = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port),
        "client": None,
        "state": {},
    }
