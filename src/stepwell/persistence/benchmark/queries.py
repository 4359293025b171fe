"""What a benchmark asks the database itself: how long a bare commit takes, and what the rows say of a run."""

import time

import asyncpg
from msgspec import Struct

_PREPARE = """
CREATE TABLE IF NOT EXISTS yardstick (id integer PRIMARY KEY, number integer NOT NULL);
INSERT INTO yardstick VALUES (1, 0) ON CONFLICT DO NOTHING
"""
_COMMIT = "UPDATE yardstick SET number = number + 1 WHERE id = 1"
# Every row that a run must leave: two transitions a step, each with its event, and one task.
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
_EVENTS_A_WORKFLOW = 3  # created, started, completed


class Times(Struct, frozen=True):
    """As the rows tell them, in seconds: from the start of a step, or a workflow, to its recorded end."""

    step_p50_s: float
    step_p95_s: float
    workflow_p50_s: float
    workflow_p99_s: float


class Incomplete(Exception):
    """The rows of a run aren't what they must be."""


async def bare_commits(connection: asyncpg.Connection, number: int) -> list[float]:
    """How long *number* one-row commits took, one after the other, in seconds."""
    await connection.execute(_PREPARE)
    update = await connection.prepare(_COMMIT)
    found = []
    for _ in range(number):
        began = time.perf_counter()
        await update.fetch()
        found.append(time.perf_counter() - began)
    return found


async def forget_all(connection: asyncpg.Connection) -> None:
    """Delete every workflow there is: in a scratch schema only."""
    await connection.execute("TRUNCATE workflows, steps, tasks, events")


async def check_rows(connection: asyncpg.Connection, workflows: int, steps: int) -> None:
    """Raise `Incomplete` unless exactly that many workflows with that many steps in all are there, all completed."""
    found = dict(await connection.fetchrow(_COMPLETE))
    events = workflows * _EVENTS_A_WORKFLOW + steps * 2
    wanted = {"workflows": workflows, "steps": steps, "tasks": steps, "events": events}
    if found != wanted:
        raise Incomplete(f"the rows should be {wanted}, but are {found}")


async def recorded_times(connection: asyncpg.Connection) -> Times:
    return Times(*(await connection.fetchrow(_TIMES)))
