"""One workflow by one statement: one snapshot and one round trip, run by asyncpg itself.

SQLAlchemy makes the statement, once: to make, run and read it there at each request took ten times as long as all the
rest of a request.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Select, Text, Uuid, bindparam, case, literal_column, or_, select
from sqlalchemy.dialects import postgresql

from stepwell.domain.records import StepRecord, TenantScope, WorkflowRecord
from stepwell.persistence.kept import Kept
from stepwell.persistence.listing import summarised
from stepwell.persistence.rows import Row, step_record, workflow_record
from stepwell.persistence.tables import steps, workflows

# After so many steps others get their turn.
_SLICE = 250
_STEP_COLUMNS = tuple(column.name for column in steps.c)


class _Statement:
    """A query of the workflow with that id in that scope, as asyncpg takes it."""

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        compiled = query.compile(dialect=postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]
        self.text = str(compiled)
        self._names: Sequence[str] = compiled.positiontup or ()
        self._values = dict(compiled.params)

    async def fetch(self, readers: Kept, scope: TenantScope, workflow_id: UUID) -> list[Row]:
        values = self._values | {"wanted": workflow_id, "every": scope.every, "own": scope.tenant}
        return await readers.fetch(self.text, *[values[name] for name in self._names])


def _found() -> Select[*tuple[Any, ...]]:
    mine = workflows.c.tenant.is_not_distinct_from(bindparam("own", type_=Text()))
    return summarised().where(
        workflows.c.id == bindparam("wanted", type_=Uuid()), or_(bindparam("every", type_=Boolean()), mine)
    )


def _with_steps() -> Select[*tuple[Any, ...]]:
    """A row for each step, of which the first also has the workflow."""
    found = _found().cte("found").prefix_with("MATERIALIZED")  # once, not for every step
    first = steps.c.position == literal_column("0")
    once = [case((first, column)).label(column.name) for column in found.c]
    own = [column.label(f"step_{column.name}") for column in steps.c]
    return select(*once, *own).join_from(found, steps, steps.c.workflow_id == found.c.id).order_by(steps.c.position)


_FIND, _FIND_WITH_STEPS = _Statement(_found()), _Statement(_with_steps())


async def find(readers: Kept, scope: TenantScope, workflow_id: UUID, *, include_steps: bool) -> WorkflowRecord | None:
    statement = _FIND_WITH_STEPS if include_steps else _FIND
    rows = await statement.fetch(readers, scope, workflow_id)
    if not rows:
        return None
    record = workflow_record(rows[0], _bytes(rows[0]["final_step_result"]))
    if include_steps:
        record.steps = await _steps(rows, record)
    return record


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
