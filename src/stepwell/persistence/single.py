"""Workflows by their ids: one statement, which is one snapshot and one round trip, run by asyncpg itself.

SQLAlchemy makes the statement, once: to make, run and read it there at each request took ten times as long as all the
rest of a request. Whoever asks while others are being answered waits for them, and is answered with all who came
meanwhile: the busier the service, the less each request costs, as with checkpoints.
"""

import asyncio
from collections import defaultdict
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, any_, bindparam, case, literal_column, select
from sqlalchemy.dialects import postgresql

from stepwell.domain.errors import Unavailable
from stepwell.domain.records import StepRecord, TenantScope, WorkflowRecord
from stepwell.persistence.kept import Kept
from stepwell.persistence.listing import summarised
from stepwell.persistence.rows import Row, step_record, workflow_record
from stepwell.persistence.tables import steps, workflows

# After so many steps others get their turn.
_SLICE = 250
# Two, so that a long workflow doesn't keep everybody waiting; with more of them fewer would be answered together.
CONNECTIONS = 2
_TOGETHER = 16
_STEP_COLUMNS = tuple(column.name for column in steps.c)


class Finder:
    def __init__(self, readers: Kept) -> None:
        self._whole = _Batches(readers, _with_steps(), "step_workflow_id")
        self._bare = _Batches(readers, _found(), "id")

    async def find(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool) -> WorkflowRecord | None:
        rows = await (self._whole if include_steps else self._bare).rows_of(workflow_id)
        if not rows or not scope.covers(rows[0]["tenant"]):
            return None
        record = workflow_record(rows[0], _bytes(rows[0]["final_step_result"]))
        if include_steps:
            record.steps = await _steps(rows, record)
        return record


class _Batch:
    def __init__(self) -> None:
        self.ids: set[UUID] = set()
        self.found: asyncio.Future[dict[UUID, list[Row]]] = asyncio.get_running_loop().create_future()


class _Batches:
    """The rows that *query* finds by ids, told apart by the column *key*."""

    def __init__(self, readers: Kept, query: Select[*tuple[Any, ...]], key: str) -> None:
        compiled = query.compile(dialect=postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]
        self._statement = str(compiled)
        self._values = [compiled.params[name] for name in compiled.positiontup or ()]
        self._ids_at = (compiled.positiontup or ()).index("ids")
        self._readers, self._key = readers, key
        self._filling: _Batch | None = None

    async def rows_of(self, workflow_id: UUID) -> list[Row]:
        batch = self._filling
        if batch is None:
            batch = self._filling = _Batch()
            batch.ids.add(workflow_id)
            await self._lead(batch)
        else:
            batch.ids.add(workflow_id)
            if len(batch.ids) == _TOGETHER:
                self._filling = None
        # One who leaves takes nothing from the others.
        return (await asyncio.shield(batch.found)).get(workflow_id, [])

    async def _lead(self, batch: _Batch) -> None:
        """For all in *batch*, by the first one. When its turn has come, no more can join."""
        try:
            async with self._readers.borrowed() as connection:
                self._close(batch)
                rows = await connection.fetch(self._statement, *self._values_for(batch))
        except BaseException as error:
            self._close(batch)
            # Cancellation is for this one alone.
            batch.found.set_exception(error if isinstance(error, Exception) else Unavailable("try again"))
            batch.found.exception()  # there may be nobody else who asks for it
            raise
        found: dict[UUID, list[Row]] = defaultdict(list)
        for row in rows:
            found[row[self._key]].append(row)
        batch.found.set_result(found)

    def _close(self, batch: _Batch) -> None:
        if self._filling is batch:
            self._filling = None

    def _values_for(self, batch: _Batch) -> list[Any]:
        return [list(batch.ids) if at == self._ids_at else value for at, value in enumerate(self._values)]


def _found() -> Select[*tuple[Any, ...]]:
    return summarised().where(workflows.c.id == any_(bindparam("ids", type_=ARRAY(Uuid()))))


def _with_steps() -> Select[*tuple[Any, ...]]:
    """A row for each step, of which the first of a workflow also has the workflow."""
    found = _found().cte("found").prefix_with("MATERIALIZED")  # once, not for every step
    first = steps.c.position == literal_column("0")
    once = [case((first, column)).label(column.name) for column in found.c]
    own = [column.label(f"step_{column.name}") for column in steps.c]
    both = select(*once, *own).join_from(found, steps, steps.c.workflow_id == found.c.id)
    return both.order_by(steps.c.workflow_id, steps.c.position)


async def _steps(rows: list[Row], record: WorkflowRecord) -> list[StepRecord]:
    found = []
    for begin in range(0, len(rows), _SLICE):
        if begin:
            await asyncio.sleep(0)
        for row in rows[begin : begin + _SLICE]:
            step = dict(zip(_STEP_COLUMNS, row[-len(_STEP_COLUMNS) :], strict=True))
            found.append(step_record(step, record.created_at, _bytes(step["result"])))
    return found


def _bytes(stored: str | None) -> bytes | None:
    return None if stored is None else stored.encode()
