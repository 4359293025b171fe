"""What has committed in this process, for whoever wants to know at once: streams, those who wait, the outbox.

What commits in another process is not told here: who watches a workflow is told to look at the table, by whatever finds
out (see `neighbours`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import WorkflowStatus
from stepwell.domain.model import HistoryEvent
from stepwell.domain.webhooks.delivery import Delivery


class CommittedEvents(Struct, frozen=True):
    """Events of one workflow, in their order and without a gap to the last ones; `status` is the one after them."""

    workflow_id: UUID
    tenant: str | None
    status: WorkflowStatus
    origin_instance: str
    events: Sequence[HistoryEvent]
    deliveries: Sequence[Delivery] = ()


Listener = Callable[[CommittedEvents], None]


class Watcher(Protocol):
    """Who wants to know of one workflow. Calls must return at once, and not raise."""

    def told(self, committed: CommittedEvents, /) -> None:
        """It has committed here."""

    def look(self) -> None:
        """Something may have committed that nobody tells of: only the table knows."""

    def close(self) -> None:
        """The service stops: there is nothing more to wait for."""


class EventBus:
    """Listeners are called one after the other, in the engine's own time: they must return at once, and not raise."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._watchers: dict[UUID, set[Watcher]] = {}
        self.on_watched: Callable[[], None] = lambda: None  # called when somebody begins or ends to watch
        self.on_look: Callable[[], None] = lambda: None  # called when something may have committed unheard
        self.closed = False

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def tell(self, committed: CommittedEvents) -> None:
        for listener in self._listeners:
            listener(committed)
        if watchers := self._watchers.get(committed.workflow_id):
            for watcher in watchers:
                watcher.told(committed)

    @property
    def watched(self) -> Iterable[UUID]:
        """The workflows that somebody watches."""
        return self._watchers.keys()

    def watch(self, workflow_id: UUID, watcher: Watcher) -> None:
        self._watchers.setdefault(workflow_id, set()).add(watcher)
        self.on_watched()
        if self.closed:
            watcher.close()

    def unwatch(self, workflow_id: UUID, watcher: Watcher) -> None:
        watchers = self._watchers[workflow_id]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[workflow_id]
        self.on_watched()

    def look(self, workflow_ids: Iterable[UUID]) -> None:
        """Tell those who watch these to look at the table."""
        for workflow_id in workflow_ids:
            for watcher in self._watchers.get(workflow_id, ()):
                watcher.look()
        self.on_look()

    def close(self) -> None:
        """For good: nobody has anything to wait for any more."""
        self.closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.close()
