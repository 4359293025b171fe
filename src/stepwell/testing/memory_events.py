"""`ports.storage.EventFeed`, `ports.webhooks.Outbox` and `ports.webhooks.Deliveries` in memory."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from stepwell.basics.errors import NotFound, StillRunning
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import DeliveryStatus
from stepwell.contract.events import DeliveryAttemptPublic, DeliveryPublic
from stepwell.lifecycle.model import HistoryEvent
from stepwell.lifecycle.preconditions import Preconditions, Version
from stepwell.lifecycle.webhook_deliveries import MAX_ATTEMPTS, DeliveryVerdict, DueDelivery, delivery_id
from stepwell.ports.webhooks import AddressedDelivery, Backlog
from stepwell.rules.event_feed import FeedCursor, FeedEvent, FeedFilter, FeedPage, HistoryPage
from stepwell.testing.memory_tables import NEVER, DeliveryRow, MemoryAdapter, WorkflowRow


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
        about = (position.workflow_id, record.tenant, record.origin_instance, record.state.status)
        return FeedEvent(event, *about, position, record.definition)


class MemoryOutbox(MemoryAdapter):
    async def take_over(self, owner: UUID) -> dict[str, datetime]:
        lanes: dict[str, datetime] = {}
        for row in self._tables.pending_deliveries():
            assert row.next_at is not None
            if self._tables.may_take_over(row.workflow_id) and self._tables.is_orphan(row.owner, row.next_at):
                row.owner = owner
            if row.owner == owner:
                lanes[row.lane] = min(row.next_at, lanes.get(row.lane, row.next_at))
        return lanes

    async def due(self, owner: UUID, lanes: Sequence[str], limit: int) -> list[DueDelivery]:
        deliveries = []
        for lane in sorted(lanes):
            rows = [row for row in self._own(owner) if row.lane == lane]
            rows.sort(key=lambda row: row.next_at or NEVER)
            deliveries += [_due(self._tables.workflows[row.workflow_id], row) for row in rows[:limit]]
        return deliveries

    async def freeze(self, owner: UUID, due: DueDelivery, body: str | None) -> str | None:
        if (row := self._current(owner, due)) is None:
            return None
        if row.body is None:
            row.body = body
        return row.body

    async def change_lane(self, owner: UUID, due: DueDelivery, lane: str) -> None:
        if (row := self._current(owner, due)) is not None:
            row.lane = lane

    async def record(
        self, owner: UUID, due: DueDelivery, verdict: DeliveryVerdict, attempt: DeliveryAttemptPublic | None
    ) -> datetime | None:
        if (row := self._find(due)) is None:
            return None
        # If the attempt is in the row already, it was recorded before, and the result was lost.
        if attempt is not None and not (row.attempts and row.attempts[-1].at == attempt.at):
            row.attempts = [*row.attempts, attempt][-MAX_ATTEMPTS:]
        if row.owner == owner and row.next_at == due.next_at:
            row.status, row.tries, row.next_at = verdict.status, verdict.tries, verdict.next_at
        return row.next_at if row.owner == owner else None

    async def backlog(self, owner: UUID) -> Backlog:
        created = [row.delivery.at for row in self._own(owner)]
        return Backlog(len(created), min(created, default=None))

    def _own(self, owner: UUID) -> list[DeliveryRow]:
        return [row for row in self._tables.pending_deliveries() if row.owner == owner]

    def _find(self, due: DueDelivery) -> DeliveryRow | None:
        workflow = self._tables.workflows.get(due.workflow_id)
        return None if workflow is None else workflow.deliveries.get(due.event_id)

    def _current(self, owner: UUID, due: DueDelivery) -> DeliveryRow | None:
        """Return the row. None if it has another owner, or was tried or redelivered after *due* was read."""
        row = self._find(due)
        return row if row is not None and row.owner == owner and row.next_at == due.next_at else None


class MemoryDeliveries(MemoryAdapter):
    async def page(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> list[DeliveryPublic] | None:
        if (workflow := self._tables.find(scope, workflow_id)) is None:
            return None
        return [_record(workflow.deliveries[n]) for n in sorted(workflow.deliveries) if n > after][:limit]

    async def address(self, scope: TenantScope, workflow_id: UUID, event_id: int) -> AddressedDelivery:
        workflow = self._tables.find(scope, workflow_id)
        if workflow is None or event_id not in workflow.deliveries:
            raise NotFound("delivery")
        state = workflow.record.state
        return AddressedDelivery(
            state.webhook_url, workflow.record.tenant, Version.of(state.last_event, state.updated_at)
        )

    async def redeliver(
        self, scope: TenantScope, workflow_id: UUID, event_id: int, lane: str, owner: UUID, preconditions: Preconditions
    ) -> DeliveryPublic:
        workflow = self._tables.find(scope, workflow_id)
        if workflow is not None:
            preconditions.check(workflow.record.state)
        if (claim := preconditions.claim) is not None:
            key = self._tables.own_key(claim)
            if key is None or key.applied_to is not None:
                raise StillRunning
        row = None if workflow is None else workflow.deliveries.get(event_id)
        if row is None:
            raise NotFound("delivery")
        if claim is not None:
            self._tables.mark_applied(claim, workflow_id)
        row.status, row.tries, row.next_at = DeliveryStatus.PENDING, 0, self._tables.clock.now()
        row.lane, row.owner = lane, owner
        return _record(row)


def _due(workflow: WorkflowRow, row: DeliveryRow) -> DueDelivery:
    record, number = workflow.record, row.delivery.event_id
    assert row.next_at is not None
    return DueDelivery(
        row.workflow_id,
        row.lane,
        row.next_at,
        row.tries,
        row.body is not None,
        number,
        next(event for event in workflow.events if event.id == number),
        record.tenant,
        record.state.webhook_url,
        record.origin_instance,
        record.origin_reference,
        record.total_steps,
    )


def _record(row: DeliveryRow) -> DeliveryPublic:
    delivery = row.delivery
    return DeliveryPublic(
        delivery_id(row.workflow_id, delivery.event_id),
        delivery.event_id,
        delivery.type,
        row.status,
        row.next_at,
        delivery.at,
        list(row.attempts),
    )
