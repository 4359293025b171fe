"""Cursors of lists and of the event feed as texts: where the next page begins.

They give no access: each request reads what its own token allows. The cursor of a list says nothing about the filters.
The position of the feed may be at an event of another tenant's workflow, up to which the feed was read. So that is
encrypted, and all texts have the same length.
"""

from typing import Final

from stepwell.rules.access.signed_texts import SignedTexts
from stepwell.rules.event_feed import BEGINNING, FeedCursor
from stepwell.rules.list_records import DecisionCursor, OutputCursor, WorkflowCursor

MAX_CURSOR_CHARS: Final = 112  # one of definitions has a name
_BEGINNING: Final = "0"


class PageCursors:
    """The signed texts of the cursors of each list. The two orders of workflows are two lists."""

    def __init__(self, secret: bytes) -> None:
        self.oldest_first = SignedTexts(secret, "cursor of oldest workflows", WorkflowCursor, MAX_CURSOR_CHARS)
        self.newest_first = SignedTexts(secret, "cursor of newest workflows", WorkflowCursor, MAX_CURSOR_CHARS)
        self.decisions = SignedTexts(secret, "cursor of decisions", DecisionCursor, MAX_CURSOR_CHARS)
        self.definitions = SignedTexts(secret, "cursor of definitions", str, MAX_CURSOR_CHARS)
        self.outputs = SignedTexts(secret, "cursor of outputs", OutputCursor, MAX_CURSOR_CHARS)


class FeedCursors:
    """Makes and reads cursors. *secret* is that of the URLs: with another one, they aren't accepted."""

    def __init__(self, secret: bytes) -> None:
        self._texts = SignedTexts(secret, "feed cursor", bytes, MAX_CURSOR_CHARS, encrypted=True)

    def issue(self, position: FeedCursor) -> str:
        return self._texts.sign(position.encode())

    def read(self, cursor: str) -> FeedCursor:
        """Return the position of *cursor*; `0` is the beginning. Raises ValueError if it wasn't made here."""
        if cursor == _BEGINNING:
            return BEGINNING
        body = self._texts.read(cursor)
        if body is None:
            raise ValueError("not a cursor")
        return FeedCursor.decode(body)
