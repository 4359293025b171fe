"""Reads of workflows and tasks by id: one statement, which is one snapshot and one round trip.

SQLAlchemy makes the statement once, and asyncpg runs it: if SQLAlchemy also ran it and read the rows, that would take
ten times as long as the rest of a request. Reads that arrive while others run share the next statement. If
that fails, each id is read alone, so that nobody gets the error of another's workflow.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from sqlalchemy import Select, case, literal_column, null, select
from sqlalchemy.dialects import postgresql

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.preconditions import ReadVersion, Version
from stepwell.lifecycle.records import StepRecord, WorkflowParts, WorkflowRecord
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import PostgresAdapter, is_outage
from stepwell.persistence.stores.open_waits import waits_for
from stepwell.persistence.stores.step_attempt_queries import IDS, attempt_columns, with_attempts
from stepwell.persistence.stores.workflow_queries import item_counts_column, result_column, summarised, weight
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.steps import shown_step, steps
from stepwell.persistence.tables.tasks import tasks
from stepwell.persistence.tables.workflows import read_waits_for, workflow_record, workflows
from stepwell.rules.large_workflow_records import SMALL_BYTES, FoundWorkflow, LargeWorkflow
from stepwell.runtime.batching import BatchedCalls, ItemFailure

MAX_IDS = 16  # of a statement
EVERY_PARTS = [WorkflowParts(steps, results) for steps in (True, False) for results in (True, False)]
_STEP_COLUMNS = tuple(column.name for column in (*steps.c, *attempt_columns(), item_counts_column()))


class WorkflowLoader(PostgresAdapter):
    def __init__(self, readers: SmallPool) -> None:
        self._bare = _RowReader(readers, compiled(_by_ids), "id")
        self._versions = _RowReader(readers, compiled(_versions), "id")
        self._tasks = _RowReader(readers, compiled(_tasks), "id")
        self._small = {
            parts: _RowReader(readers, compiled(_small, parts), "step_workflow_id" if parts.steps else "id")
            for parts in EVERY_PARTS
        }

    async def get(self, scope: TenantScope, workflow_id: UUID) -> WorkflowRecord | None:
        """Return the workflow without its steps, however large it is."""
        row = await self._bare.first_of(scope, workflow_id)
        return None if row is None else workflow_record(row, _bytes(row["final_step_result"]))

    async def find(self, scope: TenantScope, workflow_id: UUID, parts: WorkflowParts) -> FoundWorkflow | None:
        """Return the workflow with *parts*. If it isn't small, another statement finds out whether there is one."""
        rows = await self._small[parts].rows_of(workflow_id)
        if not rows:
            row = await self._versions.first_of(scope, workflow_id)
            return None if row is None else LargeWorkflow(workflow_id, row["tenant"], WorkflowStatus(row["status"]))
        if not _covers(scope, rows[0]):
            return None
        record = workflow_record(rows[0], _bytes(rows[0]["final_step_result"]), results=parts.results)
        if parts.steps:
            record.steps = _steps(rows, record)
        return record

    async def owner(self, scope: TenantScope, workflow_id: UUID) -> TenantScope | None:
        row = await self._versions.first_of(scope, workflow_id)
        return None if row is None else TenantScope(row["tenant"])

    async def version(self, scope: TenantScope, workflow_id: UUID) -> ReadVersion | None:
        if (row := await self._versions.first_of(scope, workflow_id)) is None:
            return None
        return ReadVersion(Version.of(row["last_event"], row["updated_at"]), read_waits_for(row))

    async def task(self, scope: TenantScope, task_id: UUID) -> Row | None:
        """Return the row of the task, with the id and the type of its step."""
        return await self._tasks.first_of(scope, task_id)


class Statement(NamedTuple):
    """The text of a statement, and the names and values of its parameters. `ids` has its value when it is sent."""

    text: str
    parameters: list[tuple[str, Any]]

    def values(self, ids: list[UUID]) -> list[Any]:
        return [ids if name == "ids" else value for name, value in self.parameters]


@cache
def compiled(build: Callable[..., Select[*tuple[Any, ...]]], *args: WorkflowParts) -> Statement:
    """Return the statement of the query that *build* returns. SQLAlchemy takes some milliseconds for that, so it is
    done once, and not for each service of a test run.
    """
    query = build(*args).compile(dialect=postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]
    return Statement(str(query), [(name, query.params[name]) for name in query.positiontup or ()])


