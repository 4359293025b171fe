"""`/mcp` of the service: the MCP server over streamable HTTP.

What must hold:
- A request has the token, the limits and the errors of any other request of the API.
- The tools call the API in this process with the caller's own token. So no tool can do more than the token.
- Nothing blocks the loop for long: a message is bounded, and so is the number of its values.
- A page of another origin gets a 403, unless `STEPWELL_CORS_ORIGINS` lists its origin.
- A service that gets no such request imports neither the SDK nor the client, which take 0.7 s and 25 MiB.
"""

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from importlib import import_module
from typing import Any, Final

from anyio import create_task_group, sleep, to_thread
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct, json

from stepwell.api.auth.authentication import require_bearer_token
from stepwell.api.auth.cross_origin import EVERY_ORIGIN
from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.body_buffers import BodyTooLarge, reserve_memory
from stepwell.api.requests.operations import JSON_TYPE, Operation, endpoint
from stepwell.api.requests.request_bodies import read_body, read_head, read_json
from stepwell.api.requests.request_resources import RequestResources, resources_of, set_outer
from stepwell.api.responses.streamed_responses import cancel_on_disconnect
from stepwell.basics.errors import Fault, Forbidden, InvalidRequest, NeverFits, Unavailable
from stepwell.basics.strict_json.size import most_values
from stepwell.contract.scopes import Permission
from stepwell.engine.service import Services
from stepwell.mcp.tool_errors import ToolFailed

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
MAX_VALUES: Final = 50_000
"""The SDK reads a message with so many values in 30 ms, during which nothing else runs."""
_STOPPING_S: Final = 0.5
_INVALID_REQUEST: Final = -32600  # of JSON-RPC


class McpMessage(Struct):
    """A JSON-RPC message of the protocol. The SDK checks it."""


MCP = Operation(
    method="POST",
    path="/mcp",
    id="mcp",
    summary="Model Context Protocol",
    description="Messages of AI assistants, see the page Assistant of the manual.",
    tag="mcp",
    permission=Permission.READ,
    body=McpMessage,
    response=McpMessage,
)


def build_endpoint(app: ASGIApp, origins: Collection[str]) -> HTTPRouteHandler:
    """Return the handler of `/mcp`. Its tools call *app*, the API. Pages of *origins* may use it."""
    allowed = frozenset(origins)

    @endpoint(MCP)
    async def mcp(request: ApiRequest, services: ServicesDep) -> Response[bytes]:
        _check_origin(request.scope, allowed)
        try:
            message = await _read_message(request)
        except BodyTooLarge as error:
            return _refusal(error.status_code, error.detail)
        except InvalidRequest as error:
            return _refusal(422, "; ".join(fault.msg for fault in error.faults))
        # In a thread, because the first request imports the SDK.
        http_exchange: Any = await to_thread.run_sync(import_module, "stepwell.mcp.http_exchange")
        response = await http_exchange.respond_to(
            partial(_call, app, resources_of(request.scope)),
            request.scope,
            message,
            token=require_bearer_token(request.scope),
            scopes=request.user.permissions,
            reserve=_reserve(request),
            stopping=partial(_stopping, request, services),
        )
        media_type = response.header(b"content-type") or JSON_TYPE
        return Response(response.body, status_code=response.status, media_type=media_type)

    return mcp


@endpoint(MCP)
async def refuse_without_sdk() -> None:
    """The handler of `/mcp` in an installation without the SDK. Raises `HTTPException`."""
    raise HTTPException(status_code=404, detail="This service has no MCP server. pip install 'stepwell[mcp]' adds it.")


async def _stopping(request: ApiRequest, services: Services) -> None:
    """Return when the service stops, or when the client has disconnected."""
    async with create_task_group() as group:
        group.start_soon(cancel_on_disconnect, request.receive, group.cancel_scope, name="client of a waiting call")
        while not services.availability.draining:  # noqa: ASYNC110 - few calls wait, so they may poll
            await sleep(_STOPPING_S)
        group.cancel_scope.cancel()


async def _call(app: ASGIApp, outer: RequestResources, scope: Scope, receive: Receive, send: Send) -> None:
    """Call *app* for a tool. The request *outer* counts for the tenant that the call counts for."""
    set_outer(scope, outer)
    await app(scope, receive, send)


def _check_origin(scope: Scope, allowed: Collection[str]) -> None:
    """Raise `Forbidden` for a page of another origin. Programs send no Origin."""
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    if EVERY_ORIGIN not in allowed and any(origin not in allowed for origin in origins):
        raise Forbidden("Pages of this origin may not call /mcp: STEPWELL_CORS_ORIGINS doesn't list it.")


async def _read_message(request: ApiRequest) -> bytes:
    """Return the body, which is JSON within the bounds of a message."""
    if (read_head(request).length or 0) > MAX_MESSAGE_BYTES:
        raise BodyTooLarge(MAX_MESSAGE_BYTES)
    data = await read_body(request)
    if len(data) > MAX_MESSAGE_BYTES:
        raise BodyTooLarge(MAX_MESSAGE_BYTES)
    if most_values(data) > MAX_VALUES:
        what = f"Expected at most {MAX_VALUES:,} values: send such a definition to POST /api/v1/workflows/ itself"
        raise InvalidRequest([Fault(("body",), what, "too_many_values")])
    await read_json(request, lambda _body: None)
    return data


def _refusal(status: int, why: str) -> Response[bytes]:
    """Return a JSON-RPC error, because clients of the protocol show nothing of a problem document."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": _INVALID_REQUEST, "message": why}}
    return Response(json.encode(error), status_code=status, media_type=JSON_TYPE)


def _reserve(request: ApiRequest) -> Callable[[int], Awaitable[object]]:
    async def reserve(size: int) -> None:
        try:
            memory = await resources_of(request.scope).memory()
            await reserve_memory(memory, memory.held + size)
        except (Unavailable, NeverFits):
            raise ToolFailed("The service has no memory for a response. Wait, then call the tool again.") from None

    return reserve
