"""Cursors: the place in a list of workflows at which the next page begins.

A cursor is bound to its order. It says nothing about the filters, and gives no access: each page has those of its own
request.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from stepwell.rules.access.signed_texts import SignedTexts
from stepwell.rules.list_records import DecisionPlace, OutputPlace, PagePlace

_PURPOSE: Final = b"stepwell page cursor 1"
_DECISIONS: Final = b"stepwell decision cursor 1"
_OUTPUTS: Final = b"stepwell output cursor 1"
_TIME_BYTES, _ID_BYTES, _POSITION_BYTES = 8, 16, 4
_SIZE: Final = 1 + _TIME_BYTES + _ID_BYTES
MAX_CURSOR_CHARS: Final = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PageCursors:
    """Makes and reads cursors: signed texts of the order and the place."""

    def __init__(self, secret: bytes) -> None:
        self._texts = SignedTexts(secret, _PURPOSE, MAX_CURSOR_CHARS)
        self._decisions = SignedTexts(secret, _DECISIONS, MAX_CURSOR_CHARS)
        self._outputs = SignedTexts(secret, _OUTPUTS, MAX_CURSOR_CHARS)

    def issue_decision(self, place: DecisionPlace) -> str:
        """Return the cursor of the page of decisions that begins behind *place*."""
        microseconds = (place.since - _EPOCH) // timedelta(microseconds=1)
        body = microseconds.to_bytes(_TIME_BYTES, signed=True) + place.workflow_id.bytes
        return self._decisions.sign(body + place.position.to_bytes(_POSITION_BYTES))

    def read_decision(self, cursor: str) -> DecisionPlace | None:
        """Return the place of a cursor of decisions; None if it wasn't made here, in exactly this notation."""
        body = self._decisions.read(cursor)
        if body is None or len(body) != _TIME_BYTES + _ID_BYTES + _POSITION_BYTES:
            return None
        since = _EPOCH + timedelta(microseconds=int.from_bytes(body[:_TIME_BYTES], signed=True))
        rest = body[_TIME_BYTES:]
        return DecisionPlace(since, UUID(bytes=rest[:_ID_BYTES]), int.from_bytes(rest[_ID_BYTES:]))

    def issue_output(self, place: OutputPlace) -> str:
        """Return the cursor of the page of outputs that begins behind *place*."""
        workflow_id, *numbers = place
        return self._outputs.sign(workflow_id.bytes + b"".join(each.to_bytes(_POSITION_BYTES) for each in numbers))

    def read_output(self, cursor: str) -> OutputPlace | None:
        """Return the place of a cursor of outputs; None if it wasn't made here, in exactly this notation."""
        body = self._outputs.read(cursor)
        if body is None or len(body) != _ID_BYTES + 3 * _POSITION_BYTES:
            return None
        first, second, third = (int.from_bytes(body[at : at + _POSITION_BYTES]) for at in (16, 20, 24))
        return OutputPlace(UUID(bytes=body[:_ID_BYTES]), first, second, third)

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
