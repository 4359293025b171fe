"""`ports.storage.EventFeed`, `ports.processes.Notifications` and `ports.processes.Presence` in memory."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.model import HistoryEvent
from stepwell.ports.processes import CommandListener
from stepwell.rules.event_feed import FeedCursor, FeedEvent, FeedFilter, FeedPage, HistoryPage
from stepwell.testing.memory_tables import MemoryAdapter, MemorySubscription, Tables


class MemoryEventFeed(MemoryAdapter):
    async def history(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> HistoryPage | None:
        if (row := self._tables.find(scope, workflow_id)) is None:
            return None
        later = [event for event in row.events if event.id > after][:limit]
        return HistoryPage(later, row.record.state.status, row.record.state.last_event)

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor, limit: int) -> FeedPage:
        bound = self._bound()
        events: list[FeedEvent] = []
        start = bisect_right(self._tables.log, after, key=lambda entry: entry[0])
        for position, event in self._tables.log[start:]:
            if len(events) == limit:
                break
            if wanted.accepts(scope, feed_event := self._feed_event(position, event)):
                events.append(feed_event)
        full = len(events) == limit
        return FeedPage(
            events, events[-1].position if full and events else max(after, bound), bound, more=full, lagging=False
        )

    async def end(self) -> FeedCursor:
        return self._bound()

    async def renumber_restored(self) -> bool:
        return False

    async def last_events(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> Mapping[UUID, int]:
        rows = self._tables.find_all(scope, workflow_ids)
        return {row.record.state.id: row.record.state.last_event for row in rows}

    def _bound(self) -> FeedCursor:
        return FeedCursor.before(self._tables.transactions + 1)

    def _feed_event(self, position: FeedCursor, event: HistoryEvent) -> FeedEvent:
        record = self._tables.workflows[position.workflow_id].record
        return FeedEvent(
            event, position.workflow_id, record.tenant, record.origin_instance, record.state.status, position
        )


class MemoryNotifications(MemoryAdapter):
    """`ports.processes.Notifications` of the process *owner*."""

    def __init__(self, tables: Tables, owner: UUID) -> None:
        super().__init__(tables)
        self._owner = owner

    async def send(self, workflow_ids: Collection[UUID]) -> None:
        self._tables.workflow_channel.notify(self._owner, list(workflow_ids))

    def listen(
        self, on_notification: Callable[[Collection[UUID] | None], None]
    ) -> AbstractAsyncContextManager[MemorySubscription]:
        return self._tables.subscribed(self._tables.workflow_channel, self._owner, on_notification)


class MemoryPresence(MemoryAdapter):
    """`ports.processes.Presence` of the process *owner*. `MemoryLeaseStore` notifies of changes of leases."""

    def __init__(self, tables: Tables, owner: UUID) -> None:
        super().__init__(tables)
        self._owner = owner

    async def announce(self) -> None:
        self._tables.process_channel.notify(self._owner, None)

    async def send(self, kind: str, body: str) -> None:
        self._tables.process_channel.notify(self._owner, (kind, body))

    @asynccontextmanager
    async def watch(
        self,
        on_change: Callable[[], None],
        commands: Sequence[CommandListener] = (),
        on_message: Callable[[str, str], None] = lambda _kind, _body: None,
    ) -> AsyncIterator[MemorySubscription]:
        def on_payload(message: tuple[str, str] | None) -> None:
            if message is None:
                on_change()
            else:
                on_message(*message)

        async with self._tables.subscribed(self._tables.process_channel, self._owner, on_payload) as subscription:
            if commands:
                self._tables.command_listeners[self._owner] = commands
            try:
                yield subscription
            finally:
                self._tables.command_listeners.pop(self._owner, None)
