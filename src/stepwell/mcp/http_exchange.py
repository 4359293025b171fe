"""One exchange over streamable HTTP: the SDK gets a message of one request, and answers with JSON.

Each exchange has a server of its own, so there is no state between requests, and any replica answers any request.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from litestar.types import ASGIApp, Scope
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from msgspec import Struct

from stepwell.client import AsyncStepwell
from stepwell.mcp.assistant_server import build_server
from stepwell.mcp.collected_response import CollectedResponse
from stepwell.mcp.in_process_transport import InProcessTransport
from stepwell.mcp.service_access import ServiceAccess
from stepwell.runtime.asgi_scope import http_scope

_CLIENT_S: Final = 60.0
_URL: Final = "http://stepwell"  # of the API in this process; a public URL may have a path that only proxies know


class Exchange(Struct, frozen=True):
    """A message with the head *scope* of its request, and who sent it. `ServiceAccess` explains the rest."""

    scope: Scope
    message: bytes
    token: str
    scopes: Collection[str]
    reserve: Callable[[int], Awaitable[object]]
    stopping: Callable[[], Awaitable[object]]


async def answer_message(app: ASGIApp, exchange: Exchange) -> CollectedResponse:
    """Return the answer to a message. Its tools call *app*, the API, with the caller's own token."""
    transport = InProcessTransport(app, exchange.reserve)
    # The assistant repeats what fails, so that no call takes long.
    token = exchange.token or ""  # never that of the server's environment
    async with AsyncStepwell(_URL, token=token, timeout_s=_CLIENT_S, retry_s=0, transport=transport) as client:
        access = ServiceAccess(
            client,
            exchange.scopes,
            local_files=False,
            reserve=exchange.reserve,
            stopping=exchange.stopping,
        )
        manager = StreamableHTTPSessionManager(build_server(access), json_response=True, stateless=True)
        response = CollectedResponse(exchange.message)
        async with manager.run():
            await manager.handle_request(_scope_for_sdk(exchange.scope), response.receive, response.send)
    return response


def _scope_for_sdk(scope: Scope) -> Any:
    """Return what the SDK needs of a request. The message and its type have been checked, and it has been inflated."""
    unread = (b"authorization", b"content-length", b"content-encoding", b"content-type")
    headers = [(name, value) for name, value in scope["headers"] if name not in unread]
    headers.append((b"content-type", b"application/json"))
    return http_scope("POST", b"/mcp", headers, scheme=scope["scheme"], server=scope["server"], client=scope["client"])
