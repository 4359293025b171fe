"""The event subscriptions of clients: to one workflow, or to all workflows that they may see."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import structlog

from stepwell.basics.errors import TooManyRequests
from stepwell.basics.tenancy import Account, TenantScope
from stepwell.engine.events.bus import EventBus
from stepwell.engine.events.event_stream import EventStream, SendBuffer
from stepwell.engine.events.feed_stream import FeedFrame, FeedReader, FeedStream, FeedSubscriber, check_position
from stepwell.engine.events.peer_notifications import PeerNotifications
from stepwell.engine.events.workflow_stream import EventFrame, WorkflowStream, WorkflowSubscribers
from stepwell.ports.processes import Coordination
from stepwell.ports.storage import EventFeed
from stepwell.rules.access.cursors import FeedCursors
from stepwell.rules.event_feed import BEGINNING, FeedCursor, FeedEvent, FeedFilter, FeedPage
from stepwell.runtime.outages import until_available

log = structlog.get_logger()

# Seconds of search for one page, because few events may match the filter.
_SEARCH_S = 1.0
# Retry-After when a tenant has too many streams. They end with their workflows, so seconds make little difference.
_STREAM_RETRY_S = 5


class EventSubscriptions:
    """Opens event streams and pages of events.

    *frame* and *feed_frame* encode an event as it is sent. *running*: the workflows in this process's memory. Each
    account may have *max_streams* streams open at once. `open` counts the open streams, and `refused` those that were
    refused. Clients get a heartbeat every `heartbeat_s` seconds.
    """

    def __init__(
        self,
        feed: EventFeed,
        bus: EventBus,
        frame: EventFrame,
        feed_frame: FeedFrame,
        cursors: FeedCursors,
        coordination: Coordination,
        running: Container[UUID],
        *,
        heartbeat_s: float,
        max_streams: int,
    ) -> None:
        self._feed, self._bus, self._frame, self._feed_frame = feed, bus, frame, feed_frame
        self.cursors = cursors
        self._workflow_subscribers = WorkflowSubscribers(bus, frame)
        self.reader = FeedReader(feed, feed_frame, coordination.poll_s)
        self.peers = PeerNotifications(coordination, feed, bus, self.reader, running)
        bus.listeners.append(lambda _: self.reader.wake())
        bus.on_invalidated = self.reader.wake
        self.heartbeat_s = heartbeat_s
        self.refused = 0
        self._max_streams = max_streams
        self._open = Counter[Account]()

    @property
    def open(self) -> int:
        return self._open.total()

    async def run(self) -> None:
        """Run until cancelled, and close."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.reader.run(), name="event feed")
                group.create_task(self._renumber_backup(), name="events of a backup")
                group.create_task(self.peers.run(), name="notifications")
        finally:
            self.close()

    async def _renumber_backup(self) -> None:
        try:
            while await until_available(self._feed.renumber_restored):
                pass
        except Exception:  # the service works without the events of a backup
            log.exception("events.not_adopted", action="follow")

    def close(self) -> None:
        """End all streams and all waiting requests. Those that come later end at once."""
        self._bus.close()
        self.reader.close()

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None, limit: int) -> FeedPage:
        """Return up to *limit* of the *wanted* events after *after*, or from the beginning. Raises `InvalidRequest` for
        a cursor that this database can't have issued.
        """
        until = time.monotonic() + _SEARCH_S
        position = after or BEGINNING
        events: list[FeedEvent] = []
        while True:
            page = await self._feed.page(scope, wanted, position, limit - len(events))
            check_position(position, page)
            events += page.events
            if not page.more or len(events) == limit or time.monotonic() > until:
                return FeedPage(events, page.position, page.bound, page.more, page.lagging)
            position = page.position

    @asynccontextmanager
    async def follow(
        self, scope: TenantScope, workflow_id: UUID, after: int, account: Account
    ) -> AsyncIterator[EventStream[int]]:
        """Stream the events of one workflow from number *after* + 1 on. The stream counts for *account*.

        Raises `NotFound`, `TooManyRequests`, `Unavailable`.
        """
        buffer = SendBuffer[int]()
        stream = WorkflowStream(self._feed, buffer, self._frame, scope, workflow_id, after)
        with self._counted(account):
            self._workflow_subscribers.join(workflow_id, buffer)
            try:
                await stream.open()
                yield stream
            finally:
                self._workflow_subscribers.leave(workflow_id, buffer)

    @asynccontextmanager
    async def follow_all(
        self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None, delay_s: float = 0.0
    ) -> AsyncIterator[EventStream[FeedCursor]]:
        """Stream the *wanted* events of all workflows of *scope* after *after*, or from now on.

        Live events may be sent *delay_s* seconds late, several together.

        Raises `TooManyRequests`, `Unavailable`, and `InvalidRequest` for a cursor that this database can't have issued.
        """
        subscriber = FeedSubscriber(scope, wanted, SendBuffer(), delay_s)
        stream = FeedStream(self._feed, self.reader, subscriber, self._feed_frame, self.cursors, after)
        with self._counted(scope.account):
            try:
                await stream.open()
                self.peers.check_watchers()
                yield stream
            finally:
                self.reader.leave(subscriber)
                self.peers.check_watchers()

    @contextmanager
    def _counted(self, account: Account) -> Iterator[None]:
        """Count a stream of *account* while it is open. Raises `TooManyRequests` if it would be one too many."""
        if self._open[account] >= self._max_streams:
            self.refused += 1
            msg = f"This tenant has {self._max_streams} event streams open, and may not have more at once."
            raise TooManyRequests(msg, _STREAM_RETRY_S)
        self._open[account] += 1
        try:
            yield
        finally:
            self._open[account] -= 1
            if not self._open[account]:
                del self._open[account]
