"""`ports.storage.EventFeed` in memory."""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from uuid import UUID

from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.model import HistoryEvent
from stepwell.rules.event_feed import FeedCursor, FeedEvent, FeedFilter, FeedPage, HistoryPage
from stepwell.testing.memory_tables import MemoryAdapter


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
