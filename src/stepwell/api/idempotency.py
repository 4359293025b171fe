"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a repeated request has its effect once."""

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from uuid import UUID

from litestar import Response
from msgspec.structs import replace

from stepwell.api.conditional_requests import digest, read_preconditions, to_response
from stepwell.api.dependencies import ApiRequest, ServicesDep
from stepwell.api.headers import IDEMPOTENCY_KEY, NO_HEADERS, REPLAYED, header_value
from stepwell.api.request_bodies import read_body
from stepwell.domain.errors import Fault, InvalidRequest
from stepwell.domain.idempotency import Reservation, StoredAnswer
from stepwell.domain.preconditions import Preconditions
from stepwell.domain.records import WorkflowRecord
from stepwell.engine.service import Services

_MAX_LENGTH = 255
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]+")  # no quote, and no comma, which would separate two keys
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

Effect = Callable[[ApiRequest, Services, Preconditions], Awaitable[StoredAnswer]]
Rebuild = Callable[[ApiRequest, Services, WorkflowRecord], Awaitable[StoredAnswer]]


def idempotent(rebuild: Rebuild) -> Callable[[Effect], Callable[..., Awaitable[Response[bytes]]]]:
    """Make a handler of the decorated function, which is called once for all requests with the same key.

    The function must pass its preconditions on to the service, since they carry the key. If the effect was committed
    but its answer was lost, *rebuild* makes an answer from the workflow as it is then.
    """

    def decorate(effect: Effect) -> Callable[..., Awaitable[Response[bytes]]]:
        async def handler(request: ApiRequest, services: ServicesDep) -> Response[bytes]:
            key, preconditions = idempotency_key(request), read_preconditions(request)
            if key is None:
                return to_response(await effect(request, services, preconditions))

            async def first(reservation: Reservation) -> StoredAnswer:
                return await effect(request, services, replace(preconditions, reservation=reservation))

            async def rebuild_lost(workflow_id: UUID) -> StoredAnswer:
                record = await services.reads.get(request.user.scope, workflow_id)
                return await rebuild(request, services, record)

            fingerprint = await _fingerprint(request)
            answer, replayed = await services.idempotency.handle(
                request.user.scope, key, fingerprint, first, rebuild_lost
            )
            return to_response(answer, {REPLAYED: "true"} if replayed else NO_HEADERS)

        handler.__name__ = handler.__qualname__ = effect.__name__
        return handler

    return decorate


def idempotency_key(request: ApiRequest) -> str | None:
    """Return the key of the request; None if it has none. Raises `InvalidRequest` for a malformed one."""
    value = header_value(request, IDEMPOTENCY_KEY)
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
