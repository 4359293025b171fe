"""Request bodies: JSON and nothing else, and never so much work on the loop that others wait for it."""

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
# What takes longer to decode and validate than a switch to a thread costs others on the loop.
INLINE_BYTES = 64 * 1024
_JSON = re.compile(r'application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?', re.IGNORECASE)


class UnsupportedBody(HTTPException):
    """The body is, or says that it is, something other than JSON in UTF-8."""

    status_code = 415

    def __init__(self) -> None:
        super().__init__(
            detail="The body must be application/json in UTF-8, and its Content-Type must say so.",
            headers={"Accept": "application/json"},
        )


async def read_json(request: Request[Any, Any, Any], parse: Callable[[Any], T]) -> T:
    """What *parse* makes of the decoded body. *parse* must be safe in a thread; a big body is parsed in one."""
    data = await read_body(request)

    def work() -> T:
        return parse(decode_body(data))

    return work() if len(data) <= INLINE_BYTES else await to_thread.run_sync(work)


async def ignore_empty_body(request: Request[Any, Any, Any]) -> None:
    """For operations without a body: many clients send `{}`, which says nothing. What says something is refused."""
    data = await read_body(request)
    if data and await read_json(request, lambda body: body) not in ({}, None):
        raise InvalidRequest([Fault(("body",), "This operation takes no body", "extra_forbidden")])


async def read_body(request: Request[Any, Any, Any]) -> bytes:
    """The body, however often it is asked for; refused if it says that it is something other than JSON."""
    try:
        data = await request.body()
    except InternalServerException:
        # The client went away while sending: nobody reads this, but it is no fault of ours.
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
