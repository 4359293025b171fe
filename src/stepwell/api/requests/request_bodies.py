"""Request bodies: only JSON is accepted, at a rate that a client must keep up, and within the memory of the process.

What must hold:
- A body is refused before it is read if its Content-Length or Content-Type says that it will be refused.
- A body ends if it makes no progress, or if it comes at less than `LEAST_RATE` for long, whatever its length.
- A body of more than 64 KiB is read no further than the memory that is reserved for it.
- A gzip body is inflated as it comes, and both sizes are bounded (see `body_buffers`).
- A larger body is decoded in a thread, so that the loop isn't blocked, and one at a time (see `body_decoding`).
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar, cast

from litestar import Request
from litestar.exceptions import ClientException, HTTPException
from litestar.types import HTTPReceiveMessage, HTTPRequestEvent
from msgspec import MsgspecError, Struct, convert, json

from stepwell.api.requests.body_buffers import INLINE_BYTES, BodyTooLarge, GzipBuffer, PlainBuffer
from stepwell.api.requests.operations import JSON_TYPE, Operation, operation_of
from stepwell.api.requests.preferences import handling_of
from stepwell.api.requests.request_resources import RequestResources, resources_of
from stepwell.basics.errors import Fault, InvalidRequest, NeverFits
from stepwell.basics.strict_json.decode import decode_body
from stepwell.basics.strict_json.normalise import Handling, normalise
from stepwell.basics.strict_json.schema_faults import cap_faults, collect
from stepwell.basics.tenancy import SharedCaller

T = TypeVar("T")
S = TypeVar("S", bound=Struct)
MAX_BODY_BYTES = 16 * 1024 * 1024
SHORT_BODY: Final = "short_body"
"""A key of a request's state. The server sets it once the whole body has arrived, if it has at most 64 KiB."""
LEAST_RATE = 16 * 1024  # bytes a second
_LONGEST_NUMBER = 20  # digits
_MAX_FAULTS = 20
_PLAIN_JSON = JSON_TYPE.encode()  # as most clients write it
_UTF_8 = re.compile(r'([^;\s]+)[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?', re.IGNORECASE)
_IDENTITY = b"identity"
_GZIP = (b"gzip", b"x-gzip")  # equivalent by RFC 9110, 8.4.1.3


_TENANT: Final = "origin_tenant_id"


class _NamedTenant(Struct):
    """The member of a definition that names its tenant."""

    origin_tenant_id: str | None = None


_read_named_tenant = json.Decoder(_NamedTenant).decode


class UnsupportedBody(HTTPException):
    """The Content-Type or the Content-Encoding of the body isn't accepted."""

    status_code = 415


class BodyTooSlow(HTTPException):
    """The body made no progress, or too little."""

    status_code = 408

    def __init__(self) -> None:
        super().__init__(detail="The body came too slowly.", headers={"Connection": "close"})


class BodyHead(NamedTuple):
    """The headers of a request about its body. `content_type` is empty if there are several."""

    length: int | None
    content_type: bytes | None
    encoding: bytes


async def read_json(
    request: Request[Any, Any, Any], parse: Callable[[Any], T], check: Callable[[bytes], None] | None = None
) -> T:
    """Return *parse* of the decoded body. *check* may refuse the body before it is decoded.

    Both must be thread-safe, because a large body is parsed in a thread.
    """
    data = await read_body(request)

    def work() -> T:
        if check is not None:
            check(data)
        return parse(decode_body(data))

    return await decode_in_turn(request, data, work)


async def decode_in_turn(request: Request[Any, Any, Any], data: bytes, work: Callable[[], T]) -> T:
    """Return the result of *work*, which decodes *data*: in a thread, and in turn, unless that is small."""
    if len(data) <= INLINE_BYTES:
        return work()
    resources = resources_of(request.scope)
    decoder = resources.process.decoder
    if resources.decoding is not None:
        return await decoder.run(resources.account, work)
    memory = await resources.memory()
    reserved = await decoder.reserve(data, memory)
    result = await decoder.run(resources.account, work)
    memory.shrink(reserved)
    return result


async def read_struct(request: Request[Any, Any, Any], kind: type[S]) -> S:
    """Return the decoded body as a *kind*. An absent body counts as an empty object if the operation allows that.

    Raises `InvalidRequest` with all faults.
    """
    handling = handling_of(request.scope)

    def parse(body: Any) -> S:
        body = normalise(kind, body, handling)
        if faults := collect(kind, body, ("body",)):
            raise InvalidRequest(cap_faults(faults, _MAX_FAULTS))
        return convert(body, kind)

    operation = _operation(request)
    if operation.body_optional and not await read_body(request):
        return parse({})
    return await read_json(request, parse)


def _operation(request: Request[Any, Any, Any]) -> Operation:
    operation = operation_of(request.scope)
    assert operation is not None
    return operation


async def read_and_reserve(request: Request[Any, Any, Any]) -> bytes:
    """Return the body as `read_body` does, and reserve the memory to decode it, until `release_decoding`.

    The caller may wait for a turn afterwards. A request that had a turn and waited for memory could wait for ever: the
    memory may be held by requests that wait for the same turn.
    """
    data = await read_body(request)
    if len(data) > INLINE_BYTES:
        resources = resources_of(request.scope)
        memory = await resources.memory()
        resources.decoding = await resources.process.decoder.reserve(data, memory)
    return data


async def release_decoding(request: Request[Any, Any, Any]) -> None:
    """Release the memory that `read_and_reserve` has reserved. The end of the request does so as well."""
    resources = resources_of(request.scope)
    if resources.decoding is not None:
        (await resources.memory()).shrink(resources.decoding)
        resources.decoding = None


