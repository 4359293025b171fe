"""Cursors of the event feed: positions as texts, which say nothing to those who get them.

A position may be at an event of another tenant's workflow, up to which the feed was read. So it is encrypted, and all
texts have the same length. A cursor gives no access: each request reads the events of its own tenants.
"""

from typing import Final

from stepwell.rules.access.signed_texts import SignedTexts
from stepwell.rules.event_feed import BEGINNING, FeedCursor

_BEGINNING: Final = "0"
_MAX_CHARS: Final = 64


class FeedCursors:
    """Makes and reads cursors. *secret* is that of the URLs: with another one, they aren't accepted."""

    def __init__(self, secret: bytes) -> None:
        self._texts = SignedTexts(secret, "feed cursor", bytes, _MAX_CHARS, encrypted=True)

    def issue(self, position: FeedCursor) -> str:
        """Return the cursor of *position*."""
        return self._texts.sign(position.encode())

    def read(self, cursor: str) -> FeedCursor:
        """Return the position of *cursor*; `0` is the beginning. Raises ValueError if it wasn't made here."""
        if cursor == _BEGINNING:
            return BEGINNING
        body = self._texts.read(cursor)
        if body is None:
            raise ValueError("not a cursor")
        return FeedCursor.decode(body)
