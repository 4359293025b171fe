"""Notifications between the processes on one database: what this one commits, and what the others have committed.

What must hold:
- A notification is only a hint. Watched workflows that don't run here are also polled now and then, all by one
  statement, so that a lost notification costs some seconds and nothing else.
- No writer waits for a notification to be sent. What is committed in the meantime goes into the next one.
- While nobody watches here, this process neither listens nor polls.
"""

import asyncio
from collections.abc import Collection, Container, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.events.feed_stream import FeedReader
from stepwell.ports.processes import Coordination, Notifications
from stepwell.ports.storage import EventFeed
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

_APART_S = 0.05  # between two notifications
_LINGER_S = 10.0  # listening goes on after the last watcher, because each start takes a new connection


class PeerNotifications:
    """Sends and receives notifications between processes.

    *running*: the workflows of this process, whose events the bus publishes anyway. The others that are watched are
    polled every `poll_s` seconds.
    """

    def __init__(
        self, coordination: Coordination, feed: EventFeed, bus: EventBus, reader: FeedReader, running: Container[UUID]
    ) -> None:
        self._coordination, self._feed, self._bus, self._reader = coordination, feed, bus, reader
        self._running, self.poll_s = running, coordination.poll_s
        self._committed: set[UUID] = set()
        self._last_events: dict[UUID, int] = {}
        self._any_committed, self._watched, self._unwatched = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def check_watchers(self) -> None:
        """Start or stop listening, because the watchers may have changed."""
        on, off = (self._watched, self._unwatched)
        if not self._bus.watched and not self._reader.has_subscribers:
            on, off = off, on
        on.set()
        off.clear()

    async def run(self) -> None:
        """Send and receive until cancelled, once there can be other processes."""
        notifications = (await self._coordination.other_processes()).notifications
        self._bus.listeners.append(self._on_committed)
        self._bus.on_watched = self.check_watchers
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(notifications), name="notifications to peers")
            group.create_task(self._listen(notifications), name="notifications of peers")
            group.create_task(self._poll(), name="poll of peers' workflows")

    def _on_committed(self, committed: CommittedEvents) -> None:
        self._committed.add(committed.workflow_id)
        self._any_committed.set()

    async def _send(self, notifications: Notifications) -> None:
        while True:
            await self._any_committed.wait()
            self._any_committed.clear()
            committed, self._committed = self._committed, set()
            with self._logging_failures():
                await notifications.send(committed)
            await asyncio.sleep(_APART_S)

    async def _listen(self, notifications: Notifications) -> None:
        while True:
            await self._watched.wait()
            with self._logging_failures():
                async with notifications.listen(self._on_notification) as subscription, asyncio.TaskGroup() as group:
                    self._on_notification(None)  # what was committed before
                    lost = group.create_task(subscription.until_disconnected(), name="lost notifications")
                    while not lost.done() and await self._is_needed(lost):
                        pass
                    lost.cancel()
            if self._watched.is_set():
                await asyncio.sleep(OUTAGE_RETRY_S)

    async def _is_needed(self, lost: asyncio.Task[None]) -> bool:
        """Wait for a change. Return False after `_LINGER_S` without a watcher, True when *lost* is done or there is a
        watcher again.
        """
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(self._unwatched.wait(), name="unwatched")
            await asyncio.wait({lost, leaving}, return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if lost.done():
                return True
            coming = group.create_task(self._watched.wait(), name="watched")
            done, _ = await asyncio.wait({lost, coming}, timeout=_LINGER_S, return_when=asyncio.FIRST_COMPLETED)
            coming.cancel()
        return bool(done)

    @contextmanager
    def _logging_failures(self) -> Iterator[None]:
        """Log a failure and go on, because the next round repairs it."""
        try:
            yield
        except Unavailable:
            pass
        except Exception as error:  # noqa: BLE001 - a database that knows no LISTEN must not end the service
            log.warning("peers.disconnected", action="follow", error=repr(error))

    def _on_notification(self, workflow_ids: Collection[UUID] | None) -> None:
        self._bus.invalidate(tuple(self._bus.watched) if workflow_ids is None else workflow_ids)

    async def _poll(self) -> None:
        while True:
            await self._watched.wait()
            await asyncio.sleep(self.poll_s)
            elsewhere = [each for each in self._bus.watched if each not in self._running]
            if elsewhere:
                with self._logging_failures():
                    last_events = await self._feed.last_events(EVERY_TENANT, elsewhere)
                    # Without its data, a workflow has no last event any more.
                    changed = [
                        each
                        for each in elsewhere
                        if each not in last_events or self._last_events.get(each) != last_events[each]
                    ]
                    self._bus.invalidate(changed)
                    self._last_events = dict(last_events)
