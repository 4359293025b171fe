"""Why a workflow doesn't move: of one in memory all that this process knows, of another what is stored of it.

What must hold:
- Whatever is seen in memory is of one moment: nothing is awaited while it is gathered, and all of it is copies.
- It changes nothing, and asks the database at most four things, however many steps there are; nothing at all for a
  workflow that runs here, unless it is PAUSED: so it answers while the database is away, too.
"""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from msgspec import convert

from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import ProviderType, WorkflowStatus
from stepwell.contract.reasons import BreakerOpen, Explanation, RateLimited, SlotLimit, WaitsForSlot
from stepwell.domain.diagnostics.explain import AttemptObservation, Process, WorkflowSnapshot, explain
from stepwell.domain.errors import DiskFull, NotFound, Unavailable
from stepwell.domain.mapping.task_configs import without_nulls
from stepwell.domain.records import LoadedWorkflow, Ownership
from stepwell.domain.tenancy import TenantScope
from stepwell.engine.admission.controller import AdmissionController, LimitKind, ModelPool, QueuedSteps
from stepwell.engine.admission.model_health import BreakerHold, ModelHealth
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.running_attempt import RunningAttempt
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.monitoring.write_monitor import WriteMonitor, WriteTarget
from stepwell.offloop import off_loop
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowReader, WorkflowStore

_TRIES = 3  # the workflow may change hands between two statements
_NOWHERE = Ownership(None, alive=False, lease_until=None, paused_by=None, paused_at=None)
Waits = WaitsForSlot | RateLimited | BreakerOpen
_LIMITS: Mapping[LimitKind, SlotLimit] = {
    LimitKind.TOTAL: "total",
    LimitKind.PROVIDER: "provider",
    LimitKind.MODEL: "model",
    LimitKind.TENANT: "tenant",
}


class Explainer:
    """*here*: the providers that work in this process."""

    def __init__(
        self,
        store: WorkflowReader,
        journal: WorkflowStore,
        scheduler: Scheduler,
        admission: AdmissionController,
        health: ModelHealth,
        clock: Clock,
        here: frozenset[ProviderType],
        writes: WriteMonitor,
    ) -> None:
        self._store, self._journal, self._scheduler = store, journal, scheduler
        self._admission, self._health, self._clock, self._here = admission, health, clock, here
        self._writes = writes

    async def explain(self, scope: TenantScope, workflow_id: UUID) -> Explanation:
        """Raises `NotFound`, and `Unavailable` where only the database knows, and is away."""
        handle = self._scheduler.workflows.get(workflow_id)
        if handle is None:
            return await self._stored(scope, workflow_id)
        if not scope.covers(handle.tenant):
            raise NotFound("workflow")
        return await self._in_memory(scope, handle)

    async def _in_memory(self, scope: TenantScope, handle: ActiveWorkflow) -> Explanation:
        now, workflow_id = self._clock.now(), handle.workflow_id
        loaded, on_failure = handle.snapshot(), handle.config.on_failure
        waiting = self._admission.queued_steps(handle.tenant, workflow_id)
        held = self._health.holds_on(workflow_id)
        seen = {task_id: _seen(live) for task_id, live in handle.attempts.items()}
        away, draining = self._scheduler.checkpointer.outage, self._scheduler.stopping
        full = away and isinstance(self._writes.refusal(WriteTarget.DATABASE), DiskFull)
        where = _NOWHERE
        if loaded.state.status is WorkflowStatus.PAUSED:
            with contextlib.suppress(Unavailable):
                where = await self._store.ownership(scope, workflow_id) or _NOWHERE

        def explained() -> Explanation:
            return explain(
                WorkflowSnapshot(
                    state=loaded.state,
                    on_failure=on_failure,
                    steps=loaded.steps,
                    tasks=loaded.open_tasks,
                    now=now,
                    paused=(where.paused_by, where.paused_at),
                    away=away,
                    disk_full=full,
                    draining=draining,
                    waits={} if draining else _waits(waiting, held, now),
                    seen=seen,
                    here=self._here,
                )
            )

        return await off_loop(explained, steps=len(loaded.steps))

    async def _stored(self, scope: TenantScope, workflow_id: UUID) -> Explanation:
        loaded, where = await self._found(scope, workflow_id)
        elsewhere = None if where.owner is None else Process(where.owner, where.lease_until, where.alive)
        return await off_loop(
            partial(_of_stored, loaded, elsewhere, where, self._clock.now(), self._here), steps=len(loaded.steps)
        )

    async def _found(self, scope: TenantScope, workflow_id: UUID) -> tuple[LoadedWorkflow, Ownership]:
        for _ in range(_TRIES):
            loaded = await self._journal.load(scope, workflow_id)
            where = await self._store.ownership(scope, workflow_id)
            if loaded is None or where is None:
                raise NotFound("workflow")
            if loaded.unreadable is not None:
                raise Unavailable(f"this version can't read the stored workflow: {loaded.unreadable}")
            if loaded.state.owner == where.owner:
                return loaded, where
        raise Unavailable("the workflow is changing hands")