async def ignore_empty_body(request: Request[Any, Any, Any]) -> None:
    """Read the body of an operation that takes none. Only `{}` and null are accepted, since many clients send `{}`.

    Under lenient handling, any object is.
    """
    data = await read_body(request)
    if not data or (body := await read_json(request, lambda body: body)) in ({}, None):
        return
    if not isinstance(body, dict) or handling_of(request.scope) is Handling.STRICT:
        raise InvalidRequest([Fault(("body",), "This operation takes no body", "extra_forbidden")])


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """Return the body, inflated if it is gzip. May be called repeatedly.

    If it names its tenant, the request of a caller for all tenants counts for that one from now on.

    Raises `UnsupportedBody` unless it is JSON, plain or as gzip, `BodyTooLarge`, `BodyTooSlow`, `NeverFits`,
    `InvalidRequest` for gzip data that is malformed, `TooManyRequests` of that tenant, and `Unavailable` if there is no
    memory for it.
    """
    resources = resources_of(request.scope)
    if resources.body is None:
        operation = _operation(request)
        head = read_head(request)
        if head.length:
            _check_type(head, operation)
        data = await _read(request, head, INLINE_BYTES if operation.body is None else MAX_BODY_BYTES)
        if data and not head.length:
            _check_type(head, operation)
        resources.body = data
        if operation.body is not None and _TENANT in operation.body.__struct_fields__:
            _count_for_named_tenant(resources, data)
    return resources.body


def _count_for_named_tenant(resources: RequestResources, body: bytes) -> None:
    if resources.account is SharedCaller.EVERY_TENANT:
        with suppress(MsgspecError, RecursionError, UnicodeDecodeError):  # it will be refused
            resources.count_for(_read_named_tenant(body).origin_tenant_id)  # takes 12 ms for 16 MiB


async def read_any_body(request: Request[Any, Any, Any], most: int = MAX_BODY_BYTES) -> bytes:
    """Return a body of any type, as it was sent. Raises what `read_body` does, except for its type and encoding."""
    return await _read(request, read_head(request)._replace(encoding=b""), most)


async def _read(request: Request[Any, Any, Any], head: BodyHead, most: int) -> bytes:
    """Return the body if it has at most *most* bytes, as it was sent and as it is returned."""
    is_gzip = head.encoding in _GZIP
    if head.length is not None and head.length > most:
        raise BodyTooLarge(most)
    # There is nothing to wait for, and a deadline costs as much as decoding.
    if SHORT_BODY in request.scope["state"] and not is_gzip:
        return (await receive_part(request))["body"]
    resources = resources_of(request.scope)
    governor, stall_s = resources.process.governor, resources.process.body_timeout_s
    if head.length is not None and head.length > governor.largest:
        raise NeverFits(head.length, governor.largest)
    memory, threads = resources.memory, resources.process.inflating
    buffer = GzipBuffer(most, memory, threads) if is_gzip else PlainBuffer(head.length, most, memory)
    loop = asyncio.get_running_loop()
    began, received = loop.time(), 0
    try:
        async with asyncio.timeout(stall_s) as deadline:
            while True:
                deadline.reschedule(None)  # the client isn't at fault if memory is short
                began += await buffer.reserve_next()
                deadline.reschedule(min(loop.time(), began + stall_s + received / LEAST_RATE) + stall_s)
                message = await receive_part(request)
                received += len(message["body"])
                if received > most:
                    raise BodyTooLarge(most)
                deadline.reschedule(None)
                began += await buffer.add(message["body"])
                if not message.get("more_body", False):
                    return buffer.finish()
    except TimeoutError:
        raise BodyTooSlow from None


async def receive_part(request: Request[Any, Any, Any]) -> HTTPRequestEvent:
    """Return the next part of the body. Raises `ClientException` if the client disconnects."""
    message = cast("HTTPReceiveMessage", await request.receive())
    if message["type"] == "http.disconnect":
        # Nobody reads this response, but it must not count as a fault of ours.
        raise ClientException(detail="The body ended before it was complete.")
    return message


def read_head(request: Request[Any, Any, Any]) -> BodyHead:
    """Return the headers about the body. Raises `ClientException` for an invalid Content-Length."""
    length: int | None = None
    content_type: bytes | None = None
    encoding = b""
    for name, value in request.scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise ClientException(detail=f"Invalid content-length: {value.decode('latin-1')!r}")
            length = int(value) if len(value) < _LONGEST_NUMBER else 10**_LONGEST_NUMBER
        elif name == b"content-type":
            content_type = value if content_type is None else b""
        elif name == b"content-encoding":
            encoding = encoding + b"," * bool(encoding) + value.strip().lower()
    return BodyHead(length, content_type, encoding)


def _check_type(head: BodyHead, operation: Operation) -> None:
    """Raise `UnsupportedBody` if *operation* doesn't accept such a body."""
    if head.encoding and head.encoding not in (_IDENTITY, *_GZIP):
        raise UnsupportedBody(
            "The Content-Encoding of the body must be gzip, or absent.", headers={"Accept-Encoding": "gzip"}
        )
    if head.content_type == _PLAIN_JSON:
        return
    match = _UTF_8.fullmatch((head.content_type or b"").decode("latin-1").strip())
    if match is None or match[1].lower() not in operation.body_types:
        types = operation.body_types
        why = f"The body must be {' or '.join(types)} in UTF-8, and its Content-Type must say so."
        raise UnsupportedBody(why, headers={"Accept": ", ".join(types)})
