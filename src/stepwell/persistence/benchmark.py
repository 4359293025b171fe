"""The database work of `stepwell bench`: it makes a temporary schema, measures bare commits, and reads a run's rows."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
from anyio import CancelScope
from msgspec import Struct

from stepwell.persistence.connections.database import driver_dsn, is_outage
from stepwell.persistence.schema.startup import DatabaseRefused

_PREFIX = "stepwell_scratch_"
# Only names of exactly this form are dropped: a schema of others must not match, and a name can't be a parameter.
_LEFTOVERS = f"SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^{_PREFIX}[0-9a-f]{{32}}$'"  # noqa: S608
_CONNECT_S = 10.0


@asynccontextmanager
async def scratch_schema(dsn: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Create an empty schema, and yield its address and a connection to it. The schema is dropped at the end.

    The next run drops a schema that a killed process has left. The connection holds a lock by the schema's name, so
    that other runs don't take it for a leftover. Raises `DatabaseRefused`.
    """
    name = f"{_PREFIX}{uuid4().hex}"
    scratch = f"{dsn}{'&' if '?' in dsn else '?'}search_path={name}"
    connection = await asyncpg.connect(driver_dsn(scratch), timeout=_CONNECT_S)
    try:
        await _lock(connection, name)
        await _drop_leftovers(connection)
        try:
            await _create(connection, name)
            await _check_search_path(connection, name)
            async with _while_connected(connection):
                yield scratch, connection
        finally:
            with CancelScope(shield=True):
                await _drop_at_end(connection, name)
    finally:
        with CancelScope(shield=True):
            await connection.close(timeout=_CONNECT_S)


async def _lock(connection: asyncpg.Connection, name: str) -> bool:
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", name))


async def _drop_leftovers(connection: asyncpg.Connection) -> None:
    for row in await connection.fetch(_LEFTOVERS):
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):  # another user's
            if await _lock(connection, row["nspname"]):
                await _drop(connection, row["nspname"])


async def _create(connection: asyncpg.Connection, name: str) -> None:
    try:
        await connection.execute(f"CREATE SCHEMA {name}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseRefused(f"a schema of our own is needed, but the database refuses: {error}") from error


async def _check_search_path(connection: asyncpg.Connection, name: str) -> None:
    """Raise `DatabaseRefused` if a proxy ignores the setting: the benchmark would run on the tables of other users."""
    if await connection.fetchval("SELECT current_schema()") != name:
        raise DatabaseRefused("what stands before the database ignores search_path, so a schema of our own is no use")


@asynccontextmanager
async def _while_connected(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Cancel the body if the connection is lost: the lock is lost too, so the schema looks like a leftover."""
    async with asyncio.timeout(None) as within:

        def end(_: asyncpg.Connection) -> None:
            within.reschedule(0)

        connection.add_termination_listener(end)
        try:
            yield
        finally:
            connection.remove_termination_listener(end)


async def _drop_at_end(connection: asyncpg.Connection, name: str) -> None:
    try:
        await _drop(connection, name)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if not is_outage(error):
            raise
        raise DatabaseRefused("the connection to the database was lost; the next run drops what is left") from error


async def _drop(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


_PREPARE = """
CREATE TABLE IF NOT EXISTS yardstick (id integer PRIMARY KEY, number integer NOT NULL);
INSERT INTO yardstick VALUES (1, 0) ON CONFLICT DO NOTHING
"""
_COMMIT = "UPDATE yardstick SET number = number + 1 WHERE id = 1"
# Every row that a run must leave: the transitions of each step, each with its event, and one task.
_COMPLETE = """
SELECT (SELECT count(*) FROM workflows WHERE status = 'COMPLETED') AS workflows,
       (SELECT count(*) FROM steps WHERE status = 'COMPLETED' AND result IS NOT NULL) AS steps,
       (SELECT count(*) FROM tasks WHERE status = 'COMPLETED') AS tasks,
       (SELECT count(*) FROM events) AS events
"""
_TIMES = """
WITH s AS (
    SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - started_at)) AS p
    FROM steps
), w AS (
    SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - started_at)) AS p
    FROM workflows
)
SELECT s.p[1], s.p[2], w.p[1], w.p[2] FROM s, w
"""
_WRITTEN = """
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint,
       (SELECT sum(pg_total_relation_size(oid)) FROM pg_class
         WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r')::bigint
"""
_EVENTS_A_WORKFLOW = 3  # created, started, completed


class Times(Struct, frozen=True):
    """Percentiles of the recorded durations of steps and workflows, from start to end, in seconds."""

    step_p50_s: float
    step_p95_s: float
    workflow_p50_s: float
    workflow_p99_s: float


class Written(Struct, frozen=True):
    """Bytes that the server has written to its log since its start, and bytes of the tables with their indexes."""

    wal_bytes: int
    stored_bytes: int

    def since(self, before: "Written") -> "Written":
        return Written(self.wal_bytes - before.wal_bytes, self.stored_bytes - before.stored_bytes)


class Incomplete(Exception):
    """The rows that a run has left are not complete."""


async def bare_commits(connection: asyncpg.Connection, number: int) -> list[float]:
    """Run *number* one-row commits, one after the other, and return how long each took in seconds."""
    await connection.execute(_PREPARE)
    update = await connection.prepare(_COMMIT)
    durations = []
    for _ in range(number):
        began = time.perf_counter()
        await update.fetch()
        durations.append(time.perf_counter() - began)
    return durations


async def forget_all(connection: asyncpg.Connection) -> None:
    """Delete all workflows. For a scratch schema only."""
    await connection.execute("TRUNCATE workflows, steps, tasks, events")


async def written(connection: asyncpg.Connection) -> Written:
    return Written(*(await connection.fetchrow(_WRITTEN)))


async def check_rows(connection: asyncpg.Connection, workflows: int, steps: int, transitions: int) -> None:
    """Raise `Incomplete` unless there are exactly so many workflows with so many steps in all, all completed.

    *transitions* is the number of transitions of each step.
    """
    counts = dict(await connection.fetchrow(_COMPLETE))
    events = workflows * _EVENTS_A_WORKFLOW + steps * transitions
    expected = {"workflows": workflows, "steps": steps, "tasks": steps, "events": events}
    if counts != expected:
        raise Incomplete(f"the rows should be {expected}, but are {counts}")


async def recorded_times(connection: asyncpg.Connection) -> Times:
    return Times(*(await connection.fetchrow(_TIMES)))
