"""What following events, and other processes, needs of the database. See `domain.feed` for the order of the events of
all workflows.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from stepwell.domain.event_feed import FeedCursor, FeedFilter, FeedPage, HistoryPage
from stepwell.domain.tenancy import TenantScope


class EventFeed(Protocol):
    """All methods raise `Unavailable` while the database is away."""

    async def history(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> HistoryPage | None:
        """Events from number *after* + 1 on, and the workflow, both as of one moment; None for an unknown one."""

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor, limit: int) -> FeedPage:
        """Up to *limit* of the *wanted* events behind *after*. It may have none, and there may be more all the same: it
        doesn't look at more than some thousand.
        """

    async def end(self) -> FeedCursor:
        """Behind all that can be read."""

    async def renumber_restored(self) -> bool:
        """Bring to the beginning some of those events that are ahead of all others since they come out of a backup of
        another server; false if there were none.
        """

    async def last_events(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """How long the histories of these workflows are."""


class Notifications(Protocol):
    """A word between processes on one database: of these workflows something has committed. It can get lost."""

    async def send(self, workflow_ids: Collection[UUID]) -> None:
        """Raises `Unavailable`; then nobody may have heard of it."""

    def listen(self, heard: Callable[[Collection[UUID] | None], None]) -> AbstractAsyncContextManager["Subscription"]:
        """*heard* is called with what others send; null says that it may be about any. Raises `Unavailable`."""


class Presence(Protocol):
    """A word from other processes on one database, as they come and go. It can get lost with the connection."""

    def watch(self, changed: Callable[[], None]) -> AbstractAsyncContextManager["Subscription"]:
        """*changed* is called when another process that had no lease gets one, or ends in order. Raises
        `Unavailable`.
        """


class Subscription(Protocol):
    async def until_disconnected(self) -> None:
        """Until the connection is lost, as far as that is noticed."""
