"""Cursors: the place in a list of workflows at which the next page begins.

A cursor is bound to its order. It says nothing about the filters, and gives no access: each page has those of its own
request.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from stepwell.domain.access.signed_texts import SignedTexts
from stepwell.domain.records import PagePlace

_PURPOSE: Final = b"stepwell page cursor 1"
_TIME_BYTES, _ID_BYTES = 8, 16
_SIZE: Final = 1 + _TIME_BYTES + _ID_BYTES
MAX_CURSOR_CHARS: Final = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PageCursors:
    """Makes and reads cursors: signed texts of the order and the place."""

    def __init__(self, secret: bytes) -> None:
        self._texts = SignedTexts(secret, _PURPOSE, MAX_CURSOR_CHARS)

    def issue(self, place: PagePlace, *, oldest_first: bool) -> str:
        """Return the cursor of the page that begins behind *place*."""
        microseconds = (place.created_at - _EPOCH) // timedelta(microseconds=1)
        body = bytes([oldest_first]) + microseconds.to_bytes(_TIME_BYTES, signed=True) + place.id.bytes
        return self._texts.sign(body)

    def read(self, cursor: str, *, oldest_first: bool) -> PagePlace | None:
        """Return the place of *cursor*; None if it wasn't made here, in exactly this notation, for this order."""
        body = self._texts.read(cursor)
        if body is None or len(body) != _SIZE or body[0] != oldest_first:
            return None
        microseconds = int.from_bytes(body[1 : 1 + _TIME_BYTES], signed=True)
        return PagePlace(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=body[1 + _TIME_BYTES :]))
