"""A bus that publishes what this process has committed: to streams, to requests that wait, and to the webhooks.

The bus doesn't publish what another process commits. Whoever notices such a commit calls `invalidate`, and the watchers
of the workflow read the database again (see `peer_notifications`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.model import HistoryEvent
from stepwell.lifecycle.webhook_deliveries import Delivery


class CommittedEvents(Struct, frozen=True):
    """The events of one commit of one workflow, in order and without gaps. `status` is the workflow's after them."""

    workflow_id: UUID
    tenant: str | None
    status: WorkflowStatus
    origin_instance: str
    events: Sequence[HistoryEvent]
    deliveries: Sequence[Delivery] = ()


Listener = Callable[[CommittedEvents], None]


class Watcher(Protocol):
    """A watcher of one workflow. Its methods must return at once and must not raise."""

    def on_committed(self, committed: CommittedEvents, /) -> None:
        """Handle a commit of this process."""

    def on_invalidated(self) -> None:
        """Handle a commit that may not have been published: read the database."""

    def close(self) -> None:
        """Handle the stop of the service: nothing more is published."""


class EventBus:
    """Publishes commits to listeners, which get those of all workflows, and to watchers, which get those of one.

    The engine waits while they are called, one after the other. So they must return at once and must not raise.
    `on_watched` is called after each `watch` and `unwatch`, and `on_invalidated` after each `invalidate`.
    """

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._watchers: dict[UUID, set[Watcher]] = {}
        self.on_watched: Callable[[], None] = lambda: None
        self.on_invalidated: Callable[[], None] = lambda: None
        self.closed = False

    def publish(self, committed: CommittedEvents) -> None:
        for listener in self.listeners:
            listener(committed)
        if watchers := self._watchers.get(committed.workflow_id):
            for watcher in watchers:
                watcher.on_committed(committed)

    @property
    def watched(self) -> Iterable[UUID]:
        return self._watchers.keys()

    @property
    def watchers(self) -> int:
        return sum(map(len, self._watchers.values()))

    def watch(self, workflow_id: UUID, watcher: Watcher) -> None:
        """Call *watcher* for this workflow until `unwatch`."""
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

    def invalidate(self, workflow_ids: Iterable[UUID]) -> None:
        """Make the watchers of these workflows read the database again."""
        for workflow_id in workflow_ids:
            for watcher in self._watchers.get(workflow_id, ()):
                watcher.on_invalidated()
        self.on_invalidated()

    def close(self) -> None:
        """Close all watchers, and those that come later, because the service stops."""
        self.closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.close()
