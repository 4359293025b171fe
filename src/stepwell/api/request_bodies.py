"""Request bodies: only JSON is accepted, and large bodies are parsed in a thread, so that the loop isn't blocked."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import to_thread
from litestar import Request
from litestar.exceptions import ClientException, HTTPException, InternalServerException

from stepwell.domain.errors import Fault, InvalidRequest
from stepwell.domain.strict_json.decode import decode_body

T = TypeVar("T")
MAX_BODY_BYTES = 16 * 1024 * 1024
# A larger body takes longer to decode and validate than handing it to a thread costs.
INLINE_BYTES = 64 * 1024
_JSON = re.compile(r'application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?', re.IGNORECASE)


class UnsupportedBody(HTTPException):
    """The Content-Type of the body isn't JSON in UTF-8, or the body is compressed."""

    status_code = 415

    def __init__(self) -> None:
        super().__init__(
            detail="The body must be application/json in UTF-8, and its Content-Type must say so.",
            headers={"Accept": "application/json"},
        )


async def read_json(request: Request[Any, Any, Any], parse: Callable[[Any], T]) -> T:
    """Return *parse* of the decoded body. *parse* must be thread-safe, because a large body is parsed in a thread."""
    data = await read_body(request)

    def work() -> T:
        return parse(decode_body(data))

    return work() if len(data) <= INLINE_BYTES else await to_thread.run_sync(work)


async def ignore_empty_body(request: Request[Any, Any, Any]) -> None:
    """Read the body of an operation that takes none. Only `{}` and null are accepted, since many clients send `{}`."""
    data = await read_body(request)
    if data and await read_json(request, lambda body: body) not in ({}, None):
        raise InvalidRequest([Fault(("body",), "This operation takes no body", "extra_forbidden")])


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """Return the body. May be called repeatedly. Raises `UnsupportedBody` unless its Content-Type is JSON."""
    try:
        data = await request.body()
    except InternalServerException:
        # The client disconnected while sending. Nobody reads this answer, but it must not count as a fault of ours.
        raise ClientException(detail="The body ended before it was complete.") from None
    if data and not _is_json(request):
        raise UnsupportedBody
    return data


def _is_json(request: Request[Any, Any, Any]) -> bool:
    headers = request.scope["headers"]
    types = [value for name, value in headers if name == b"content-type"]
    encodings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    plain = all(encoding in (b"", b"identity") for encoding in encodings)
    return len(types) == 1 and plain and bool(_JSON.fullmatch(types[0].decode("latin-1").strip()))
