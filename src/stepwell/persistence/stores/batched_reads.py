"""Workflows by their ids: one statement, which is one snapshot and one round trip, run by asyncpg itself.

SQLAlchemy makes the statement, once: to make, run and read it there at each request took ten times as long as all the
rest of a request. Whoever asks while others are being answered waits for them, and is answered with all who came
meanwhile: the busier the service, the less each request costs, as with checkpoints. When that fails, each is asked for
alone, so that nobody is told of what is wrong with another's.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ARRAY, Select, Uuid, any_, bindparam, case, literal_column, select
from sqlalchemy.dialects import postgresql

from stepwell.domain.errors import Unavailable
from stepwell.domain.preconditions import Version
from stepwell.domain.records import StepRecord, WorkflowRecord
from stepwell.domain.tenancy import TenantScope
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import is_outage
from stepwell.persistence.rows.decode_rows import Row, step_record, workflow_record
from stepwell.persistence.schema.tables import steps, workflows
from stepwell.persistence.stores.workflow_queries import summarised

# After so many steps others get their turn.
_SLICE = 250
# Two, so that a long workflow doesn't keep everybody waiting; with more of them fewer would be answered together.
CONNECTIONS = 2
_TOGETHER = 16
# After so many timeouts in a row it is the database that is slow, and not what was asked for.
_PATIENCE = 3
_STEP_COLUMNS = tuple(column.name for column in steps.c)


class WorkflowLoader:
    def __init__(self, readers: SmallPool) -> None:
        self._whole = _Batches(readers, _with_steps(), "step_workflow_id")
        self._bare = _Batches(readers, _found(), "id")
        self._versions = _Batches(readers, _versions(), "id")

    async def find(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool) -> WorkflowRecord | None:
        rows = await (self._whole if include_steps else self._bare).rows_of(workflow_id)
        if not rows or not scope.covers(rows[0]["tenant"]):
            return None
        record = workflow_record(rows[0], _bytes(rows[0]["final_step_result"]))
        if include_steps:
            record.steps = await _steps(rows, record)
        return record

    async def version(self, scope: TenantScope, workflow_id: UUID) -> Version | None:
        rows = await self._versions.rows_of(workflow_id)
        if not rows or not scope.covers(rows[0]["tenant"]):
            return None
        return Version.of(rows[0]["last_event"], rows[0]["updated_at"])


class _Failed(Exception):
    """A statement's own failure, by *error*: another one may well be answered."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Batch:
    """What is found for each id, and by then whoever asked for it."""

    def __init__(self) -> None:
        self.found: dict[UUID, asyncio.Future[list[Row]]] = {}

    def add(self, workflow_id: UUID) -> None:
        if workflow_id not in self.found:
            self.found[workflow_id] = asyncio.get_running_loop().create_future()

    def answer(self, ids: Iterable[UUID], rows: Mapping[UUID, list[Row]]) -> None:
        for one in ids:
            self.found[one].set_result(rows.get(one, []))

    def fail(self, ids: Iterable[UUID], error: BaseException) -> None:
        """Those of *ids* that have no answer yet. Cancellation is for the one alone who asks for all."""
        for future in map(self.found.__getitem__, ids):
            if not future.done():
                future.set_exception(error if isinstance(error, Exception) else Unavailable("try again"))
                future.exception()  # there may be nobody else who asks for it


class _Batches:
    """The rows that *query* finds by ids, told apart by the column *key*."""

    def __init__(self, readers: SmallPool, query: Select[*tuple[Any, ...]], key: str) -> None:
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
            batch.add(workflow_id)
            await self._lead(batch)
        else:
            batch.add(workflow_id)
            if len(batch.found) == _TOGETHER:
                self._filling = None
        # One who leaves takes nothing from the others.
        return await asyncio.shield(batch.found[workflow_id])

    async def _lead(self, batch: _Batch) -> None:
        """For all in *batch*, by the first one. When its turn has come, no more can join."""
        try:
            await self._ask(batch)
        except BaseException as error:
            self._close(batch)
            batch.fail(batch.found, error)
            if not isinstance(error, Exception):
                raise

    async def _ask(self, batch: _Batch) -> None:
        try:
            async with self._readers.borrowed() as connection:
                self._close(batch)
                batch.answer(batch.found, await self._read(connection, list(batch.found)))
        except _Failed as failed:
            if len(batch.found) == 1:
                raise failed.error from None
            await self._each_alone(batch)

    async def _each_alone(self, batch: _Batch) -> None:
        slow = 0
        for one in batch.found:
            try:
                async with self._readers.borrowed() as connection:
                    batch.answer([one], await self._read(connection, [one]))
            except _Failed as failed:
                batch.fail([one], failed.error)
                slow += _is_timeout(failed.error)
                if slow == _PATIENCE:
                    raise failed.error from None
            else:
                slow = 0

    async def _read(self, connection: asyncpg.Connection, ids: list[UUID]) -> dict[UUID, list[Row]]:
        values = [ids if at == self._ids_at else value for at, value in enumerate(self._values)]
        try:
            rows = await connection.fetch(self._statement, *values)
        except Exception as error:
            # Here and not around it: when no connection is to be had in time, that is an outage.
            if not connection.is_closed() and (_is_timeout(error) or not is_outage(error)):
                raise _Failed(error) from error
            raise
        found: dict[UUID, list[Row]] = defaultdict(list)
        for row in rows:
            found[row[self._key]].append(row)
        return found

    def _close(self, batch: _Batch) -> None:
        if self._filling is batch:
            self._filling = None


def _is_timeout(error: Exception) -> bool:
    """Of the statement itself: by our clock, or by the server's."""
    return isinstance(error, TimeoutError | asyncpg.QueryCanceledError)


def _found() -> Select[*tuple[Any, ...]]:
    return summarised().where(workflows.c.id == any_(bindparam("ids", type_=ARRAY(Uuid()))))


def _versions() -> Select[*tuple[Any, ...]]:
    own = workflows.c
    return select(own.id, own.tenant, own.last_event, own.updated_at).where(
        own.id == any_(bindparam("ids", type_=ARRAY(Uuid())))
    )


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
