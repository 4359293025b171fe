"""Waiting for a workflow's end, for requests that want their answer then.

What must hold:
- Whoever runs the workflow, its end is heard of: what commits here is told, for all else the table is looked at again.
- Nothing is asked again and again: without news there is one look, at the start. Only one that fails, later, is made
  again after a while.
- What is told while a look is under way may be newer than what it sees, or older: where they differ it looks again.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

from stepwell.contract.enums import TERMINAL_STATUSES
from stepwell.domain.errors import NotFound, Unavailable
from stepwell.domain.tenancy import TenantScope
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.ports.storage import WorkflowReader

_AGAIN_S = 1.0


class CompletionWaiter:
    def __init__(self, bus: EventBus, store: WorkflowReader) -> None:
        self._bus, self._store = bus, store

    async def until_terminal(self, scope: TenantScope, workflow_id: UUID, seconds: float) -> bool:
        """Whether the workflow has ended: at once if it has, else when it does, or after *seconds*, or when the service
        stops. Raises `NotFound` outside of *scope*, and `Unavailable` if the first look at it fails.
        """
        end = _End()
        self._bus.watch(workflow_id, end)
        try:
            await self._look(end, scope, workflow_id)
            try:
                async with asyncio.timeout(seconds):
                    return await self._until_told(end, scope, workflow_id)
            except TimeoutError:
                return end.terminal
        finally:
            self._bus.unwatch(workflow_id, end)

    async def _until_told(self, end: "_End", scope: TenantScope, workflow_id: UUID) -> bool:
        while not end.terminal and not end.closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S if end.unsure else None):
                    await end.stirred.wait()
            end.stirred.clear()
            if end.unsure and not end.terminal:
                with suppress(Unavailable):
                    await self._look(end, scope, workflow_id)
        return end.terminal

    async def _look(self, end: "_End", scope: TenantScope, workflow_id: UUID) -> None:
        end.unsure, told = False, end.times_told
        try:
            terminal = await self._is_terminal(scope, workflow_id)
        except Unavailable:
            end.unsure = True
            raise
        if end.times_told == told:
            end.terminal = terminal
        elif terminal and not end.terminal:
            end.unsure = True

    async def _is_terminal(self, scope: TenantScope, workflow_id: UUID) -> bool:
        record = await self._store.get(scope, workflow_id, include_steps=False)
        if record is None:
            raise NotFound("workflow")
        return record.state.status in TERMINAL_STATUSES


class _End:
    """A `bus.Watcher`. `unsure`: the table may know better."""

    def __init__(self) -> None:
        self.terminal = self.unsure = self.closed = False
        self.times_told = 0
        self.stirred = asyncio.Event()

    def told(self, committed: CommittedEvents) -> None:
        self.terminal = committed.status in TERMINAL_STATUSES
        self.times_told += 1
        self.stirred.set()

    def look(self) -> None:
        self.unsure = True
        self.stirred.set()

    def close(self) -> None:
        self.closed = True
        self.stirred.set()
