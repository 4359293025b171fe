"""The stored events of workflows, as a protocol.

`rules.event_feed` explains the order of the events of all workflows.
"""

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from stepwell.basics.tenancy import TenantScope
from stepwell.rules.event_feed import FeedCursor, FeedFilter, FeedPage, HistoryPage


class EventFeed(Protocol):
    """Stored events, of one workflow and of all workflows. All methods raise `Unavailable` while the database is away.

    *scope* is the tenant whose workflows a call may see. All other workflows count as unknown.
    """

    async def history(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> HistoryPage | None:
        """Return up to *limit* events of the workflow from number *after* + 1 on, and its status, as of one moment.

        None for an unknown workflow.
        """

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor, limit: int) -> FeedPage:
        """Return up to *limit* of the *wanted* events behind *after*.

        A call reads a few thousand events at most, so the page may be empty although `more` is true.
        """

    async def end(self) -> FeedCursor:
        """Return the cursor behind all events that can be read now."""

    async def renumber_restored(self) -> bool:
        """Renumber some of the events that were restored from a backup of another server.

        Such events have numbers that this server hasn't reached yet. They move to the beginning of the feed. Return
        false if there were none.
        """

    async def last_events(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """Return the number of the last event of each of these workflows."""
