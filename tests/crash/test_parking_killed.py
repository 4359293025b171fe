"""kill -9 at every point of parking: each wait ends once, each workflow goes on, and nothing is begun twice."""

import signal
from collections import Counter
from pathlib import Path

import asyncpg

from support.processes.forks import call_in_fork
from support.processes.killed_parking import park_and_die
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.live_service import running_service, step_of

_EVENTS = "SELECT type, step_id FROM events WHERE workflow_id = $1 AND type ~ '^step' ORDER BY id"

_WAITS = "SELECT workflow_id, position, id FROM waits"
_WAITING_STEPS = """
SELECT workflow_id, position, (flow -> 'wait' ->> 'id')::uuid FROM steps WHERE flow -> 'wait' ->> 'id' IS NOT NULL
"""
_DUE_SOON = """
UPDATE steps SET flow = jsonb_set(flow::jsonb, '{wait,until}', to_jsonb(clock_timestamp() + interval '2 s'))::json
WHERE flow -> 'wait' ->> 'id' IS NOT NULL;
UPDATE waits SET until = clock_timestamp() + interval '2 s';
UPDATE workflows SET wake_at = clock_timestamp() + interval '2 s' WHERE wake_at IS NOT NULL;
"""


def delay(step_id: str, seconds: float, *needed: str) -> dict[str, object]:
    return {"id": step_id, "task_type": "DELAY", "config": {"seconds": seconds}, "depends_on": list(needed)}


async def test_waits_end_once_and_workflows_go_on_whenever_their_process_is_killed(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()]) as service:
        steps = delay("first", 3_600), delay("second", 0.2, "first"), configured_step("after", "second")
        running, paused = [(await service.create(*steps))["id"] for _ in range(2)]
        for each in (running, paused):
            await service.until(each, lambda workflow: step_of(workflow, "first")["waiting_for"] is not None)
        assert (await service.verb(paused, "pause")).status_code == 200
    sql, deaths = await asyncpg.connect(dsn), 0
    await sql.execute(_DUE_SOON)
    while True:
        code = await call_in_fork(park_and_die, dsn, tmp_path, deaths)
        if code == 0:
            break
        assert code == -signal.SIGKILL, deaths
        assert set(map(tuple, await sql.fetch(_WAITS))) == set(map(tuple, await sql.fetch(_WAITING_STEPS)))
        deaths += 1
    assert deaths >= 5
    events = {each: [tuple(row) for row in await sql.fetch(_EVENTS, each)] for each in (running, paused)}
    statuses = await sql.fetch("SELECT id, status FROM workflows")
    assert await sql.fetchval("SELECT count(*) FROM steps WHERE flow IS NOT NULL") == 0
    assert await sql.fetch(_WAITS) == []
    await sql.close()
    assert {str(row["id"]): row["status"] for row in statuses} == {running: "COMPLETED", paused: "PAUSED"}
    first = [("step.waiting", "first"), ("step.completed", "first")]
    second = [("step.waiting", "second"), ("step.completed", "second")]
    assert events[paused] == first
    assert events[running][:4] == first + second
    # An attempt that a killed process began continues.
    assert Counter(events[running][4:]) == Counter([("step.started", "after"), ("step.completed", "after")])
