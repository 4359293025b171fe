"""`ports.storage.WorkflowReader` on SQLAlchemy Core: what the API reads.

Every statement about workflows uses `workflow_queries.visible`, so that none can ignore the tenant.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import json
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stepwell.basics.errors import ResultTooLarge
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import EventType, TaskType, WorkflowStatus
from stepwell.contract.tasks import Output
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES
from stepwell.lifecycle.child_records import ChildRecord, ChildRecords
from stepwell.lifecycle.model import HistoryEvent
from stepwell.lifecycle.preconditions import ReadVersion, Version
from stepwell.lifecycle.records import (
    StepRecord,
    TaskRecord,
    WorkflowOwnership,
    WorkflowParts,
    WorkflowRecord,
)
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import PostgresAdapter
from stepwell.persistence.statements.item_results import result_bytes_of
from stepwell.persistence.stores import workflow_queries
from stepwell.persistence.stores.batched_reads import WorkflowLoader
from stepwell.persistence.stores.cost_queries import read_costs
from stepwell.persistence.stores.item_pages import read_item_slice
from stepwell.persistence.stores.large_workflows import LargeWorkflows
from stepwell.persistence.stores.open_waits import count_decisions, read_decision, read_decisions, read_waits_below
from stepwell.persistence.stores.output_pages import read_outputs
from stepwell.persistence.stores.workflow_queries import (
    filter_form,
    filter_values,
    list_form,
    list_values,
    ownership_query,
    read_ownership,
    visible,
)
from stepwell.persistence.tables.cleanups import artifact_references, file_removals
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.events import events, history_event
from stepwell.persistence.tables.steps import shown_step, steps, task_type
from stepwell.persistence.tables.tasks import read_task, tasks
from stepwell.persistence.tables.workflows import read_waits_for, workflow_record, workflows
from stepwell.rules.costs import CostQuery, CostSum
from stepwell.rules.large_workflow_records import (
    SMALL_PAGE_BYTES,
    TASK_BYTES,
)
from stepwell.rules.list_records import (
    DecisionFilter,
    ItemFilter,
    ItemSlice,
    ListFilter,
    OutputCursor,
    StoredDecision,
    StoredOutput,
    TaskFilter,
    TaskSlice,
    WaitBelow,
    WorkflowCursor,
    WorkflowFilter,
    WorkflowPage,
)

_ITEMS_BYTES: sa.ColumnElement[int] = sa.literal_column(result_bytes_of(steps.name, "octet_length({0}::text)", "0"))
_read_outputs = json.Decoder(list[Output]).decode


class PostgresWorkflowReader(PostgresAdapter):
    """Workflows in PostgreSQL, as the API sees them. *readers* read single workflows, *engine* all the rest."""

    def __init__(self, engine: AsyncEngine, readers: SmallPool, large_readers: SmallPool) -> None:
        loader, large = WorkflowLoader(readers), LargeWorkflows(large_readers)
        self._engine, self._loader = engine, loader
        self.get, self.find, self.version, self.owner = loader.get, loader.find, loader.version, loader.owner
        self.size, self.snapshot, self.step_slice = large.size, large.snapshot, large.step_slice
        self.inputs, self.named_definitions = large.inputs, large.named_definitions
        self.deleted_definitions = large.deleted_definitions
        # Several statements for one response must read one snapshot. Otherwise the response could show half of a
        # transition.
        self._snapshots = engine.execution_options(isolation_level="REPEATABLE READ")

    async def step(self, scope: TenantScope, workflow_id: UUID, step_id: str) -> StepRecord | None:
        return await self._step(scope, workflow_id, steps.c.step_id == step_id)

    async def step_at(self, scope: TenantScope, workflow_id: UUID, position: int) -> StepRecord | None:
        return await self._step(scope, workflow_id, steps.c.position == position)

    async def item_slice(
        self, scope: TenantScope, workflow_id: UUID, query: ItemFilter, count: int, max_bytes: int
    ) -> ItemSlice | None:
        async with self._snapshots.connect() as connection:
            return await read_item_slice(connection, scope, workflow_id, query, count, max_bytes)

    async def decisions(self, scope: TenantScope, query: DecisionFilter) -> list[StoredDecision]:
        async with self._engine.connect() as connection:
            return await read_decisions(connection, scope, query)

    async def decision_count(self, scope: TenantScope, query: DecisionFilter) -> int:
        async with self._engine.connect() as connection:
            return await count_decisions(connection, scope, query)

    async def decision(self, scope: TenantScope, workflow_id: UUID, position: int) -> StoredDecision | None:
        async with self._engine.connect() as connection:
            return await read_decision(connection, scope, workflow_id, position)

    async def waits_below(self, scope: TenantScope, workflow_id: UUID, most: int) -> list[WaitBelow]:
        async with self._engine.connect() as connection:
            return await read_waits_below(connection, scope, workflow_id, most)

    async def step_of_signal(self, scope: TenantScope, workflow_id: UUID, name: str) -> StepRecord | None:
        named = steps.c.definition.op("->")("config").op("->>")("name")
        is_signal = steps.c.task_type == TaskType.SIGNAL
        return await self._step(scope, workflow_id, is_signal & (sa.func.coalesce(named, steps.c.step_id) == name))

    async def _step(self, scope: TenantScope, workflow_id: UUID, wanted: sa.ColumnElement[bool]) -> StepRecord | None:
        of_step = (
            sa.select(steps.c.position, workflows.c.created_at, _ITEMS_BYTES.label("items_bytes"))
            .join(workflows, workflows.c.id == steps.c.workflow_id)
            .where(steps.c.workflow_id == workflow_id, wanted, visible(scope))
        )
        async with self._snapshots.connect() as connection:
            if (step := (await connection.execute(of_step)).first()) is None:
                return None
            if step.items_bytes > MAX_MAPPED_BYTES:
                raise ResultTooLarge(MAX_MAPPED_BYTES)
            query = workflow_queries.page_steps(results=True).where(steps.c.position == step.position)
            row = (await connection.execute(query, {"ids": [workflow_id]})).mappings().one()
        return shown_step(row, step.created_at, row["result"])

    async def page(self, scope: TenantScope, query: ListFilter) -> WorkflowPage:
        form, values = list_form(scope, query), list_values(scope, query)
        async with self._snapshots.connect() as connection:
            total = await connection.scalar(workflow_queries.total(form), values) or 0 if query.count else None
            result = await connection.execute(workflow_queries.page(form, SMALL_PAGE_BYTES), values)
            rows = result.mappings().all()
            versions = {
                row["page_id"]: ReadVersion(Version.of(row["page_event"], row["page_updated_at"]), read_waits_for(row))
                for row in rows
            }
            large = any(row["id"] is None for row in rows)
            records = None if large else await _records(connection, rows, query.parts)
        has_next = bool(rows) and rows[-1]["page_has_next"]
        last = WorkflowCursor(rows[-1]["page_created_at"], rows[-1]["page_id"]) if has_next else None
        return WorkflowPage(versions, records, total, last)

    async def counts(self, scope: TenantScope, query: WorkflowFilter) -> dict[WorkflowStatus, int]:
        statement = workflow_queries.counts(filter_form(scope, query))
        async with self._engine.connect() as connection:
            rows = (await connection.execute(statement, filter_values(scope, query))).all()
        return {WorkflowStatus(status): number for status, number in rows}

    async def events(
        self, scope: TenantScope, workflow_id: UUID, after: int, limit: int, types: frozenset[EventType] | None = None
    ) -> Sequence[HistoryEvent] | None:
        later = events.c.id > sa.literal(after, sa.BigInteger())  # *after* may be larger than the column's type
        query = sa.select(events).where(events.c.workflow_id == workflow_id, later).order_by(events.c.id).limit(limit)
        if types is not None:
            query = query.where(events.c.type.in_(sorted(types)))
        async with self._engine.connect() as connection:
            if not await _exists(connection, scope, workflow_id):
                return None
            return [history_event(row, shown=True) for row in (await connection.execute(query)).mappings()]

    async def tasks(
        self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool
    ) -> Sequence[TaskRecord] | None:
        query = _tasks(scope).where(tasks.c.workflow_id == workflow_id).order_by(tasks.c.position, tasks.c.attempt)
        if not include_deleted:
            query = query.where(tasks.c.deleted_at.is_(None))
        async with self._engine.connect() as connection:
            if not await _exists(connection, scope, workflow_id):
                return None
            return [_task_record(row) for row in (await connection.execute(query)).mappings()]

    async def task_slice(self, scope: TenantScope, workflow_id: UUID, query: TaskFilter) -> TaskSlice | None:
        some = _task_slice(scope, workflow_id, query).subquery("some")
        wanted = sa.select(some).where((some.c.bytes <= query.max_bytes) | (some.c.number == sa.literal_column("1")))
        async with self._engine.connect() as connection:
            rows = (await connection.execute(wanted.order_by(some.c.number))).mappings().all()
            if not rows and query.after is None and not await _exists(connection, scope, workflow_id):
                return None
        # The last one of `count` tasks may have others behind it.
        is_last = not rows or (len(rows) == rows[0]["available"] < query.count)
        return TaskSlice([_task_record(row) for row in rows], more=not is_last)

    async def outputs(
        self, scope: TenantScope, workflow_id: UUID, after: OutputCursor | None, limit: int
    ) -> list[StoredOutput] | None:
        async with self._engine.connect() as connection:
            outputs = await read_outputs(connection, scope, workflow_id, after, limit)
            return outputs if outputs or await _exists(connection, scope, workflow_id) else None

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord | None:
        row = await self._loader.task(scope, task_id)
        return None if row is None else _task_record(row)

    async def ownership(self, scope: TenantScope, workflow_id: UUID) -> WorkflowOwnership | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(ownership_query(scope, workflow_id))).mappings().first()
        return None if row is None else read_ownership(row)

    async def children(self, scope: TenantScope, workflow_id: UUID, limit: int) -> ChildRecords:
        child = workflows.c
        query = (
            sa.select(
                child.id, child.parent_step, child.parent_item, child.status, sa.func.count().over().label("total")
            )
            .where(child.parent_id == workflow_id, child.deleted_at.is_(None), visible(scope))
            .order_by(child.id)
            .limit(limit)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        first = [ChildRecord(row.id, row.parent_step, row.parent_item, WorkflowStatus(row.status)) for row in rows]
        return ChildRecords(first, rows[0].total if rows else 0)

    async def stored_outputs(self, scope: TenantScope, task_ids: Sequence[UUID]) -> set[str]:
        query = (
            sa.select(tasks.c.outputs)
            .join(workflows, workflows.c.id == tasks.c.workflow_id)
            .where(_among(tasks.c.id, task_ids), tasks.c.deleted_at.is_(None), visible(scope))
        )
        removed = sa.select(file_removals.c.outputs).where(_among(file_removals.c.task_id, task_ids))
        if not scope.every:
            removed = removed.where(file_removals.c.tenant.is_not_distinct_from(scope.tenant))
        if scope.subject is not None:  # nobody knows who has created a workflow that is gone
            removed = removed.where(sa.false())
        async with self._engine.connect() as connection:
            outputs = [*(await connection.execute(query)).scalars(), *(await connection.execute(removed)).scalars()]
            return {output.path for row in outputs for output in _read_outputs(row)}

    async def needed_outputs(self, scope: TenantScope, task_id: UUID) -> tuple[str | None, Sequence[Output]]:
        if scope.subject is not None:  # as above
            return None, ()
        named, removed = artifact_references.c, file_removals.c
        is_needed = (
            sa.select(workflows.c.id)
            .join(artifact_references, workflows.c.id == named.workflow_id)
            .where(named.task_id == removed.task_id, workflows.c.deleted_at.is_(None), visible(scope))
            .where(workflows.c.tenant.is_not_distinct_from(removed.tenant))
            .exists()
        )
        query = sa.select(removed.tenant, removed.outputs).where(removed.task_id == task_id, is_needed)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return (None, ()) if row is None else (row.tenant, _read_outputs(row.outputs))

    async def references_to(
        self, scope: TenantScope, workflow_id: UUID, task_ids: Sequence[UUID]
    ) -> Mapping[UUID, UUID]:
        named = artifact_references.c
        query = (
            sa.select(named.task_id, named.workflow_id)
            .ext(distinct_on(named.task_id))
            .join(workflows, workflows.c.id == named.workflow_id)
            .where(_among(named.task_id, task_ids), named.workflow_id != workflow_id)
            .where(workflows.c.deleted_at.is_(None), visible(scope))
            .order_by(named.task_id, named.workflow_id)
        )
        async with self._engine.connect() as connection:
            return {row.task_id: row.workflow_id for row in await connection.execute(query)}

    async def costs(self, scope: TenantScope, query: CostQuery) -> Sequence[CostSum]:
        async with self._engine.connect() as connection:
            return await read_costs(connection, scope, query)

    async def ping(self) -> None:
        async with self._engine.connect() as connection:
            await connection.execute(sa.select(sa.true()))


def _among(column: sa.ColumnElement[UUID], task_ids: Sequence[UUID]) -> sa.ColumnElement[bool]:
    # One parameter for all of them. IN would take one each, and asyncpg allows 32,767.
    return column == sa.any_(sa.literal(list(task_ids), ARRAY(sa.Uuid())))


async def _records(connection: AsyncConnection, rows: Sequence[Row], parts: WorkflowParts) -> list[WorkflowRecord]:
    records = [workflow_record(row, row["final_step_result"], results=parts.results) for row in rows]
    if parts.steps and records:
        by_workflow = await _steps_of(connection, records, parts)
        for record in records:
            record.steps = by_workflow[record.state.id]
    return records


async def _steps_of(
    connection: AsyncConnection, records: list[WorkflowRecord], parts: WorkflowParts
) -> dict[UUID, list[StepRecord]]:
    created = {record.state.id: record.created_at for record in records}
    query = workflow_queries.page_steps(results=parts.results)
    by_workflow: dict[UUID, list[StepRecord]] = defaultdict(list)
    for row in (await connection.execute(query, {"ids": list(created)})).mappings():
        result = row["result"] if parts.results else None
        by_workflow[row["workflow_id"]].append(shown_step(row, created[row["workflow_id"]], result))
    return by_workflow


async def _exists(connection: AsyncConnection, scope: TenantScope, workflow_id: UUID) -> bool:
    query = sa.select(workflows.c.id).where(workflows.c.id == workflow_id, visible(scope))
    return (await connection.scalar(query)) is not None


def _tasks(scope: TenantScope) -> sa.Select[Any]:
    return (
        sa.select(tasks, steps.c.step_id, steps.c.task_type)
        .join(steps, (steps.c.workflow_id == tasks.c.workflow_id) & (steps.c.position == tasks.c.position))
        .join(workflows, workflows.c.id == tasks.c.workflow_id)
        .where(visible(scope))
    )


def _task_slice(scope: TenantScope, workflow_id: UUID, query: TaskFilter) -> sa.Select[Any]:
    """Select the tasks. `available` is their number, and `bytes` the size of those up to `number`."""
    cursor = sa.tuple_(tasks.c.position, tasks.c.attempt)
    own = _tasks(scope) if query.step_id is None else _tasks(scope).where(steps.c.step_id == query.step_id)
    wanted = own.where(tasks.c.workflow_id == workflow_id).order_by(*cursor.clauses).limit(query.count)
    if not query.include_deleted:
        wanted = wanted.where(tasks.c.deleted_at.is_(None))
    if query.after is not None:
        wanted = wanted.where(cursor > sa.tuple_(sa.literal(query.after.position), sa.literal(query.after.attempt)))
    read = wanted.subquery("read")
    order = [read.c.position, read.c.attempt]
    error = sa.func.coalesce(sa.func.octet_length(read.c.error), sa.literal_column("0"))
    size: sa.ColumnElement[int] = (
        sa.literal_column(str(TASK_BYTES)) + error + sa.func.octet_length(sa.cast(read.c.outputs, sa.Text()))
    )
    return sa.select(
        read,
        sa.func.row_number().over(order_by=order).label("number"),
        sa.func.count().over().label("available"),
        sa.func.sum(size).over(order_by=order).label("bytes"),
    )


def _task_record(row: Row) -> TaskRecord:
    return TaskRecord(
        task=read_task(row),
        workflow_id=row["workflow_id"],
        step_id=row["step_id"],
        task_type=task_type(row["task_type"]),
        created_at=row["started_at"],
        deleted_at=row["deleted_at"],
    )
