"""Request bodies: only JSON is accepted, at a rate that a client must keep up, and within the memory of the process.

What must hold:
- A body is refused before it is read if its Content-Length or Content-Type says that it will be refused.
- A body ends if it makes no progress, or if it comes at less than `LEAST_RATE` for long, whatever its length.
- A body of more than 64 KiB is read no further than the memory that is reserved for it.
- A larger body is decoded in a thread, so that the loop isn't blocked, and one at a time (see `body_decoding`).
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from litestar import Request
from litestar.exceptions import ClientException, HTTPException
from litestar.types import HTTPReceiveMessage, HTTPRequestEvent
from msgspec import Struct, convert

from stepwell.api.operations import OPT_KEY, Operation
from stepwell.api.request_resources import resources_of
from stepwell.domain.errors import Fault, InvalidRequest, NeverFits, Unavailable
from stepwell.domain.strict_json.decode import decode_body
from stepwell.domain.strict_json.schema_faults import cap_faults, collect
from stepwell.memory import FREE_BYTES, MemoryReservation

T = TypeVar("T")
S = TypeVar("S", bound=Struct)
MAX_BODY_BYTES = 16 * 1024 * 1024
# A larger body takes longer to decode and validate than handing it to a thread costs.
INLINE_BYTES = 64 * 1024
SHORT_BODY: Final = "short_body"
"""A key of a request's state. The server sets it once the whole body has arrived, if it has at most 64 KiB."""
LEAST_RATE = 16 * 1024  # bytes a second
_GROWTH = 512 * 1024  # reserved at first; a server hands over less than that at once
_MEMORY_WAIT_S = 10.0
_LONGEST_NUMBER = 20  # digits
_MAX_FAULTS = 20
_PLAIN_JSON = b"application/json"  # as most clients write it
_JSON = re.compile(r'application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?', re.IGNORECASE)


class UnsupportedBody(HTTPException):
    """The Content-Type of the body isn't JSON in UTF-8, or the body is compressed."""

    status_code = 415

    def __init__(self) -> None:
        super().__init__(
            detail="The body must be application/json in UTF-8, and its Content-Type must say so.",
            headers={"Accept": "application/json"},
        )


class BodyTooLarge(HTTPException):
    """The body has more bytes than the operation accepts."""

    status_code = 413

    def __init__(self, most: int) -> None:
        super().__init__(detail=f"The body is larger than {most:,} bytes.")


class BodyTooSlow(HTTPException):
    """The body made no progress, or too little."""

    status_code = 408

    def __init__(self) -> None:
        super().__init__(detail="The body came too slowly.", headers={"Connection": "close"})


async def read_json(request: Request[Any, Any, Any], parse: Callable[[Any], T]) -> T:
    """Return *parse* of the decoded body. *parse* must be thread-safe, because a large body is parsed in a thread."""
    data = await read_body(request)

    def work() -> T:
        return parse(decode_body(data))

    if len(data) <= INLINE_BYTES:
        return work()
    resources = resources_of(request.scope)
    caller = request.scope.get("user")
    tenant, decoder = None if caller is None else caller.scope, resources.process.decoder
    if resources.decoding is not None:
        return await decoder.run(tenant, work)
    memory = resources.memory(caller)
    room = await decoder.reserve(data, memory)
    result = await decoder.run(tenant, work)
    memory.shrink(room)
    return result


async def read_struct(request: Request[Any, Any, Any], kind: type[S]) -> S:
    """Return the decoded body as a *kind*. An absent body counts as an empty object if the operation allows that.

    Raises `InvalidRequest` with all faults.
    """

    def parse(body: Any) -> S:
        if faults := collect(kind, body, ("body",)):
            raise InvalidRequest(cap_faults(faults, _MAX_FAULTS))
        return convert(body, kind)

    operation: Operation = request.route_handler.opt[OPT_KEY]
    if operation.body_optional and not await read_body(request):
        return parse({})
    return await read_json(request, parse)


async def read_with_room(request: Request[Any, Any, Any]) -> bytes:
    """Return the body as `read_body` does, and reserve the room to decode it, until `give_room_back`.

    The caller may wait for a turn afterwards. A request that had a turn and waited for memory could wait for ever: the
    memory may be held by requests that wait for the same turn.
    """
    data = await read_body(request)
    if len(data) > INLINE_BYTES:
        resources = resources_of(request.scope)
        memory = resources.memory(request.scope.get("user"))
        resources.decoding = await resources.process.decoder.reserve(data, memory)
    return data


