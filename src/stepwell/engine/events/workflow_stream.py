"""The events of one workflow, from the table and as they happen.

Their numbers have no gaps, and that is what the seam rests on: what has been sent already is dropped, and where one is
missing the table is read. A stream ends when the last event that it has sent was the last one of a workflow that has
ended; one that is resumed meanwhile has more events, and so goes on.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from stepwell.contract.enums import TERMINAL_STATUSES, WorkflowStatus
from stepwell.domain.errors import NotFound
from stepwell.domain.model import HistoryEvent
from stepwell.domain.tenancy import TenantScope
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.events.event_stream import STOPPING, EventStream, QueuedEvent, SendBuffer
from stepwell.ports.events import EventFeed

EventFrame = Callable[[HistoryEvent], bytes]
_PAGE = 500


class SubscribersOfWorkflow:
    """A `bus.Watcher` for all who follow one workflow: each event is encoded once for all of them."""

    def __init__(self, frame: EventFrame) -> None:
        self.outlets: set[SendBuffer[int]] = set()
        self._frame = frame

    def told(self, committed: CommittedEvents) -> None:
        last = committed.events[-1]
        for event in committed.events:
            item = QueuedEvent(event.id, self._frame(event), committed.status if event is last else None)
            for outlet in self.outlets:
                outlet.offer(item)

    def look(self) -> None:
        for outlet in self.outlets:
            outlet.look()

    def close(self) -> None:
        for outlet in self.outlets:
            outlet.end(STOPPING)


class WorkflowSubscribers:
    def __init__(self, bus: EventBus, frame: EventFrame) -> None:
        self._bus, self._frame = bus, frame
        self._channels: dict[UUID, SubscribersOfWorkflow] = {}

    def join(self, workflow_id: UUID, outlet: SendBuffer[int]) -> None:
        channel = self._channels.get(workflow_id)
        if channel is None:
            channel = self._channels[workflow_id] = SubscribersOfWorkflow(self._frame)
            self._bus.watch(workflow_id, channel)
        channel.outlets.add(outlet)
        if self._bus.closed:
            outlet.end(STOPPING)

    def leave(self, workflow_id: UUID, outlet: SendBuffer[int]) -> None:
        channel = self._channels[workflow_id]
        channel.outlets.discard(outlet)
        if not channel.outlets:
            del self._channels[workflow_id]
            self._bus.unwatch(workflow_id, channel)


class WorkflowStream(EventStream[int]):
    """From event number *after* + 1 on. `open` raises `NotFound` outside of *scope*."""

    def __init__(
        self,
        feed: EventFeed,
        outlet: SendBuffer[int],
        frame: EventFrame,
        scope: TenantScope,
        workflow_id: UUID,
        after: int,
    ) -> None:
        super().__init__(outlet)
        self._feed, self._frame, self._scope, self._workflow_id = feed, frame, scope, workflow_id
        self._last = after

    async def read(self) -> tuple[bytes, bool]:
        page = await self._feed.history(self._scope, self._workflow_id, self._last, _PAGE)
        if page is None:
            raise NotFound("workflow")
        if page.events:
            self._last = page.events[-1].id
        more = len(page.events) == _PAGE
        self._note(None if more else page.status)
        return b"".join(map(self._frame, page.events)), more

    def sorted(self, items: Sequence[QueuedEvent[int]]) -> bytes:
        frames = []
        for item in items:
            if item.place > self._last + 1:
                self._outlet.look()
                break
            if item.place > self._last:
                self._last = item.place
                frames.append(item.frame)
                self._note(item.status)
        return b"".join(frames)

    def _note(self, status: WorkflowStatus | None) -> None:
        self.over = status in TERMINAL_STATUSES
