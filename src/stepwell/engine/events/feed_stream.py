"""The events of all workflows as they happen: one reader a process for all who follow them.

What must hold:
- While somebody follows, the table is read once after each hint that something has committed, and again as long as
  there is something that can't be shown yet; otherwise nothing is read.
- All who follow are offered each event once, in the order of `domain.feed`, from where the reader stood when they came.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from msgspec import Struct

from stepwell.domain.errors import Fault, InvalidRequest, Unavailable
from stepwell.domain.event_feed import EVERYTHING, FeedCursor, FeedEvent, FeedFilter, FeedPage
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.events.event_stream import FAILED, STOPPING, EventStream, QueuedEvent, SendBuffer
from stepwell.ports.events import EventFeed

log = structlog.get_logger()

FeedFrame = Callable[[FeedEvent], bytes]
_PAGE = 500
_APART_S = 0.02
_SLICE_S = 0.01
_LAST_DELAY_S = 1.0


class FeedSubscriber(Struct, eq=False):
    """Who gets what."""

    scope: TenantScope
    wanted: FeedFilter
    outlet: SendBuffer[FeedCursor]


class FeedReader:
    """*again_s*: how often it looks without a hint, where other processes may write that are not heard of."""

    def __init__(self, feed: EventFeed, frame: FeedFrame, again_s: float | None) -> None:
        self._feed, self._frame, self._again_s = feed, frame, again_s
        self._followers: set[FeedSubscriber] = set()
        self._starting = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._delay_s = _APART_S
        self._closed = False
        self.position: FeedCursor | None = None  # all before it has been offered to those who follow

    @property
    def followed(self) -> bool:
        return bool(self._followers)

    def stir(self) -> None:
        """Something may have committed."""
        if self._followers:
            self._stirred.set()

    async def join(self, follower: FeedSubscriber) -> FeedCursor:
        """From now on *follower* is offered what lies behind the position that is given back; after `leave` no more.
        Raises `Unavailable`.
        """
        self._followers.add(follower)
        async with self._starting:
            if self.position is None:
                self.position = await self._feed.now()
            position = self.position
        self.stir()
        if self._closed:
            follower.outlet.end(STOPPING)
        return position

    def leave(self, follower: FeedSubscriber) -> None:
        self._followers.discard(follower)
        if not self._followers:
            self.position = None

    def close(self) -> None:
        self._closed = True
        self._end(STOPPING)

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stirred.wait()
            self._stirred.clear()
            pause = await self._round()
            await asyncio.sleep(_APART_S)

    async def _round(self) -> float | None:
        """How long to wait for a hint before the next one."""
        try:
            lagging = await self._read()
        except Unavailable:
            return _LAST_DELAY_S
        except Exception:  # a row that can't be read must not end the service
            log.exception("events.unreadable", action="follow")
            self._end(FAILED)
            return None
        if not self._followers:
            return None
        self._delay_s = min(self._delay_s * 2, _LAST_DELAY_S) if lagging else _APART_S
        return self._delay_s if lagging else self._again_s

    async def _read(self) -> bool:
        """Whether there is something left that can't be shown yet."""
        page = None
        while (position := self.position) is not None and (page is None or page.more):
            page = await self._feed.page(EVERY_TENANT, EVERYTHING, position, _PAGE)
            if self.position is position:  # else all have left meanwhile, and others may have come
                await self._publish(page)
        return page is not None and page.lagging

    async def _publish(self, page: FeedPage) -> None:
        """In slices, between which others have their turn: there may be a thousand who follow."""
        until = time.monotonic() + _SLICE_S
        for event in page.events:
            item = None
            for follower in self._followers:
                if follower.wanted.takes(follower.scope, event):
                    item = item or QueuedEvent(event.position, self._frame(event))
                    follower.outlet.offer(item)
            self.position = event.position
            if time.monotonic() > until:
                await asyncio.sleep(0)
                if self.position is not event.position:
                    return  # all have left meanwhile
                until = time.monotonic() + _SLICE_S
        self.position = page.position

    def _end(self, farewell: str) -> None:
        for follower in tuple(self._followers):
            follower.outlet.end(farewell)


class FeedStream(EventStream[FeedCursor]):
    """What *follower* wants behind *after*; null: from now on."""

    def __init__(
        self, feed: EventFeed, tail: FeedReader, follower: FeedSubscriber, frame: FeedFrame, after: FeedCursor | None
    ) -> None:
        super().__init__(follower.outlet)
        self._feed, self._tail, self._follower, self._frame = feed, tail, follower, frame
        self._after = after

    async def open(self) -> None:
        """Raises `Unavailable`, and `InvalidRequest` for a position that this database has never had."""
        position = await self._tail.join(self._follower)
        if self._after is None:
            self._after = position
            self._outlet.unsure = False
        else:
            await super().open()

    @property
    def position(self) -> str | None:
        """As far as it has come, also where nothing is wanted."""
        if self._first:
            return None
        assert self._after is not None
        tail = self._tail.position
        if tail is not None and self._outlet.idle:
            self._after = max(self._after, tail)
        return self._after.cursor

    async def read(self) -> tuple[bytes, bool]:
        assert self._after is not None
        page = await self._feed.page(self._follower.scope, self._follower.wanted, self._after, _PAGE)
        check_position(self._after, page)
        self._after = page.position
        return b"".join(map(self._frame, page.events)), page.more

    def sorted(self, items: Sequence[QueuedEvent[FeedCursor]]) -> bytes:
        frames = []
        for item in items:
            assert self._after is not None
            if item.place > self._after:
                self._after = item.place
                frames.append(item.frame)
        return b"".join(frames)


def check_position(after: FeedCursor, page: FeedPage) -> None:
    """Raise `InvalidRequest` if *after* can't have been handed out here: behind it there would be nothing for ages."""
    if after > page.bound:
        raise InvalidRequest([Fault(("query", "cursor"), "Expected a cursor of this database", "cursor")])
