"""Range requests (RFC 9110, 14): the part of a file that a request wants.

What must hold:
- A request for several ranges, for another unit than bytes, or with a malformed header gets the whole file.
- A part is sent only of the version that `If-Range` names. A date never matches, because no file has a `Last-Modified`.
"""

import re
from typing import NamedTuple

from litestar.exceptions import HTTPException

from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.headers import CONTENT_RANGE, IF_RANGE, RANGE, header_value

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
_MAX_DIGITS = 19


class ByteRange(NamedTuple):
    """The bytes of a file from `start` on, up to but without `end`."""

    start: int
    end: int

    def content_range(self, size: int) -> str:
        """Return the value of `Content-Range` for a file of *size* bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


class RangeNotSatisfiable(HTTPException):
    """The range begins behind the end of the file."""

    status_code = 416

    def __init__(self, size: int) -> None:
        super().__init__(
            detail=f"The file has {size:,} bytes, and the range begins behind its end.",
            headers={CONTENT_RANGE: f"bytes */{size}"},
        )


def requested_range(request: ApiRequest, size: int, etag: str) -> ByteRange | None:
    """Return the part that the request wants of a file of *size* bytes; None if it gets the whole file.

    Raises `RangeNotSatisfiable`.
    """
    value = header_value(request.scope, RANGE)
    match = None if value is None else _ONE_RANGE.fullmatch(value.strip(" \t"))
    if match is None or not size or header_value(request.scope, IF_RANGE) not in (None, etag):
        return None
    first, last = (_number(text) for text in match.groups())
    if first is None:
        if last is None:
            return None
        start, end = max(0, size - last), size
    elif last is not None and last < first:
        return None
    else:
        start, end = first, size if last is None else min(last + 1, size)
    if start >= size:
        raise RangeNotSatisfiable(size)
    return ByteRange(start, end)


def _number(text: str) -> int | None:
    """Return the number; None for an empty text. Too many digits give a number that is larger than any file."""
    if not text:
        return None
    return int(text) if len(text) <= _MAX_DIGITS else 10**_MAX_DIGITS
