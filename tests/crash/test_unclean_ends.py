"""A step that kills its process: it alone fails, and all other workflows complete."""

import asyncio
import signal
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from stepwell.lifecycle.unclean_ends import CALM_S, DEATHS_ALONE, UNCLEAN_ENDS
from support.processes.forks import call_in_fork, fork_call
from support.processes.poisoned_service import live_poisoned
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, steps_are
from support.service.live_service import running_service

_LIVES, _KILLS = 12, 12


async def _under_way(dsn: str, folder: Path, *step_ids: str) -> dict[str, str]:
    """Make a workflow of each step, and let it look as if their process was killed while all steps ran."""
    made = {}
    async with running_service(dsn, folder, providers=[ConfiguredProvider()], grace_s=0.5) as service:
        for step_id in step_ids:
            made[step_id] = (await service.create(configured_step(step_id, wait=True)))["id"]
            await service.until(made[step_id], steps_are("RUNNING"))
    sql = await asyncpg.connect(dsn)
    dead = uuid4()
    await sql.execute("INSERT INTO processes VALUES ($1, 'infinity')", dead)
    await sql.execute("UPDATE workflows SET owner = $1 WHERE owner IS NOT NULL", dead)
    # From now on the steps wait for nothing.
    await sql.execute("UPDATE steps SET definition = replace(definition::text, 'true', 'false')::json")
    await sql.close()
    return made


async def _statuses(dsn: str, made: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    sql = await asyncpg.connect(dsn)
    rows = await sql.fetch("SELECT id::text, status, failure FROM workflows")
    await sql.close()
    found = {row["id"]: (row["status"], row["failure"]) for row in rows}
    return {name: found[workflow_id] for name, workflow_id in made.items()}


async def test_the_workflow_that_kills_its_process_fails_and_the_others_complete(dsn: str, tmp_path: Path) -> None:
    made = await _under_way(dsn, tmp_path, "poison", "a", "b", "c")
    deaths = 0
    for _ in range(_LIVES):
        code = await call_in_fork(live_poisoned, dsn, tmp_path, 0.2)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1
    done = ("COMPLETED", None)
    failure = "workflow: its process died 3 times in a row while this workflow alone was under way"
    assert await _statuses(dsn, made) == {"poison": ("FAILED", failure), "a": done, "b": done, "c": done}
    assert deaths <= UNCLEAN_ENDS + DEATHS_ALONE


@pytest.mark.extended
async def test_kills_at_different_moments_fail_nobody(dsn: str, tmp_path: Path) -> None:
    made = await _under_way(dsn, tmp_path, "a", "b", "c")
    for kill in range(_KILLS):
        life = fork_call(live_poisoned, dsn, tmp_path, CALM_S)
        await asyncio.sleep(kill / _KILLS)
        life.kill()
        await asyncio.to_thread(life.wait)
    assert await call_in_fork(live_poisoned, dsn, tmp_path, 0.2) == 0
    assert await _statuses(dsn, made) == dict.fromkeys(made, ("COMPLETED", None))