def give_room_back(request: Request[Any, Any, Any]) -> None:
    """End `read_with_room`. The end of the request does so as well."""
    resources = resources_of(request.scope)
    if resources.decoding is not None:
        resources.memory(request.scope.get("user")).shrink(resources.decoding)
        resources.decoding = None


async def ignore_empty_body(request: Request[Any, Any, Any]) -> None:
    """Read the body of an operation that takes none. Only `{}` and null are accepted, since many clients send `{}`."""
    data = await read_body(request)
    if data and await read_json(request, lambda body: body) not in ({}, None):
        raise InvalidRequest([Fault(("body",), "This operation takes no body", "extra_forbidden")])


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """Return the body. May be called repeatedly.

    Raises `UnsupportedBody` unless its Content-Type is JSON, `BodyTooLarge`, `BodyTooSlow`, `NeverFits`, and
    `Unavailable` if there is no memory for it.
    """
    resources = resources_of(request.scope)
    if resources.body is None:
        operation: Operation = request.route_handler.opt[OPT_KEY]
        length, is_json = _facts(request)
        if length and not is_json:
            raise UnsupportedBody
        data = await _read(request, length, INLINE_BYTES if operation.body is None else MAX_BODY_BYTES)
        if data and not is_json:
            raise UnsupportedBody
        resources.body = data
    return resources.body


async def read_any_body(request: Request[Any, Any, Any]) -> bytes:
    """Return a body of any type. Raises what `read_body` does, except `UnsupportedBody`."""
    return await _read(request, _facts(request)[0], MAX_BODY_BYTES)


async def _read(request: Request[Any, Any, Any], length: int | None, most: int) -> bytes:
    """Return the body, whose Content-Length is *length*, if it has at most *most* bytes."""
    if length is not None and length > most:
        raise BodyTooLarge(most)
    if SHORT_BODY in request.scope["state"]:  # there is nothing to wait for, and a deadline costs as much as decoding
        return (await _receive(request))["body"]
    resources = resources_of(request.scope)
    governor, stall_s = resources.process.governor, resources.process.body_timeout_s
    if length is not None and length > governor.largest:
        raise NeverFits(length, governor.largest)
    loop = asyncio.get_running_loop()
    began, received, held, chunks = loop.time(), 0, 0, list[bytes]()
    try:
        async with asyncio.timeout(stall_s) as deadline:
            while True:
                if (length or received) > FREE_BYTES and received + _GROWTH > held < (length or most):
                    deadline.reschedule(None)
                    held = min(length or most, max(2 * held, _GROWTH))
                    began += await _reserve(resources.memory(request.scope.get("user")), held)
                    deadline.reschedule(min(loop.time(), began + stall_s + received / LEAST_RATE) + stall_s)
                message = await _receive(request)
                chunks.append(message["body"])
                received += len(message["body"])
                if received > most:
                    raise BodyTooLarge(most)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
                deadline.reschedule(min(loop.time(), began + stall_s + received / LEAST_RATE) + stall_s)
    except TimeoutError:
        raise BodyTooSlow from None


async def _receive(request: Request[Any, Any, Any]) -> HTTPRequestEvent:
    """Return the next part of the body. Raises `ClientException` if the client disconnects."""
    message = cast("HTTPReceiveMessage", await request.receive())
    if message["type"] == "http.disconnect":
        # Nobody reads this answer, but it must not count as a fault of ours.
        raise ClientException(detail="The body ended before it was complete.")
    return message


async def _reserve(memory: MemoryReservation, total: int) -> float:
    """Let the reservation grow to *total*. Return the seconds that it waited."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(_MEMORY_WAIT_S):
            await memory.grow(total - memory.held)
    except TimeoutError:
        raise Unavailable("The service has no memory for the body now.") from None
    return loop.time() - began


def _facts(request: Request[Any, Any, Any]) -> tuple[int | None, bool]:
    """Return the Content-Length, and whether the body is JSON in UTF-8. Raises `ClientException`."""
    length: int | None = None
    types, plain = list[bytes](), True
    for name, value in request.scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise ClientException(detail=f"Invalid content-length: {value.decode('latin-1')!r}")
            length = int(value) if len(value) < _LONGEST_NUMBER else 10**_LONGEST_NUMBER
        elif name == b"content-type":
            types.append(value)
        elif name == b"content-encoding":
            plain = plain and value.strip().lower() in (b"", b"identity")
    return length, plain and len(types) == 1 and (types[0] == _PLAIN_JSON or _is_json(types[0]))


def _is_json(content_type: bytes) -> bool:
    return bool(_JSON.fullmatch(content_type.decode("latin-1").strip()))
