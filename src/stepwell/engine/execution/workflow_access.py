"""Brings a workflow into memory for a verb, and keeps it there while the verb uses it.

What must hold:
- All users of a workflow in this process share one `ActiveWorkflow`.
- A workflow is registered before it is stored: otherwise a claim could take it for one that this process has lost.
- A workflow that another process runs is never loaded. One of a dead process is loaded on hold (`Recovery.hold`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec.structs import replace

from stepwell.basics.errors import NotFound, Unavailable
from stepwell.basics.idempotency import Reservation
from stepwell.basics.tenancy import TenantScope
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.recovery import NEEDS_NEWER_VERSION, RUNS_ELSEWHERE, Recovery, load_results
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.lifecycle.records import NewWorkflow
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.offloop import off_loop

_HOLD_S = 10.0


class RunsElsewhere(Unavailable):
    """Another live process runs the workflow, and it alone can change it."""

    def __init__(self) -> None:
        super().__init__(RUNS_ELSEWHERE)


class WorkflowAccess:
    """Brings stored and new workflows into memory, and keeps those there that a verb uses."""

    def __init__(
        self, store: WorkflowStore, scheduler: Scheduler, recovery: Recovery, lease: Lease, bus: EventBus
    ) -> None:
        self.store, self.scheduler, self.recovery, self.lease, self.bus = store, scheduler, recovery, lease, bus
        self._loading: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @property
    def loading(self) -> int:
        """The number of workflows that are being loaded."""
        return len(self._loading)

    @asynccontextmanager
    async def pinned(self, scope: TenantScope, workflow_id: UUID) -> AsyncIterator[ActiveWorkflow]:
        """Keep the workflow in memory within the context.

        Raises `NotFound`, `RunsElsewhere`, and `Unavailable`, also if only a newer version understands it.

        The workflow is in memory at the beginning of the context. After an await this process may have lost it.
        """
        async with self._lock(workflow_id):
            workflow = self.scheduler.workflows.get(workflow_id)
            if workflow is None:
                workflow = await self._load(scope, workflow_id)
            elif not scope.covers(workflow.tenant):
                raise NotFound("workflow")
        with self.scheduler.pin(workflow):
            yield workflow

    async def insert(
        self,
        scope: TenantScope,
        workflow: ActiveWorkflow,
        new: NewWorkflow,
        committed: CommittedEvents,
        reservation: Reservation | None,
    ) -> None:
        """Store a new workflow, and start it if it has an owner. Raises `Unavailable`."""
        started = workflow.run.state.owner is not None
        with self.scheduler.pin(workflow):
            self.scheduler.register(workflow)
            try:
                await self.store.insert(scope, replace(new, reservation=reservation))
            except BaseException:
                # The row may be stored all the same, or its statement may still run: then a claim finds it.
                self.scheduler.unregister(workflow)
                self.recovery.request(unsure=True)
                raise
            self.bus.publish(committed)
            if started:
                self.scheduler.start_pending(workflow)

    async def insert_waiting(
        self, scope: TenantScope, new: NewWorkflow, committed: CommittedEvents, reservation: Reservation | None
    ) -> None:
        """Store a new workflow that waits for admission, without bringing it into memory. Raises `Unavailable`."""
        try:
            await self.store.insert(scope, replace(new, reservation=reservation))
        except BaseException:
            self.recovery.request(unsure=True)  # it may be stored all the same, and is admitted then
            raise
        self.bus.publish(committed)

    async def _load(self, scope: TenantScope, workflow_id: UUID) -> ActiveWorkflow:
        await self.lease.ensure()
        loaded = await self.store.load(scope, workflow_id)
        if loaded is None:
            raise NotFound("workflow")
        if loaded.state.owner is None:
            if not loaded.is_understood:
                raise Unavailable(NEEDS_NEWER_VERSION, 5)
            workflow = await off_loop(partial(ActiveWorkflow, loaded), steps=loaded.unit_count)
            await load_results(self.store, [workflow])
            if (meanwhile := self.scheduler.workflows.get(workflow_id)) is not None:
                return meanwhile  # another process started it meanwhile and died, and this one has claimed it
            self.scheduler.register(workflow)
            return workflow
        try:
            async with asyncio.timeout(_HOLD_S):
                await self.recovery.hold(workflow_id)
        except TimeoutError:
            raise Unavailable("the service is taking over what another process has left") from None
        if (held := self.scheduler.workflows.get(workflow_id)) is None:
            self.recovery.request()
            raise RunsElsewhere
        return held

    def _lock(self, workflow_id: UUID) -> asyncio.Lock:
        return self._loading.setdefault(workflow_id, asyncio.Lock())
