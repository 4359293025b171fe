"""A process that runs workflows that wait for admission, and kills itself at a point of that."""

import asyncio
from pathlib import Path

from stepwell.app import Database
from support.processes.death_points import DeathPoints, killing_source
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.live_service import running_service

_CALM_S = 0.05  # the life before a workflow is tried alone; short, because these processes die soon


def admit_and_die(dsn: str, folder: Path, max_active_workflows: int, at: int) -> None:
    """Run all workflows in a process that dies at point *at*, or exit with 0 if that has no such point.

    The points are before and after each admission, and each checkpoint.
    """
    points = DeathPoints(at)

    def add_points(database: Database) -> None:
        store = database.workflow_store
        for name in ("admit", "write"):
            setattr(store, name, points.around(getattr(store, name)))

    async def run() -> None:
        async with running_service(
            killing_source(dsn, add_points),
            folder,
            providers=[ConfiguredProvider()],
            wait_for_claims=False,
            max_active_workflows=max_active_workflows,
        ) as service:
            ownership = service.app.engine.ownership
            ownership.trials.calm_s = _CALM_S
            await ownership.caught_up.wait()
            admission, scheduler = service.app.services.admission, service.app.engine.scheduler
            while scheduler.workflows or admission.waiting:
                await asyncio.sleep(0.01)

    asyncio.run(run())
