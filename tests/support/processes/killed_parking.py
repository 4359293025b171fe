"""A process that runs workflows which are parked at once, and kills itself at a point of that."""

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import asyncpg

from stepwell.app import Database
from stepwell.lifecycle import parking
from stepwell.persistence.stores import workflow_store
from support.processes.death_points import DeathPoints, killing_source
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.live_service import running_service

LEASE_S = 1.0
_PARKED = "SELECT count(*) FROM workflows WHERE wake_at IS NOT NULL AND owner IS NULL"
_CALM_S = 0.05  # the life before a workflow is tried alone; short, because these processes die soon
_POSTPONED_S = 0.1
# A PAUSED one that only waits is due at its time, too.
_UNENDED = "SELECT count(*) FROM workflows WHERE status = 'RUNNING' OR wake_at IS NOT NULL OR owner IS NOT NULL"


def park_and_die(dsn: str, folder: Path, at: int) -> None:
    """Run all workflows in a process that dies at point *at*, or exit with 0 if that has no such point.

    The points are before and after each checkpoint, each look for workflows that are due, and each admission. Each
    workflow that only waits is parked at once.
    """
    points = DeathPoints(at)
    parking.PARKED_FROM = timedelta()
    vars(workflow_store)["POSTPONED_S"] = _POSTPONED_S

    def add_points(database: Database) -> None:
        store = database.workflow_store
        for name in ("admit", "unpark", "write"):
            setattr(store, name, points.around(getattr(store, name)))

    async def run() -> None:
        sql = await asyncpg.connect(dsn)
        async with running_service(
            killing_source(dsn, add_points), folder, providers=[ConfiguredProvider()], wait_for_claims=False
        ) as service:
            service.app.engine.scheduler.timers.park_after_s = 0.0
            ownership = service.app.engine.ownership
            ownership.trials.calm_s = _CALM_S
            await ownership.caught_up.wait()
            while await sql.fetchval(_UNENDED):
                await asyncio.sleep(0.01)
        await sql.close()

    asyncio.run(run())


def park_one_and_die(dsn: str, folder: Path, seconds: float) -> None:
    """Create a workflow that waits for so many seconds, beside other processes, and die once it is parked."""
    parking.PARKED_FROM = timedelta()
    steps = {"id": "wait", "task_type": "DELAY", "config": {"seconds": seconds}}, configured_step("after", "wait")

    async def run() -> None:
        sql = await asyncpg.connect(dsn)
        async with running_service(
            dsn, folder, providers=[ConfiguredProvider()], exclusive=False, lease_s=LEASE_S
        ) as service:
            service.app.engine.scheduler.timers.park_after_s = 0.0
            workflow_id = (await service.create(*steps))["id"]
            while not await sql.fetchval(_PARKED):
                if (await service.get(workflow_id))["status"] == "COMPLETED":  # this machine is too busy
                    workflow_id = (await service.create(*steps))["id"]
                await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(run())
