"""Workflows in a database without a service: made, changed and claimed through the journal alone."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from stepwell.domain.definition import WorkflowUpdate
from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.lifecycle.inputs import Admitted, Created, Input, Start, Update
from stepwell.domain.model import StepState, WorkflowState, WorkflowStatus
from stepwell.domain.records import LoadedWorkflow, NewWorkflow, StepRecord, Summary, WorkflowRecord
from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.new_workflow import loaded_of
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from support.workflows.definitions import body, join, mapped, plan

ME, OTHER, THIRD = (UUID(int=n) for n in (1, 2, 3))
CHAIN = body(join("a", config={"f": 1}), join("b", "a", input_mappings=[mapped("a")]), config={"k": [1.0]})
TABLES = ("workflows", "steps", "tasks", "events")


class Bench:
    """A journal, a connection beside it, and the workflows that the test has made, each with its run."""

    def __init__(self, journal: PostgresWorkflowStore, sql: asyncpg.Connection, clock: DatabaseClock, dsn: str) -> None:
        self.journal, self.sql, self.clock, self.dsn = journal, sql, clock, dsn

    async def make(
        self, definition: dict[str, Any] = CHAIN, *, tenant: str | None = "t", owner: UUID | None = ME
    ) -> ActiveWorkflow:
        """A workflow of *owner*, started; of nobody, PENDING."""
        handle, new = self.draft(definition, tenant, owner)
        await self.journal.insert(EVERY_TENANT, new)
        return handle

    def draft(
        self, definition: dict[str, Any], tenant: str | None, owner: UUID | None
    ) -> tuple[ActiveWorkflow, NewWorkflow]:
        planned, now = plan(definition), self.clock.now()
        record = WorkflowRecord(
            WorkflowState(uuid4(), WorkflowStatus.PENDING, "n", updated_at=now),
            tenant,
            "tests",
            "zone",
            "reference",
            planned.request.config,
            suppress_subtask_events=True,
            total_steps=len(planned.steps),
            created_at=now,
            summary=Summary(None, "", None, ()),
            steps=[
                StepRecord(uuid4(), step, definition, StepState(step.position), now)
                for step, definition in zip(planned.steps, planned.request.steps, strict=True)
            ],
        )
        handle = ActiveWorkflow(loaded_of(record))
        decision = handle.run.apply(Created("alice"), now)
        if owner is not None:
            decision.absorb(handle.run.apply(Start("alice", uuid4(), owner), now))
        return handle, NewWorkflow(record, len(planned.steps) - 1, tuple(decision.events))

    def decide(self, handle: ActiveWorkflow, *inputs: Input) -> Decision:
        first, *later = (handle.run.apply(given, self.clock.now()) for given in inputs)
        for decision in later:
            first.absorb(decision)
        return first

    async def write(self, handle: ActiveWorkflow, *inputs: Input) -> None:
        assert await self.journal.write([self.decide(handle, *inputs)]) == set()

    async def lease(self, owner: UUID, seconds: float | None) -> None:
        await self.journal.renew_lease(owner, seconds)
        if seconds is not None and seconds < 0:
            await self.sql.execute(
                "UPDATE processes SET lease_until = clock_timestamp() - interval '1 s' WHERE id = $1", owner
            )

    async def claim(
        self, owner: UUID = ME, held: tuple[ActiveWorkflow, ...] = (), limit: int = 100
    ) -> list[LoadedWorkflow]:
        ids = [handle.workflow_id for handle in held]
        return await self.journal.claim(owner, ids, self.clock.now() + timedelta(seconds=1), limit)

    async def until_blocked(self) -> None:
        """Until a statement waits for a lock."""
        async with asyncio.timeout(30):
            while not await self.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.005)

    async def rows(self) -> dict[str, list[str]]:
        return {t: [str(r) for r in await self.sql.fetch(f"SELECT * FROM {t} ORDER BY 1, 2")] for t in TABLES}


def renamed(name: str = "m") -> Update:
    return Update("alice", WorkflowUpdate(name=name))


def admitted(position: int = 0, task_id: UUID | None = None) -> Admitted:
    return Admitted(position, task_id or uuid4(), 7)
