"""Workflows that one process has parked: another one runs them when they are due, whether the first lives or not."""

import asyncio
import signal
from pathlib import Path

import asyncpg

from support.processes.killed_parking import LEASE_S, park_one_and_die
from support.processes.warm_process import WarmProcess
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.live_service import running_service


async def test_an_idle_process_runs_what_a_killed_one_has_parked(dsn: str, tmp_path: Path) -> None:
    """Nobody has told the idle process of it, and nothing needs it before the workflow is due."""
    async with running_service(
        dsn, tmp_path, providers=[ConfiguredProvider()], exclusive=False, lease_s=LEASE_S
    ) as idle:
        life = WarmProcess(target=park_one_and_die, args=(dsn, tmp_path, 2 * LEASE_S))
        await asyncio.to_thread(life.start)  # the process that forks takes longer to start than a lease
        await asyncio.to_thread(life.join, 60)
        assert life.exitcode == -signal.SIGKILL
        sql = await asyncpg.connect(dsn)
        workflow_id = await sql.fetchval("SELECT id FROM workflows ORDER BY created_at DESC LIMIT 1")
        assert (await idle.until_ended(str(workflow_id)))["status"] == "COMPLETED"
        # It was started with an owner, waited for admission when it was due, and was admitted.
        assert await sql.fetchval("SELECT epoch FROM workflows WHERE id = $1", workflow_id) == 3
        await sql.close()
