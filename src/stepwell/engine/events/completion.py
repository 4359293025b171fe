"""A waiter for the terminal status of a workflow, for requests with `Prefer: wait`.

What must hold:
- The end is noticed whichever process runs the workflow. The bus publishes local commits. For other processes the row
  is read again when a notification arrives.
- There is no polling. Without news the row is read once, at the start. Only a later read that fails is repeated, every
  `OUTAGE_RETRY_S` seconds.
- An event that is published during a read may be newer or older than what the read sees. If they differ, the row is
  read again.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

from stepwell.basics.errors import NotFound, Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import TERMINAL_STATUSES
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.ports.storage import WorkflowReader
from stepwell.runtime.outages import OUTAGE_RETRY_S


class CompletionWaiter:
    def __init__(self, bus: EventBus, reader: WorkflowReader) -> None:
        self._bus, self._reader = bus, reader

    async def until_terminal(self, scope: TenantScope, workflow_id: UUID, seconds: float) -> bool:
        """Return whether the workflow has ended: as soon as it has, after *seconds*, or when the service stops.

        Raises `NotFound` outside of *scope*, and `Unavailable` if the first read fails.
        """
        watcher = _CompletionWatcher()
        self._bus.watch(workflow_id, watcher)
        try:
            await self._read(watcher, scope, workflow_id)
            try:
                async with asyncio.timeout(seconds):
                    return await self._until_published(watcher, scope, workflow_id)
            except TimeoutError:
                return watcher.terminal
        finally:
            self._bus.unwatch(workflow_id, watcher)

    async def _until_published(self, watcher: "_CompletionWatcher", scope: TenantScope, workflow_id: UUID) -> bool:
        while not watcher.terminal and not watcher.closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(OUTAGE_RETRY_S if watcher.needs_read else None):
                    await watcher.changed.wait()
            watcher.changed.clear()
            if watcher.needs_read and not watcher.terminal:
                with suppress(Unavailable):
                    await self._read(watcher, scope, workflow_id)
        return watcher.terminal

    async def _read(self, watcher: "_CompletionWatcher", scope: TenantScope, workflow_id: UUID) -> None:
        watcher.needs_read, published = False, watcher.times_published
        try:
            terminal = await self._is_terminal(scope, workflow_id)
        except Unavailable:
            watcher.needs_read = True
            raise
        if watcher.times_published == published:
            watcher.terminal = terminal
        elif terminal and not watcher.terminal:
            watcher.needs_read = True

    async def _is_terminal(self, scope: TenantScope, workflow_id: UUID) -> bool:
        record = await self._reader.get(scope, workflow_id)
        if record is None:
            raise NotFound("workflow")
        return record.state.status in TERMINAL_STATUSES


class _CompletionWatcher:
    """A `bus.Watcher` of one request. `needs_read`: the database may have a newer status."""

    def __init__(self) -> None:
        self.terminal = self.needs_read = self.closed = False
        self.times_published = 0
        self.changed = asyncio.Event()

    def on_committed(self, committed: CommittedEvents) -> None:
        self.terminal = committed.status in TERMINAL_STATUSES
        self.times_published += 1
        self.changed.set()

    def on_invalidated(self) -> None:
        self.needs_read = True
        self.changed.set()

    def close(self) -> None:
        self.closed = True
        self.changed.set()
