"""Cursors: the place in a list of workflows at which the next page begins.

A cursor is bound to its order. It says nothing about the filters, and gives no access: each page has those of its own
request.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Final
from uuid import UUID

from stepwell.domain.access.mac import mac
from stepwell.domain.records import PagePlace

_PURPOSE: Final = b"stepwell page cursor 1"
_MAC_BYTES, _TIME_BYTES, _ID_BYTES = 16, 8, 16
_SIZE: Final = _MAC_BYTES + 1 + _TIME_BYTES + _ID_BYTES
MAX_CURSOR_CHARS: Final = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PageCursors:
    """Makes and reads cursors: the MAC, the order and the place, as URL-safe base64 without padding."""

    def __init__(self, secret: bytes) -> None:
        self._key = secret

    def issue(self, place: PagePlace, *, oldest_first: bool) -> str:
        """Return the cursor of the page that begins behind *place*."""
        microseconds = (place.created_at - _EPOCH) // timedelta(microseconds=1)
        body = bytes([oldest_first]) + microseconds.to_bytes(_TIME_BYTES, signed=True) + place.id.bytes
        return _text(self._mac(body) + body)

    def read(self, cursor: str, *, oldest_first: bool) -> PagePlace | None:
        """Return the place of *cursor*; None if it wasn't made here, in exactly this notation, for this order."""
        if len(cursor) > MAX_CURSOR_CHARS:
            return None
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            return None
        own, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        genuine = len(raw) == _SIZE and _text(raw) == cursor and compare_digest(self._mac(body), own)
        if not genuine or body[0] != oldest_first:
            return None
        microseconds = int.from_bytes(body[1 : 1 + _TIME_BYTES], signed=True)
        return PagePlace(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=body[1 + _TIME_BYTES :]))

    def _mac(self, body: bytes) -> bytes:
        return mac(self._key, _PURPOSE, body)[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
