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
from typing import Any, TypeVar, cast

from litestar import Request
from litestar.exceptions import ClientException, HTTPException
from litestar.types import HTTPReceiveMessage

from stepwell.api.operations import OPT_KEY, Operation
from stepwell.api.request_resources import RequestResources, resources_of
from stepwell.domain.errors import Fault, InvalidRequest, NeverFits, Unavailable
from stepwell.domain.strict_json.decode import decode_body
from stepwell.memory import FREE_BYTES, MemoryReservation

T = TypeVar("T")
MAX_BODY_BYTES = 16 * 1024 * 1024
# A larger body takes longer to decode and validate than handing it to a thread costs.
INLINE_BYTES = 64 * 1024
LEAST_RATE = 16 * 1024  # bytes a second
_GROWTH = 512 * 1024  # reserved at first; a server hands over less than that at once
_MEMORY_WAIT_S = 10.0
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
    tenant = None if caller is None else caller.scope
    return await resources.process.decoder.run(tenant, data, resources.memory(caller), work)


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
        if request.content_length and not _is_json(request):
            raise UnsupportedBody
        most = INLINE_BYTES if operation.body is None else MAX_BODY_BYTES
        data = await _read(request, resources, most)
        if data and not _is_json(request):
            raise UnsupportedBody
        resources.body = data
    return resources.body


async def read_any_body(request: Request[Any, Any, Any]) -> bytes:
    """Return a body of any type. Raises what `read_body` does, except `UnsupportedBody`."""
    return await _read(request, resources_of(request.scope), MAX_BODY_BYTES)


async def _read(request: Request[Any, Any, Any], resources: RequestResources, most: int) -> bytes:
    length = request.content_length
    if length is not None and length > most:
        raise BodyTooLarge(most)
    governor = resources.process.governor
    if length is not None and length > governor.largest:
        raise NeverFits(length, governor.largest)
    loop, stall_s = asyncio.get_running_loop(), resources.process.body_timeout_s
    began, received, chunks = loop.time(), 0, list[bytes]()
    held = 0
    try:
        async with asyncio.timeout(stall_s) as deadline:
            while True:
                if (length or received) > FREE_BYTES and received + _GROWTH > held < (length or most):
                    deadline.reschedule(None)
                    held = min(length or most, max(2 * held, _GROWTH))
                    began += await _reserve(resources.memory(request.scope.get("user")), held)
                    deadline.reschedule(min(loop.time(), began + stall_s + received / LEAST_RATE) + stall_s)
                message = cast("HTTPReceiveMessage", await request.receive())
                if message["type"] == "http.disconnect":
                    # Nobody reads this answer, but it must not count as a fault of ours.
                    raise ClientException(detail="The body ended before it was complete.")
                chunks.append(message["body"])
                received += len(message["body"])
                if received > most:
                    raise BodyTooLarge(most)
                if not message.get("more_body", False):
                    return b"".join(chunks)
                deadline.reschedule(min(loop.time(), began + stall_s + received / LEAST_RATE) + stall_s)
    except TimeoutError:
        raise BodyTooSlow from None


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


def _is_json(request: Request[Any, Any, Any]) -> bool:
    headers = request.scope["headers"]
    types = [value for name, value in headers if name == b"content-type"]
    encodings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    plain = all(encoding in (b"", b"identity") for encoding in encodings)
    return len(types) == 1 and plain and bool(_JSON.fullmatch(types[0].decode("latin-1").strip()))
