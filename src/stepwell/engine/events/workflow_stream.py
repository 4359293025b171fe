"""The event stream of one workflow: first the stored events, then the live ones.

The numbers of a workflow's events have no gaps. The stream drops events that it has already sent, and reads the
database where a number is missing. It ends after the last event of a workflow that has ended, or when the workflow's
data are deleted. A workflow that is resumed in the meantime has more events, and then the stream goes on.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from stepwell.basics.errors import NotFound
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import TERMINAL_STATUSES, WorkflowStatus
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.events.event_stream import STOPPING, EventStream, QueuedEvent, SendBuffer
from stepwell.lifecycle.model import HistoryEvent
from stepwell.ports.storage import EventFeed

EventFrame = Callable[[HistoryEvent], bytes]
_PAGE = 500


class WorkflowWatcher:
    """A `bus.Watcher` for all subscribers of one workflow. It encodes each event once for all of them."""

    def __init__(self, frame: EventFrame) -> None:
        self.buffers: set[SendBuffer[int]] = set()
        self._frame = frame

    def on_committed(self, committed: CommittedEvents) -> None:
        last = committed.events[-1]
        for event in committed.events:
            queued = QueuedEvent(event.id, self._frame(event), committed.status if event is last else None)
            for buffer in self.buffers:
                buffer.push(queued)

    def on_invalidated(self) -> None:
        for buffer in self.buffers:
            buffer.invalidate()

    def close(self) -> None:
        for buffer in self.buffers:
            buffer.end(STOPPING)


class WorkflowSubscribers:
    """The send buffers of all streams of single workflows, by workflow."""

    def __init__(self, bus: EventBus, frame: EventFrame) -> None:
        self._bus, self._frame = bus, frame
        self._by_workflow: dict[UUID, WorkflowWatcher] = {}

    def join(self, workflow_id: UUID, buffer: SendBuffer[int]) -> None:
        """Push the events of a workflow to *buffer* until `leave`."""
        watcher = self._by_workflow.get(workflow_id)
        if watcher is None:
            watcher = self._by_workflow[workflow_id] = WorkflowWatcher(self._frame)
            self._bus.watch(workflow_id, watcher)
        watcher.buffers.add(buffer)
        if self._bus.closed:
            buffer.end(STOPPING)

    def leave(self, workflow_id: UUID, buffer: SendBuffer[int]) -> None:
        watcher = self._by_workflow[workflow_id]
        watcher.buffers.discard(buffer)
        if not watcher.buffers:
            del self._by_workflow[workflow_id]
            self._bus.unwatch(workflow_id, watcher)


class WorkflowStream(EventStream[int]):
    """Streams the events of a workflow from number *after* + 1 on. `open` raises `NotFound` outside of *scope*."""

    def __init__(
        self,
        feed: EventFeed,
        buffer: SendBuffer[int],
        frame: EventFrame,
        scope: TenantScope,
        workflow_id: UUID,
        after: int,
    ) -> None:
        super().__init__(buffer)
        self._feed, self._frame, self._scope, self._workflow_id = feed, frame, scope, workflow_id
        self._last, self._is_open = after, False

    async def read(self) -> tuple[bytes, bool]:
        page = await self._feed.history(self._scope, self._workflow_id, self._last, _PAGE)
        if page is None:
            if not self._is_open:
                raise NotFound("workflow")
            self.over = True  # all its data have been deleted
            return b"", False
        self._is_open = True
        if page.events:
            self._last = page.events[-1].id
        more = len(page.events) == _PAGE
        self._check_end(None if more else page.status)
        return b"".join(map(self._frame, page.events)), more

    def merge_live(self, queued: Sequence[QueuedEvent[int]]) -> bytes:
        frames = []
        for event in queued:
            if event.cursor > self._last + 1:
                self._buffer.invalidate()
                break
            if event.cursor > self._last:
                self._last = event.cursor
                frames.append(event.frame)
                self._check_end(event.status)
        return b"".join(frames)

    def _check_end(self, status: WorkflowStatus | None) -> None:
        self.over = status in TERMINAL_STATUSES
