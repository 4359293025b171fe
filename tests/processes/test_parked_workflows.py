"""Workflows that one process has parked: another one runs them when they are due, whether the first lives or not."""

import signal
from pathlib import Path

import asyncpg

from support.processes.forks import call_in_fork
from support.processes.killed_parking import LEASE_S, park_one_and_die
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.live_service import running_service


async def test_an_idle_process_runs_what_a_killed_one_has_parked(dsn: str, tmp_path: Path) -> None:
    """Nobody has told the idle process of it, and nothing needs it before the workflow is due."""
    async with running_service(
        dsn, tmp_path, providers=[ConfiguredProvider()], exclusive=False, lease_s=LEASE_S
    ) as idle:
        assert await call_in_fork(park_one_and_die, dsn, tmp_path, 2 * LEASE_S) == -signal.SIGKILL
        sql = await asyncpg.connect(dsn)
        workflow_id = await sql.fetchval("SELECT id FROM workflows ORDER BY created_at DESC LIMIT 1")
        assert (await idle.until_ended(str(workflow_id)))["status"] == "COMPLETED"
        # It was started with an owner, waited for admission when it was due, and was admitted. If the first process
        # stood still for longer than its lease, the idle one has claimed it, too.
        assert await sql.fetchval("SELECT epoch FROM workflows WHERE id = $1", workflow_id) >= 3
        await sql.close()
