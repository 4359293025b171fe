"""New workflows: those that come while others are being inserted are inserted together, by one statement.

The first to come takes a connection and writes for all who have joined it by then; the others wait for it. What must
hold:
- Whoever is told that his workflow is stored is told so after its commit.
- A workflow that the database won't have fails nobody's but its own insert.
- One who stops waiting takes nothing from the others, unless he is the one who writes: then nobody knows what has
  become of theirs, and they are told so.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import chain

import asyncpg
from msgspec import Struct

from stepwell.domain.errors import StillRunning, Unavailable
from stepwell.domain.idempotency import Reservation
from stepwell.domain.records import NewWorkflow
from stepwell.offloop import off_loop
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import Connect, is_outage
from stepwell.persistence.rows import journal_sql as sql
from stepwell.persistence.rows.encode_rows import InsertRows, insert_rows, references

# Long workflows go alone, and with one connection all would wait for them; with more fewer would be inserted together.
_CONNECTIONS = 3
_STEPS_TOGETHER, _SIZE_TOGETHER = 500, 2 * 1024 * 1024


class _Entry(Struct):
    rows: InsertRows
    done: asyncio.Future[None]

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error if isinstance(error, Exception) else Unavailable("the answer is lost"))
            self.done.exception()  # there may be nobody any more who asks for it


class _Batch(Struct):
    entries: list[_Entry]
    steps: int = 0
    size: int = 0

    def fits(self, rows: InsertRows) -> bool:
        return self.steps + len(rows.steps) <= _STEPS_TOGETHER and self.size + rows.size <= _SIZE_TOGETHER

    def add(self, entry: _Entry) -> None:
        self.entries.append(entry)
        self.steps += len(entry.rows.steps)
        self.size += entry.rows.size


class WorkflowInserter:
    def __init__(self, connect: Connect, *, timeout_s: float) -> None:
        self._connections = SmallPool(connect, size=_CONNECTIONS, timeout_s=timeout_s)
        self._filling: _Batch | None = None

    async def insert(self, new: NewWorkflow) -> None:
        """Raises what asyncpg raises, TimeoutError, an outage, if no connection is free in time, and `StillRunning` for
        a reservation that another try has taken over.
        """
        rows = await off_loop(partial(insert_rows, new), steps=new.record.total_steps)
        if new.reservation is not None:
            await self._once(rows, new.reservation)
            return
        entry = _Entry(rows, asyncio.get_running_loop().create_future())
        batch = self._filling
        if batch is not None and batch.fits(rows):
            batch.add(entry)
        else:
            batch = self._filling = _Batch([])
            batch.add(entry)
            await self._lead(batch)
        await entry.done

    def close(self) -> None:
        self._connections.close()

    async def _once(self, rows: InsertRows, reservation: Reservation) -> None:
        """Alone: what is wrong with another's reservation is no concern of this one's."""
        key = (rows.workflows[0][0], reservation.scope, reservation.key, reservation.token)
        async with self._connections.borrowed() as connection:
            if rows.named:
                await connection.fetch(sql.REFER, *references([rows]))
            stored = await connection.fetch(sql.INSERT_ONCE, *rows.parameters(), [key])
        if not stored:
            raise StillRunning

    async def _lead(self, batch: _Batch) -> None:
        """Write for all in *batch*, by the first one. When its turn has come, no more can join."""
        try:
            async with self._connections.borrowed() as connection:
                self._close(batch)
                await _write(connection, [entry for entry in batch.entries if not entry.done.done()])
        except BaseException as error:
            self._close(batch)
            for entry in batch.entries:
                entry.fail(error)
            if not isinstance(error, Exception):
                raise

    def _close(self, batch: _Batch) -> None:
        if self._filling is batch:
            self._filling = None


async def _write(connection: asyncpg.Connection, entries: Sequence[_Entry]) -> None:
    columns = zip(*(entry.rows.parameters() for entry in entries), strict=True)
    rows = [list(chain.from_iterable(lists)) for lists in columns]
    naming = [entry.rows for entry in entries if entry.rows.named]
    try:
        if naming:  # first, for once a workflow is stored no file that it names may be deleted
            await connection.fetch(sql.REFER, *references(naming))
        await connection.fetch(sql.INSERT, *rows)
    except Exception as error:
        if is_outage(error):
            raise
        if len(entries) == 1:
            entries[0].fail(error)
            return
        for entry in entries:
            await _write(connection, [entry])
    else:
        for entry in entries:
            if not entry.done.done():
                entry.done.set_result(None)
