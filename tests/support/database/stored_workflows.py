"""Workflows in a database without a service: made, changed and claimed through the workflow store alone."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from msgspec import structs

from stepwell.app import Database, DatabaseSource
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.definition import DefinitionReference, WorkflowUpdate
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.new_workflow import loaded_of, stored_inputs
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import Created, Dispatched, Input, Start, Succeeded, Update
from stepwell.lifecycle.model import StepState, WorkflowState
from stepwell.lifecycle.records import LoadedWorkflow, NewWorkflow, StepRecord, Summary, WorkflowRecord
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from stepwell.ports.clock import Clock
from stepwell.ports.processes import LeaseStore
from stepwell.ports.storage import WorkflowStore
from support.workflows.definitions import body, join, mapped, validate

ME, OTHER, THIRD = (UUID(int=n) for n in (1, 2, 3))
CHAIN = body(join("a", config={"f": 1}), join("b", "a", input_mappings=[mapped("a")]), config={"k": [1.0]})
TABLES = ("workflows", "steps", "tasks", "events")


class Workflows:
    """Workflows that a test makes and changes through the port alone, each with its run."""

    def __init__(self, workflow_store: WorkflowStore, leases: LeaseStore, clock: Clock) -> None:
        self.workflow_store: WorkflowStore = workflow_store
        self.leases = leases
        self.clock: Clock = clock

    async def make(
        self,
        definition: dict[str, Any] = CHAIN,
        *,
        tenant: str | None = "t",
        owner: UUID | None = ME,
        webhook_url: str | None = None,
        definition_bytes: int = 0,
        feature_level: int | None = None,
        has_flow: bool = False,
        runs: DefinitionReference | None = None,
        named: bytes | None = None,
    ) -> ActiveWorkflow:
        """A workflow of *owner*, started; of nobody, PENDING. It has the level that it needs, or *feature_level*.

        *has_flow*: it gets waits or signals, although its definition has none. *runs* is its stored definition,
        *named* those that its sub-workflows run.
        """
        handle, new = self.draft(definition, tenant, owner, webhook_url, definition_bytes)
        if feature_level is not None:
            new = structs.replace(new, feature_level=feature_level)
        if has_flow:
            new = structs.replace(new, has_flow=True)
        new.record.definition = runs
        if named is not None:
            new = structs.replace(new, named=named)
        await self.workflow_store.insert(EVERY_TENANT, new)
        return handle

    async def make_waiting(
        self, tenant: str | None = "t", definition: dict[str, Any] = CHAIN, definition_bytes: int = 0, **more: Any
    ) -> ActiveWorkflow:
        """A workflow that waits for admission."""
        handle = await self.make(definition, tenant=tenant, owner=None, definition_bytes=definition_bytes, **more)
        await self.write(handle, Start("alice", uuid4(), None))
        return handle

    def draft(
        self,
        definition: dict[str, Any],
        tenant: str | None,
        owner: UUID | None,
        webhook_url: str | None = None,
        definition_bytes: int = 0,
    ) -> tuple[ActiveWorkflow, NewWorkflow]:
        validated, now = validate(definition), self.clock.now()
        record = WorkflowRecord(
            WorkflowState(uuid4(), WorkflowStatus.PENDING, "n", webhook_url=webhook_url, updated_at=now),
            tenant,
            "alice",
            "tests",
            "zone",
            "reference",
            validated.request.config,
            suppress_subtask_events=True,
            total_steps=len(validated.steps),
            created_at=now,
            summary=Summary(None, "", None, ()),
            steps=[
                StepRecord(uuid4(), step, definition, StepState(step.position), now)
                for step, definition in zip(validated.steps, validated.request.steps, strict=True)
            ],
            labels=dict(sorted((validated.request.labels or {}).items())),
        )
        loaded = loaded_of(record, validated, definition_bytes)
        handle = ActiveWorkflow(loaded)
        decision = handle.run.apply(Created("alice"), now)
        if owner is not None:
            decision.merge(handle.run.apply(Start("alice", uuid4(), owner), now))
        new = NewWorkflow(
            record,
            len(validated.steps) - 1,
            definition_bytes,
            tuple(decision.events),
            feature_level=validated.feature_level,
            has_flow=validated.has_flow,
            inputs=stored_inputs(validated),
        )
        return handle, new

    def decide(self, handle: ActiveWorkflow, *inputs: Input) -> Decision:
        first, *later = (handle.run.apply(each, self.clock.now()) for each in inputs)
        for decision in later:
            first.merge(decision)
        return first

    async def write(self, handle: ActiveWorkflow, *inputs: Input) -> None:
        assert await self.workflow_store.write([self.decide(handle, *inputs)]) == set()

    async def claim(
        self, owner: UUID = ME, held: tuple[ActiveWorkflow, ...] = (), limit: int = 100
    ) -> list[LoadedWorkflow]:
        ids = [handle.workflow_id for handle in held]
        return await self.workflow_store.claim(owner, ids, self.clock.now() + timedelta(seconds=1), limit)


class Stored(Workflows):
    """A database as its processes see it. `workflow_store` and `here` are those of the process `ME`."""

    def __init__(self, source: DatabaseSource, here: Database, connect: Callable[[UUID], Awaitable[Database]]) -> None:
        super().__init__(here.workflow_store, here.leases, source.clock)
        self.here, self._connect = here, connect

    async def process(self, owner: UUID) -> Database:
        """The database as another process sees it."""
        return await self._connect(owner)


class Bench(Workflows):
    """The workflow store on PostgreSQL, and a connection beside it."""

    workflow_store: PostgresWorkflowStore
    clock: DatabaseClock

    def __init__(
        self,
        workflow_store: PostgresWorkflowStore,
        leases: LeaseStore,
        sql: asyncpg.Connection,
        clock: DatabaseClock,
        dsn: str,
    ) -> None:
        super().__init__(workflow_store, leases, clock)
        self.sql, self.dsn = sql, dsn

    async def lease(self, owner: UUID, seconds: float | None) -> None:
        await self.leases.renew(owner, seconds)
        if seconds is not None and seconds < 0:
            await self.sql.execute(
                "UPDATE processes SET lease_until = clock_timestamp() - interval '1 s' WHERE id = $1", owner
            )

    async def until_blocked(self, number: int = 1) -> None:
        """Until so many statements wait for a lock."""
        async with asyncio.timeout(30):
            while await self.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < number:
                await asyncio.sleep(0.005)

    async def rows(self) -> dict[str, list[str]]:
        return {t: [str(r) for r in await self.sql.fetch(f"SELECT * FROM {t} ORDER BY 1, 2")] for t in TABLES}


def renamed(name: str = "m") -> Update:
    return Update("alice", WorkflowUpdate(name=name))


def dispatched(position: int = 0, task_id: UUID | None = None) -> Dispatched:
    return Dispatched(position, task_id or uuid4(), 7)


def completed(task_id: UUID, position: int = 0) -> Succeeded:
    """The end of an attempt."""
    return Succeeded(position, task_id, b"{}")
