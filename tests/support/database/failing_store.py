"""A store that fails on purpose, counts, and waits when told to; and the way into a running service for it."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from stepwell.app import Database
from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.basics.workflow_limits import RootLimits
from stepwell.contract.enums import ProviderType, WorkflowStatus
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.lifecycle.child_records import ChildInsertion, ChildStatuses, ParentAttempt
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import UnitKey
from stepwell.lifecycle.records import (
    AdmissionResult,
    EarlierResult,
    LoadedWorkflow,
    NewWorkflow,
    UnparkedWorkflows,
    WaitingCount,
)
from stepwell.ports.storage import WorkflowStore

if TYPE_CHECKING:
    from support.service.live_service import Service

# What the next write does instead of an honest one: fail before anything is sent, or after the rows are committed.
# An insert may also come late, when the test hands `late` on.
BEFORE, AFTER, LATE = "before", "after", "late"


class FailingStore:
    """Hands everything on to *inner*. `faults` are taken one a write; `inserts`, `loads`, `claims`, `admits` likewise.
    While `gate` is clear no write begins, while `responses` is clear none returns, and while `status_reads` is clear no
    status is read. `batches` are the ids of every write that was tried, `committed` those that were written. Writes
    about the workflows `refuse` are refused, and those that leave one of `refuse_running` RUNNING.
    """

    def __init__(self, inner: WorkflowStore) -> None:
        self.inner = inner
        self.reset()

    def reset(self) -> None:
        self.faults: deque[str | Exception | None] = deque()
        self.inserts: deque[str | Exception | None] = deque()
        self.loads: deque[str | Exception | None] = deque()
        self.claims: deque[str | Exception | None] = deque()
        self.admits: deque[str | Exception | None] = deque()
        self.refuse: set[UUID] = set()
        self.refuse_running: set[UUID] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.responses = asyncio.Event()
        self.responses.set()
        self.status_reads = asyncio.Event()
        self.status_reads.set()
        self.delays: deque[float] = deque()
        self.late: list[tuple[TenantScope, NewWorkflow]] = []
        self.batches: list[list[UUID]] = []
        self.committed: list[UUID] = []
        self.commits = self.claimed = self.waiting_counts = self.admissions = 0

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        ids = [decision.workflow.id for decision in batch]
        self.batches.append(ids)
        if self.delays:
            await asyncio.sleep(self.delays.popleft())
        await self.gate.wait()
        running = {each.workflow.id for each in batch if each.workflow.status is WorkflowStatus.RUNNING}
        if self.refuse & set(ids) or self.refuse_running & running:
            raise ValueError("refused")
        fault = self.faults.popleft() if self.faults else None
        before(fault)
        lost = await self.inner.write(batch)
        self.commits += 1
        self.committed += ids
        await self.responses.wait()
        after(fault)
        return lost

    async def insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        fault = self.inserts.popleft() if self.inserts else None
        before(fault)
        if fault == LATE:
            self.late.append((scope, new))
            raise Unavailable("the outcome is lost")
        await self.inner.insert(scope, new)
        after(fault)

    async def insert_child(
        self, scope: TenantScope, new: NewWorkflow, attempt: ParentAttempt, limits: RootLimits
    ) -> ChildInsertion:
        fault = self.inserts.popleft() if self.inserts else None
        before(fault)
        stored = await self.inner.insert_child(scope, new, attempt, limits)
        after(fault)
        return stored

    async def claim(
        self,
        owner: UUID,
        held: Collection[UUID],
        now: datetime,
        limit: int,
        *,
        trials: bool = True,
        divided: bool = False,
    ) -> list[LoadedWorkflow]:
        fault = self.claims.popleft() if self.claims else None
        before(fault)
        claimed = await self.inner.claim(owner, held, now, limit, trials=trials, divided=divided)
        self.claimed += 1
        after(fault)
        return claimed

    async def fence(self, owner: UUID, workflow_id: UUID) -> LoadedWorkflow | None:
        return await self.inner.fence(owner, workflow_id)

    async def statuses(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> Mapping[UUID, WorkflowStatus]:
        await self.status_reads.wait()
        return await self.inner.statuses(scope, workflow_ids)

    async def refer(self, scope: TenantScope, workflow_id: UUID, paths: Collection[str]) -> None:
        await self.inner.refer(scope, workflow_id, paths)

    async def child_statuses(self, scope: TenantScope, parent_id: UUID, child_ids: Collection[UUID]) -> ChildStatuses:
        await self.status_reads.wait()
        return await self.inner.child_statuses(scope, parent_id, child_ids)

    async def load(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow | None:
        before(self.loads.popleft() if self.loads else None)
        return await self.inner.load(scope, workflow_id)

    async def results(
        self, scope: TenantScope, wanted: Mapping[UUID, Sequence[int]]
    ) -> Mapping[UUID, Mapping[int, bytes]]:
        return await self.inner.results(scope, wanted)

    async def earlier_results(self, scope: TenantScope, workflow_id: UUID) -> list[EarlierResult]:
        return await self.inner.earlier_results(scope, workflow_id)

    async def take_results(
        self, scope: TenantScope, earlier_id: UUID, keys: Sequence[UnitKey], workflow_id: UUID | None
    ) -> Mapping[UnitKey, bytes]:
        return await self.inner.take_results(scope, earlier_id, keys, workflow_id)

    async def known_jobs(self, provider: ProviderType, remote_ids: Collection[str]) -> set[str]:
        return await self.inner.known_jobs(provider, remote_ids)

    async def hand_over(self, owner: UUID, workflow_ids: Collection[UUID]) -> None:
        await self.inner.hand_over(owner, workflow_ids)

    async def release_idle(self, owner: UUID, held: Collection[UUID], now: datetime, limit: int) -> int:
        return await self.inner.release_idle(owner, held, now, limit)

    async def waiting(self) -> list[WaitingCount]:
        self.waiting_counts += 1
        return await self.inner.waiting()

    async def admit(self, owner: UUID, wanted: Mapping[str | None, int], held: Collection[UUID]) -> AdmissionResult:
        self.admissions += 1
        fault = self.admits.popleft() if self.admits else None
        before(fault)
        admitted = await self.inner.admit(owner, wanted, held)
        after(fault)
        return admitted

    async def unpark(self, limit: int) -> UnparkedWorkflows:
        return await self.inner.unpark(limit)

    async def set_clock(self) -> None:
        await self.inner.set_clock()


def before(fault: str | Exception | None) -> None:
    if isinstance(fault, Exception):
        raise fault
    if fault == BEFORE:
        raise Unavailable("the database is away")


def after(fault: str | Exception | None) -> None:
    if fault == AFTER:
        raise Unavailable("the outcome is lost")


def scheduler_of(service: "Service") -> Scheduler:
    return service.app.engine.scheduler


def expire_attempt(service: "Service", workflow_id: str) -> None:
    """Let the workflow's only running attempt time out now. Its step has a `timeout_s` of 60."""
    attempts = scheduler_of(service).leaving.attempts_of(UUID(workflow_id)).values()
    (control,) = [each.control for each in attempts if each.slot is not None]
    assert control is not None
    control.shorten_deadlines(60)


def step_queue_of(service: "Service") -> StepQueue:
    return service.app.engine.step_queue


def use_failing_store(service: "Service") -> FailingStore:
    """The workflow store of a running service, without the faults and counts of earlier tests."""
    workflow_store = service.app.stores.database.workflow_store
    assert isinstance(workflow_store, FailingStore)
    workflow_store.reset()
    return workflow_store


def add_failing_store(database: Database) -> None:
    """Put a `FailingStore` before the workflow store."""
    database.workflow_store = FailingStore(database.workflow_store)


def nothing_left(service: "Service") -> bool:
    """Whether the engine holds nothing: no run, no attempt, no slot, no queue, nothing to write."""
    scheduler, step_queue = scheduler_of(service), step_queue_of(service)
    return not (scheduler.held or step_queue.used or step_queue.waiting)
