"""The queries of `stepwell bench`: how long a bare commit takes, and what the rows of a run contain."""

import time

import asyncpg
from msgspec import Struct

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
