"""Event feeds, and notifications between processes on one database, as protocols.

`domain.event_feed` explains the order of the events of all workflows.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from stepwell.domain.event_feed import FeedCursor, FeedFilter, FeedPage, HistoryPage
from stepwell.domain.tenancy import TenantScope


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


class Notifications(Protocol):
    """Notifications about commits, between the processes on one database. A notification can get lost."""

    async def send(self, workflow_ids: Collection[UUID]) -> None:
        """Notify the other processes of a commit to these workflows.

        Raises `Unavailable`. Then it is unknown which processes were notified.
        """

    def listen(
        self, on_notification: Callable[[Collection[UUID] | None], None]
    ) -> AbstractAsyncContextManager["Subscription"]:
        """Return a context within which *on_notification* is called with the ids that other processes send.

        None means that any workflow may have changed. Entering raises `Unavailable`.
        """


class Presence(Protocol):
    """Notifications about other processes on the database. They get lost with the connection."""

    async def announce(self) -> None:
        """Notify the other processes that workflows wait which this process has no room for. Raises `Unavailable`."""

    def watch(self, on_change: Callable[[], None]) -> AbstractAsyncContextManager["Subscription"]:
        """Return a context within which *on_change* is called for each such change.

        There is a change when another process without a lease, or with one that has nearly ended, gets a lease, when
        another process ends in order, and when it calls `announce`. Entering raises `Unavailable`.
        """


class Subscription(Protocol):
    """A connection that receives notifications."""

    async def until_disconnected(self) -> None:
        """Return when the loss of the connection is noticed."""
