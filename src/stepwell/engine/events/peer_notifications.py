"""Other processes on the same database: they hear what has committed here, and those who watch here hear of them.

What must hold:
- A word between processes is a hint. The table is the truth: what is watched and doesn't run here is asked for now and
  then, all by one statement, so that a lost hint costs some seconds and nothing else.
- Nobody who writes waits for it: what has committed meanwhile is told by the next hint.
- Without anybody who watches, nothing is listened to or asked for.
"""

import asyncio
from collections.abc import Collection, Container, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from stepwell.domain.errors import Unavailable
from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.events.feed_stream import FeedReader
from stepwell.ports.events import EventFeed, Notifications

log = structlog.get_logger()

_APART_S = 0.05  # between two hints
_RETRY_S = 0.5
_LINGER_S = 10.0  # to listen takes a connection, which is not made anew for each request that waits for something


class PeerNotifications:
    """*running* are the workflows whose events are told here anyway; *again_s*: how often the table is asked."""

    def __init__(
        self,
        hints: Notifications,
        feed: EventFeed,
        bus: EventBus,
        tail: FeedReader,
        running: Container[UUID],
        again_s: float,
    ) -> None:
        self._hints, self._feed, self._bus, self._tail = hints, feed, bus, tail
        self._running, self._again_s = running, again_s
        self._committed: set[UUID] = set()
        self._known: dict[UUID, int] = {}
        self._any_committed, self._watched, self._unwatched = asyncio.Event(), asyncio.Event(), asyncio.Event()
        bus.listen(self._note)
        bus.on_watched = self.consider

    def consider(self) -> None:
        """Whether anybody watches may have changed."""
        on, off = (self._watched, self._unwatched)
        if not self._bus.watched and not self._tail.followed:
            on, off = off, on
        on.set()
        off.clear()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(), name="hints to others")
            group.create_task(self._listen(), name="hints of others")
            group.create_task(self._ask(), name="news of others")

    def _note(self, committed: CommittedEvents) -> None:
        self._committed.add(committed.workflow_id)
        self._any_committed.set()

    async def _tell(self) -> None:
        while True:
            await self._any_committed.wait()
            self._any_committed.clear()
            told, self._committed = self._committed, set()
            with self._shrugged_off():
                await self._hints.send(told)
            await asyncio.sleep(_APART_S)

    async def _listen(self) -> None:
        while True:
            await self._watched.wait()
            with self._shrugged_off():
                async with self._hints.listening(self._heard) as ear, asyncio.TaskGroup() as group:
                    self._heard(None)  # what has come before
                    deaf = group.create_task(ear.until_deaf(), name="deaf")
                    while not deaf.done() and await self._needed(deaf):
                        pass
                    deaf.cancel()
            if self._watched.is_set():
                await asyncio.sleep(_RETRY_S)

    async def _needed(self, deaf: asyncio.Task[None]) -> bool:
        """False once nobody has watched for a while; true when *deaf* is done, or somebody begins to watch again."""
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(self._unwatched.wait(), name="unwatched")
            await asyncio.wait({deaf, leaving}, return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if deaf.done():
                return True
            coming = group.create_task(self._watched.wait(), name="watched")
            done, _ = await asyncio.wait({deaf, coming}, timeout=_LINGER_S, return_when=asyncio.FIRST_COMPLETED)
            coming.cancel()
        return bool(done)

    @contextmanager
    def _shrugged_off(self) -> Iterator[None]:
        """It goes wrong only here, and there is a next time."""
        try:
            yield
        except Unavailable:
            pass
        except Exception as error:  # noqa: BLE001 - a database that knows no LISTEN must not end the service
            log.warning("neighbours.unheard", action="follow", error=repr(error))

    def _heard(self, workflow_ids: Collection[UUID] | None) -> None:
        self._bus.look(tuple(self._bus.watched) if workflow_ids is None else workflow_ids)

    async def _ask(self) -> None:
        while True:
            await self._watched.wait()
            await asyncio.sleep(self._again_s)
            elsewhere = [each for each in self._bus.watched if each not in self._running]
            if elsewhere:
                with self._shrugged_off():
                    found = await self._feed.last_events(EVERY_TENANT, elsewhere)
                    self._bus.look([each for each, last in found.items() if self._known.get(each) != last])
                    self._known = dict(found)
