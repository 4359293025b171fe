"""One exchange over streamable HTTP: the SDK gets a message of one request, and answers with JSON.

Each exchange has a server of its own, so there is no state between requests, and any replica answers any request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar.types import ASGIApp, Scope
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from msgspec import Struct

from stepwell.client import AsyncStepwell
from stepwell.mcp.assistant_server import build_server
from stepwell.mcp.in_process_transport import InProcessTransport
from stepwell.mcp.service_access import ServiceAccess

_CLIENT_S: Final = 60.0
_URL: Final = "http://stepwell"  # of the API in this process; a public URL may have a path that only proxies know


class ExchangeAnswer(Struct):
    """The answer to a message. A notification has an empty one."""

    status: int = 0
    media_type: str = "application/json"
    body: bytes = b""


class Exchange(Struct, frozen=True):
    """A message with the head *scope* of its request, and who sent it. `ServiceAccess` explains the rest."""

    scope: Scope
    message: bytes
    token: str
    can_write: bool
    reserve: Callable[[int], Awaitable[object]]
    stopping: Callable[[], Awaitable[object]]


async def answer_message(app: ASGIApp, exchange: Exchange) -> ExchangeAnswer:
    """Return the answer to a message. Its tools call *app*, the API, with the caller's own token."""
    transport = InProcessTransport(app, exchange.reserve)
    # The assistant repeats what fails, so that no call takes long.
    async with AsyncStepwell(_URL, token=exchange.token, timeout_s=_CLIENT_S, retry_s=0, transport=transport) as client:
        access = ServiceAccess(
            client, exchange.can_write, local_files=False, reserve=exchange.reserve, stopping=exchange.stopping
        )
        manager = StreamableHTTPSessionManager(build_server(access), json_response=True, stateless=True)
        collector = _Collector(exchange.message)
        async with manager.run():
            await manager.handle_request(_http_scope(exchange.scope), collector.receive, collector.send)
    return collector.answer


class _Collector:
    """Gives the SDK the message, and collects its answer."""

    def __init__(self, message: bytes) -> None:
        self._message: bytes | None = message
        self._ended = asyncio.Event()
        self.answer = ExchangeAnswer()

    async def receive(self) -> Any:
        if self._message is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        message, self._message = self._message, None
        return {"type": "http.request", "body": message, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            for name, value in message["headers"]:
                if name.lower() == b"content-type":
                    self.answer.media_type = value.decode("latin-1")
        else:
            self.answer.body += message["body"]
            if not message.get("more_body", False):
                self._ended.set()


def _http_scope(scope: Scope) -> Any:
    """Return what the SDK needs of a request. The message and its type have been checked, and it has been inflated."""
    unread = (b"authorization", b"content-length", b"content-encoding", b"content-type")
    headers = [(name, value) for name, value in scope["headers"] if name not in unread]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": scope["scheme"],
        "path": "/mcp",
        "raw_path": b"/mcp",
        "root_path": "",
        "query_string": b"",
        "headers": [*headers, (b"content-type", b"application/json")],
        "server": scope["server"],
        "client": scope["client"],
    }