def _of_stored(
    loaded: LoadedWorkflow,
    elsewhere: Process | None,
    where: Ownership,
    now: datetime,
    here: frozenset[ProviderType],
) -> Explanation:
    return explain(
        WorkflowSnapshot(
            state=loaded.state,
            on_failure=convert(without_nulls(loaded.config), WorkflowConfig).on_failure,
            steps=loaded.steps,
            tasks=loaded.open_tasks,
            now=now,
            elsewhere=elsewhere,
            paused=(where.paused_by, where.paused_at),
            here=here,
        )
    )


def _seen(live: RunningAttempt) -> AttemptObservation:
    look, recorded = None if live.control is None else live.control.observation, live.control is not None
    if look is None:
        return AttemptObservation(recorded)
    return AttemptObservation(recorded, look.word, look.since, look.progress, look.poll_error)


def _waits(waiting: Sequence[QueuedSteps], held: Mapping[int, BreakerHold], now: datetime) -> dict[int, Waits]:
    found: dict[int, Waits] = {position: _held_back(back) for position, back in held.items()}
    for queue in waiting:
        for position, place in queue.positions.by_step().items():
            found[position] = _wait(queue, place, now)
    return found


def _held_back(held: BreakerHold) -> BreakerOpen:
    model = f"{held.key.model} at {held.key.provider}"
    if held.probing:
        detail = f"{model} failed too often; an attempt was let through to see, and its end is waited for."
    else:
        until = "" if held.until is None else f" until {held.until:%Y-%m-%dT%H:%M:%SZ}"
        detail = f"{model} failed too often: nothing is sent to it{until}."
    return BreakerOpen(
        detail=detail, provider=held.key.provider, model=held.key.model, until=held.until, probing=held.probing
    )


def _wait(queue: QueuedSteps, place: int, now: datetime) -> WaitsForSlot | RateLimited:
    pool = queue.pool
    provider, model = (pool.provider, pool.model) if isinstance(pool, ModelPool) else (pool, None)
    if queue.limit_kind is LimitKind.RATE and isinstance(pool, ModelPool) and pool.limit.per_minute is not None:
        pace = pool.limit.per_minute
        until = now + timedelta(seconds=queue.due_in_s + (place - 1) * 60 / pace)
        detail = f"{pool.model} at {pool.provider} may be asked {pace:g} times a minute; this step is start {place}, "
        detail += f"not before {until:%Y-%m-%dT%H:%M:%SZ}."
        return RateLimited(
            detail=detail, provider=pool.provider, model=pool.model, per_minute=pace, until=until, position=place
        )
    whose = {
        LimitKind.TOTAL: "all steps together",
        LimitKind.PROVIDER: f"{provider}",
        LimitKind.MODEL: f"{model} at {provider}",
        LimitKind.TENANT: "the tenant",
    }[queue.limit_kind]
    return WaitsForSlot(
        detail=f"{queue.used} of {queue.slots} slots of {whose} are taken; this step is start {place} in its queue.",
        limit=_LIMITS[queue.limit_kind],
        provider=provider,
        model=model,
        slots=queue.slots,
        used=queue.used,
        position=place,
    )
