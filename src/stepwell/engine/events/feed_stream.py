"""The live feed of the events of all workflows: one reader per process serves all subscribers.

What must hold:
- While there are subscribers, the database is read once after each sign that something was committed, and again as long
  as an event can't be sent yet. Otherwise nothing is read.
- Every subscriber gets each event once, in the order of `rules.event_feed`. One without a cursor gets no event
  that was there when it joined, however far behind the reader is.
- Events are encoded once for all subscribers with the same filter. They are read no more often than one of the
  subscribers wants.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate

import structlog
from msgspec import Struct

from stepwell.basics.errors import Fault, InvalidRequest, Unavailable
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.events.event_stream import FAILED, STOPPING, EventStream, QueuedEvent, SendBuffer
from stepwell.ports.storage import EventFeed
from stepwell.rules.access.cursors import FeedCursors
from stepwell.rules.event_feed import EVERYTHING, FeedCursor, FeedEvent, FeedFilter, FeedPage

log = structlog.get_logger()

FeedFrame = Callable[[FeedEvent], bytes]
_PAGE = 500
_FEWEST, _MOST = 32, 256  # events in a batch
_CHECKS = 8_192  # of events against filters, in a batch of more than the fewest
_APART_S = 0.02
_SLICE_S = 0.01
_LAST_DELAY_S = 1.0


class FeedSubscriber(Struct, eq=False):
    """The send buffer of one subscriber, and the events that it wants, at most *delay_s* seconds late."""

    scope: TenantScope
    wanted: FeedFilter
    buffer: SendBuffer[FeedCursor]
    delay_s: float = 0.0


class FeedReader:
    """Reads the event feed for all subscribers of this process.

    *poll_s*: seconds between reads without a notification, because other processes may write.
    """

    def __init__(self, feed: EventFeed, frame: FeedFrame, poll_s: float) -> None:
        self._feed, self._frame, self.poll_s = feed, frame, poll_s
        self._subscribers: set[FeedSubscriber] = set()
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()  # there is a subscriber that doesn't wait as long as the present pause
        self._apart_s = _APART_S  # until the next read
        self._pushed = False  # the present round has found events
        self._delay_s = _APART_S
        self._closed = False
        self.position: FeedCursor | None = None  # all events before it have been pushed to the subscribers

    @property
    def has_subscribers(self) -> bool:
        return bool(self._subscribers)

    def wake(self) -> None:
        """Read again, because something may have been committed."""
        if self._subscribers:
            self._changed.set()

    async def join(self, subscriber: FeedSubscriber, *, from_now: bool) -> FeedCursor:
        """Push events to *subscriber* until `leave`. Return the position before the first. Raises `Unavailable`.

        With *from_now* it isn't before the end of the feed, although the reader may yet have to push older events.
        """
        self._subscribers.add(subscriber)
        if subscriber.delay_s < self._apart_s:
            self._hurry.set()
        position = self.position
        if from_now or position is None:
            end = await self._feed.end()
            if self.position is None:
                self.position = end
            position = max(self.position, end)
        self.wake()
        if self._closed:
            subscriber.buffer.end(STOPPING)
        return position

    def leave(self, subscriber: FeedSubscriber) -> None:
        self._subscribers.discard(subscriber)
        if not self._subscribers:
            self.position = None

    def close(self) -> None:
        self._closed = True
        self._end(STOPPING)

    async def run(self) -> None:
        pause = math.inf
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause if pause < math.inf else None):
                    await self._changed.wait()
            self._changed.clear()
            self._pushed = False
            pause = await self._round()
            self._hurry.clear()
            delays = [subscriber.delay_s for subscriber in self._subscribers] if self._pushed else []
            self._apart_s = max(_APART_S, min(delays, default=0.0))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._apart_s):
                    await self._hurry.wait()

    async def _round(self) -> float:
        """Read once. Return the seconds to wait at most before the next read; infinite to wait for a notification."""
        try:
            lagging = await self._read()
        except Unavailable:
            return _LAST_DELAY_S
        except Exception:  # a row that can't be read must not end the service
            log.exception("events.unreadable", action="follow")
            self._end(FAILED)
            return math.inf
        if not self._subscribers:
            return math.inf
        self._delay_s = min(self._delay_s * 2, _LAST_DELAY_S) if lagging else _APART_S
        return self._delay_s if lagging else self.poll_s

    async def _read(self) -> bool:
        """Read and push all new events. Return whether there are some that can't be sent yet."""
        page = None
        while (position := self.position) is not None and (page is None or page.more):
            page = await self._feed.page(EVERY_TENANT, EVERYTHING, position, _PAGE)
            if self.position is position:  # else all subscribers have left, and new ones may have come
                await self._push(page)
        return page is not None and page.lagging

    async def _push(self, page: FeedPage) -> None:
        """Push events in time slices, because a thousand subscribers would block the loop."""
        until = time.monotonic() + _SLICE_S
        filters = len({(each.scope, each.wanted) for each in self._subscribers})
        size = max(_FEWEST, min(_MOST, _CHECKS // max(filters, 1)))
        for start in range(0, len(page.events), size):
            events = page.events[start : start + size]
            self._push_batch(events)
            self.position = events[-1].position
            if time.monotonic() > until:
                await asyncio.sleep(0)
                if self.position is not events[-1].position:
                    return  # all subscribers have left
                until = time.monotonic() + _SLICE_S
        self.position = page.position

    def _push_batch(self, events: Sequence[FeedEvent]) -> None:
        self._pushed = True
        frames: dict[FeedCursor, QueuedEvent[FeedCursor]] = {}
        batches: dict[tuple[TenantScope, FeedFilter], QueuedEvent[FeedCursor] | None] = {}
        for subscriber in self._subscribers:
            key = (subscriber.scope, subscriber.wanted)
            if key not in batches:
                accepted = [event for event in events if subscriber.wanted.accepts(subscriber.scope, event)]
                batches[key] = _join([self._queue(event, frames) for event in accepted])
            if (batch := batches[key]) is not None:
                subscriber.buffer.push(batch)

    def _queue(self, event: FeedEvent, frames: dict[FeedCursor, QueuedEvent[FeedCursor]]) -> QueuedEvent[FeedCursor]:
        """Return *event*, encoded once for all filters."""
        if event.position not in frames:
            frames[event.position] = QueuedEvent(event.position, self._frame(event))
        return frames[event.position]

    def _end(self, reason: str) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber.buffer.end(reason)


def _join(events: Sequence[QueuedEvent[FeedCursor]]) -> QueuedEvent[FeedCursor] | None:
    if len(events) <= 1:
        return events[0] if events else None
    frame = b"".join(event.frame for event in events)
    ends = zip([event.cursor for event in events], accumulate(len(event.frame) for event in events), strict=True)
    return QueuedEvent(events[-1].cursor, frame, ends=tuple(ends))


class FeedStream(EventStream[FeedCursor]):
    """Streams the events that *subscriber* wants, after the position *after*; from now on if *after* is None."""

    def __init__(
        self,
        feed: EventFeed,
        reader: FeedReader,
        subscriber: FeedSubscriber,
        frame: FeedFrame,
        cursors: FeedCursors,
        after: FeedCursor | None,
    ) -> None:
        super().__init__(subscriber.buffer, subscriber.delay_s)
        self._feed, self._reader, self._subscriber, self._frame = feed, reader, subscriber, frame
        self._cursors, self._after = cursors, after

    async def open(self) -> None:
        """Raises `Unavailable`, and `InvalidRequest` for a position that this database has never had."""
        position = await self._reader.join(self._subscriber, from_now=self._after is None)
        if self._after is None:
            self._after = position
            self._buffer.needs_reload = False
        else:
            await super().open()

    @property
    def position(self) -> str | None:
        """The position up to which all events were read, including those that the filter refuses."""
        if self._first:
            return None
        assert self._after is not None
        reached = self._reader.position
        if reached is not None and self._buffer.idle:
            self._after = max(self._after, reached)
        return self._cursors.issue(self._after)

    async def read(self) -> tuple[bytes, bool]:
        assert self._after is not None
        page = await self._feed.page(self._subscriber.scope, self._subscriber.wanted, self._after, _PAGE)
        check_position(self._after, page)
        self._after = page.position
        return b"".join(map(self._frame, page.events)), page.more

    def merge_live(self, queued: Sequence[QueuedEvent[FeedCursor]]) -> bytes:
        events: list[QueuedEvent[FeedCursor]] = []
        assert self._after is not None
        for event in queued:
            if event.ends and event.ends[0][0] <= self._after:  # some of them are sent
                sent = [end for cursor, end in event.ends if cursor <= self._after]
                if rest := event.frame[sent[-1] :]:
                    events.append(QueuedEvent(event.cursor, rest))
            elif event.cursor > self._after:
                events.append(event)
            self._after = max(self._after, event.cursor)
        return b"".join(event.frame for event in events)


def check_position(after: FeedCursor, page: FeedPage) -> None:
    """Raise `InvalidRequest` if this database can't have issued *after*: no later event would come for a long time."""
    if after > page.bound:
        raise InvalidRequest([Fault(("query", "cursor"), "Expected a cursor of this database", "cursor")])
