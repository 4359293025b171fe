"""A checkpointer on a store in memory that can fail, and runs that make decisions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID

from stepwell.contract.definition import WorkflowConfig, WorkflowUpdate
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution.checkpointer import Checkpointer
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import Update
from stepwell.lifecycle.model import StepState, WorkflowState
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.memory import MemoryGovernor
from support.database.failing_store import FailingStore
from support.providers.scripted import eventually
from support.workflows.runs import EPOCH, resolved_steps_of

A, B, C = (UUID(int=n) for n in (1, 2, 3))


class Ledger:
    """A store in memory: the rows that were written, by the same rule as the real one."""

    def __init__(self) -> None:
        self.events: dict[UUID, list[int]] = {}
        self.gates: dict[UUID, asyncio.Event] = {}  # a write with such a workflow waits

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        await asyncio.sleep(0)
        for decision in batch:
            if (gate := self.gates.get(decision.workflow.id)) is not None:
                await gate.wait()
        lost = set()
        for decision in batch:
            workflow_id = decision.workflow.id
            ids = self.events.setdefault(workflow_id, [])
            if len(ids) == decision.last_event:
                ids += [event.id for event in decision.events]
            elif len(ids) != decision.workflow.last_event:
                lost.add(workflow_id)
        return lost


class Bench:
    """A checkpointer on a store that can fail, and runs that make decisions. `committed` and `lost` in order."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.workflow_store = FailingStore(cast("WorkflowStore", self.ledger))
        self.sent: list[Decision] = []
        self.committed: list[tuple[UUID, list[int]]] = []
        self.lost: list[tuple[UUID, bool]] = []
        self.when_committed: Callable[[Decision], None] = lambda _: None
        self.memory = MemoryGovernor(1024 * 1024 * 1024)
        self.checkpointer = Checkpointer(
            self.workflow_store,
            self.sent.append,
            self._committed,
            lambda *lost: self.lost.append(lost),
            self.memory,
            lambda callback: callback,
        )
        self.runs: dict[UUID, Run] = {}

    def decide(self, workflow_id: UUID) -> Decision:
        run = self.runs.get(workflow_id)
        if run is None:
            state = WorkflowState(workflow_id, WorkflowStatus.PENDING, "n")
            run = self.runs[workflow_id] = Run(
                StoredRun(state, WorkflowConfig(), resolved_steps_of([()]), [StepState(0)])
            )
        return run.apply(Update("alice", WorkflowUpdate(name="m")), EPOCH)

    def submit(self, *workflow_ids: UUID, tenant: str | None = None) -> None:
        for workflow_id in workflow_ids:
            self.checkpointer.submit(self.decide(workflow_id), tenant)

    def flushed(self, workflow_id: UUID) -> "asyncio.Future[None]":
        return self.checkpointer.flushed(workflow_id)

    def _committed(self, decision: Decision) -> None:
        events = [event.id for event in decision.events]
        assert set(events) <= set(self.ledger.events.get(decision.workflow.id, [])), "told before it is written"
        self.committed.append((decision.workflow.id, events))
        self.when_committed(decision)


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench = Bench()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.checkpointer.run())
        yield bench
        bench.checkpointer.close()
    assert not bench.checkpointer.held


async def writing(bench: Bench, batches: int = 1) -> None:
    """Until the write of that number is under way, or was."""
    await eventually(lambda: len(bench.workflow_store.batches) >= batches)
