"""Those who follow events: of one workflow, or of all that they may see."""

import asyncio
import time
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from stepwell.domain.errors import Unavailable
from stepwell.domain.event_feed import BEGINNING, FeedCursor, FeedEvent, FeedFilter, FeedPage
from stepwell.domain.tenancy import TenantScope
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.events.event_stream import EventStream, SendBuffer
from stepwell.engine.events.feed_stream import FeedFrame, FeedReader, FeedStream, FeedSubscriber, check_position
from stepwell.engine.events.peer_notifications import PeerNotifications
from stepwell.engine.events.workflow_stream import EventFrame, WorkflowStream, WorkflowSubscribers
from stepwell.ports.events import EventFeed, Notifications

log = structlog.get_logger()

# How often the table is asked for what other processes do, in case that no hint has come.
_ASK_AGAIN_S = 5.0
# For one page, of which little may be wanted.
_SEARCH_S = 1.0


class EventSubscriptions:
    """*frame* and *feed_frame* encode an event as it is sent. *hints* null means that no other process can write into
    this database; *running* are the workflows in this one's memory. `open` counts those who follow, who are told every
    `heartbeat_s` that it still works.
    """

    def __init__(
        self,
        feed: EventFeed,
        bus: EventBus,
        frame: EventFrame,
        feed_frame: FeedFrame,
        hints: Notifications | None,
        running: Container[UUID],
        *,
        heartbeat_s: float,
        ask_again_s: float = _ASK_AGAIN_S,
    ) -> None:
        self._feed, self._bus, self._frame, self._feed_frame = feed, bus, frame, feed_frame
        self._channels = WorkflowSubscribers(bus, frame)
        self._tail = FeedReader(feed, feed_frame, None if hints is None else ask_again_s)
        self._neighbours = (
            None if hints is None else PeerNotifications(hints, feed, bus, self._tail, running, ask_again_s)
        )
        self.heartbeat_s = heartbeat_s
        self.open = 0
        bus.listen(self._committed)
        bus.on_look = self._tail.stir

    def _committed(self, _: CommittedEvents) -> None:
        self._tail.stir()

    async def run(self) -> None:
        """Until it is cancelled; then it is closed, too."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tail.run(), name="tail")
                group.create_task(self._adopt(), name="events of a backup")
                if self._neighbours is not None:
                    group.create_task(self._neighbours.run(), name="neighbours")
        finally:
            self.close()

    async def _adopt(self) -> None:
        found = True
        while found:
            try:
                found = await self._feed.adopt()
            except Unavailable:
                await asyncio.sleep(_ASK_AGAIN_S)
            except Exception:  # without them the service does all the rest
                log.exception("events.not_adopted", action="follow")
                return

    def close(self) -> None:
        """End all streams, and all waiting on the bus; those that come from now on end at once."""
        self._bus.close()
        self._tail.close()

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None, limit: int) -> FeedPage:
        """Up to *limit* of the *wanted* events behind *after*, or from the beginning. Raises `InvalidRequest` for a
        position that this database has never had.
        """
        until = time.monotonic() + _SEARCH_S
        position = after or BEGINNING
        found: list[FeedEvent] = []
        while True:
            page = await self._feed.page(scope, wanted, position, limit - len(found))
            check_position(position, page)
            found += page.events
            if not page.more or len(found) == limit or time.monotonic() > until:
                return FeedPage(found, page.position, page.bound, page.more, page.lagging)
            position = page.position

    @asynccontextmanager
    async def follow(self, scope: TenantScope, workflow_id: UUID, after: int) -> AsyncIterator[EventStream[int]]:
        """The events of one workflow from number *after* + 1 on. Raises `NotFound`, `Unavailable`."""
        outlet = SendBuffer[int]()
        stream = WorkflowStream(self._feed, outlet, self._frame, scope, workflow_id, after)
        self._channels.join(workflow_id, outlet)
        self.open += 1
        try:
            await stream.open()
            yield stream
        finally:
            self.open -= 1
            self._channels.leave(workflow_id, outlet)

    @asynccontextmanager
    async def follow_all(
        self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None
    ) -> AsyncIterator[EventStream[FeedCursor]]:
        """The *wanted* events of all workflows of *scope* behind *after*, or from now on. Raises `InvalidRequest` for a
        position that this database has never had, `Unavailable`.
        """
        follower = FeedSubscriber(scope, wanted, SendBuffer())
        stream = FeedStream(self._feed, self._tail, follower, self._feed_frame, after)
        self.open += 1
        try:
            await stream.open()
            if self._neighbours is not None:
                self._neighbours.consider()
            yield stream
        finally:
            self.open -= 1
            self._tail.leave(follower)
            if self._neighbours is not None:
                self._neighbours.consider()