class _RowReader:
    """Reads the rows that *statement* finds for ids. *key* is the column that has the id."""

    def __init__(self, readers: SmallPool, statement: Statement, key: str) -> None:
        self._statement = statement
        self._readers, self._key = readers, key
        self._calls: BatchedCalls[UUID, None, list[Row]] = BatchedCalls(
            self._read, max_weight=(MAX_IDS, 0), weigh=lambda _: (1, 0), shared=True
        )

    async def rows_of(self, id_: UUID) -> list[Row]:
        return await self._calls.call(id_, None)

    async def first_of(self, scope: TenantScope, id_: UUID) -> Row | None:
        rows = await self.rows_of(id_)
        return rows[0] if rows and _covers(scope, rows[0]) else None

    async def _read(self, take: Callable[[], Iterable[UUID]]) -> Mapping[UUID, list[Row]]:
        async with self._readers.borrow() as connection:
            ids = list(take())
            try:
                rows = await connection.fetch(self._statement.text, *self._statement.values(ids))
            except Exception as error:
                # This is only about the statement. If no connection is free in time, that is an outage, and all callers
                # get it.
                timed_out = _is_timeout(error)
                if not connection.is_closed() and (timed_out or not is_outage(error)):
                    raise ItemFailure(error, timed_out=timed_out) from error
                raise
        by_id: dict[UUID, list[Row]] = {id_: [] for id_ in ids}
        for row in rows:
            by_id[row[self._key]].append(row)
        return by_id


def _is_timeout(error: Exception) -> bool:
    """True if the statement itself took too long, by this process's clock or by the server's."""
    return isinstance(error, TimeoutError | asyncpg.QueryCanceledError)


def _by_ids() -> Select[*tuple[Any, ...]]:
    return summarised().where(workflows.c.id == IDS)


def _small(parts: WorkflowParts) -> Select[*tuple[Any, ...]]:
    small = _by_ids().where(weight(parts) <= literal_column(str(SMALL_BYTES)))
    return _with_steps(small, parts) if parts.steps else small


def _versions() -> Select[*tuple[Any, ...]]:
    own = workflows.c
    read = (own.id, own.tenant, own.created_by, own.status, own.last_event, own.updated_at, waits_for())
    return select(*read).where(own.id == IDS)


def _tasks() -> Select[*tuple[Any, ...]]:
    return (
        select(tasks, steps.c.step_id, steps.c.task_type, workflows.c.tenant, workflows.c.created_by)
        .join(steps, (steps.c.workflow_id == tasks.c.workflow_id) & (steps.c.position == tasks.c.position))
        .join(workflows, workflows.c.id == tasks.c.workflow_id)
        .where(tasks.c.id == IDS)
    )


def _with_steps(query: Select[*tuple[Any, ...]], parts: WorkflowParts) -> Select[*tuple[Any, ...]]:
    """A row for each step. The row of a workflow's first step also has the columns of the workflow."""
    requested = query.cte("requested").prefix_with("MATERIALIZED")  # once, not for every step
    first = steps.c.position == literal_column("0")
    once = [case((first, column)).label(column.name) for column in requested.c]
    result = result_column(steps) if parts.results else null()
    read = [result if column is steps.c.result else column for column in steps.c]
    columns = zip(_STEP_COLUMNS, (*read, *attempt_columns(), item_counts_column()), strict=True)
    own = [column.label(f"step_{name}") for name, column in columns]
    both = with_attempts(requested.join(steps, steps.c.workflow_id == requested.c.id))
    return select(*once, *own).select_from(both).order_by(steps.c.workflow_id, steps.c.position)


def _steps(rows: list[Row], record: WorkflowRecord) -> list[StepRecord]:
    records = []
    for row in rows:
        step = dict(zip(_STEP_COLUMNS, row[-len(_STEP_COLUMNS) :], strict=True))
        records.append(shown_step(step, record.created_at, _bytes(step["result"])))
    return records


def _covers(scope: TenantScope, row: Row) -> bool:
    return scope.covers(row["tenant"], row["created_by"])


def _bytes(stored: str | None) -> bytes | None:
    return None if stored is None else stored.encode()
