"""Cursors of lists as texts: where the next page of a list begins.

A text says nothing about the filters, and gives no access: each page has those of its own request.
"""

from typing import Final

from stepwell.rules.access.signed_texts import SignedTexts
from stepwell.rules.list_records import DecisionCursor, OutputCursor, WorkflowCursor

MAX_CURSOR_CHARS: Final = 64


class PageCursors:
    """The signed texts of the cursors of each list. The two orders of workflows are two lists."""

    def __init__(self, secret: bytes) -> None:
        self.oldest_first = SignedTexts(secret, "cursor of oldest workflows", WorkflowCursor, MAX_CURSOR_CHARS)
        self.newest_first = SignedTexts(secret, "cursor of newest workflows", WorkflowCursor, MAX_CURSOR_CHARS)
        self.decisions = SignedTexts(secret, "cursor of decisions", DecisionCursor, MAX_CURSOR_CHARS)
        self.outputs = SignedTexts(secret, "cursor of outputs", OutputCursor, MAX_CURSOR_CHARS)
