"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a repeated request has its effect once."""

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from uuid import UUID

from litestar.types import ASGIApp
from msgspec.structs import replace

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.headers import IDEMPOTENCY_KEY, NO_HEADERS, REPLAYED, header_value
from stepwell.api.requests.query_parameters import parse_id
from stepwell.api.requests.request_bodies import read_body
from stepwell.api.responses.conditional_requests import digest, read_preconditions, response_streams, send_response
from stepwell.api.responses.streamed_responses import STORED_MAX_BYTES, ApiResponse
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.idempotency import KeyClaim, StoredResponse
from stepwell.engine.service import Services
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.rules.large_workflow_records import FoundWorkflow

_MAX_LENGTH = 255
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]+")  # no quote, and no comma, which would separate two keys
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

Effect = Callable[[ApiRequest, Services, Preconditions], Awaitable[ApiResponse]]
Rebuild = Callable[[ApiRequest, Services, FoundWorkflow], Awaitable[ApiResponse]]


def idempotent(rebuild: Rebuild) -> Callable[[Effect], Callable[..., Awaitable[ASGIApp]]]:
    """Make a handler of the decorated function, which is called once for all requests with the same key.

    The function must pass its preconditions on to the service, since they carry the key. If the effect was committed
    but its response was lost, or was too large to be stored, *rebuild* makes one from the workflow as it is then.
    """

    def decorate(effect: Effect) -> Callable[..., Awaitable[ASGIApp]]:
        async def handler(request: ApiRequest, services: ServicesDep) -> ASGIApp:
            key, preconditions = idempotency_key(request), read_preconditions(request)
            if key is None:
                return send_response(request, services, await effect(request, services, preconditions))

            too_large: list[ApiResponse] = []

            async def stored(response: ApiResponse) -> StoredResponse | None:
                """Return the response as it will be stored, or None if it is too large for that."""
                whole: StoredResponse | None
                if isinstance(response, StoredResponse):
                    whole = response if len(response.body) <= STORED_MAX_BYTES else None
                else:
                    whole = await response_streams(request, services).collect(response, STORED_MAX_BYTES)
                if whole is None:
                    too_large.append(response)
                return whole

            async def first(claim: KeyClaim) -> StoredResponse | None:
                return await stored(await effect(request, services, replace(preconditions, claim=claim)))

            async def rebuild_lost(workflow_id: UUID) -> StoredResponse | None:
                return await stored(await rebuild(request, services, await services.reads.find(scope, workflow_id)))

            scope, fingerprint = request.user.scope, await _fingerprint(request)
            about = request.path_params.get("workflow_id")
            workflow_id = None if about is None else parse_id(about, "workflow")
            response, replayed = await services.idempotency.handle(
                scope, key, fingerprint, first, rebuild_lost, workflow_id
            )
            more = {REPLAYED: "true"} if replayed else NO_HEADERS
            return send_response(request, services, response or too_large[-1], more)

        handler.__name__ = handler.__qualname__ = effect.__name__
        return handler

    return decorate


def idempotency_key(request: ApiRequest) -> str | None:
    """Return the key of the request; None if it has none. Raises `InvalidRequest` for a malformed one."""
    value = header_value(request.scope, IDEMPOTENCY_KEY)
    if value is None:
        return None
    value = value.strip(" \t")
    if (quoted := _QUOTED.fullmatch(value)) is not None:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = value if _BARE.fullmatch(value) else ""
    if not 1 <= len(key) <= _MAX_LENGTH:
        msg = f"Expected one key of 1 to {_MAX_LENGTH} printable ASCII characters, bare without spaces, or quoted"
        raise InvalidRequest([Fault(("header", IDEMPOTENCY_KEY), msg, "idempotency_key")])
    return key


async def _fingerprint(request: ApiRequest) -> bytes:
    """Return a digest of the request. Requests that differ in it may not share a key.

    It covers the method, path, query and body. A slash at the path's end makes no difference.
    """
    body = await read_body(request)
    head = f"{request.scope['method']} {request.scope['path'].rstrip('/')}?".encode()
    return sha256(head + request.scope["query_string"] + b"\n" + await digest(body)).digest()
