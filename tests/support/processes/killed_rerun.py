"""A process that starts a run which reuses results, and kills itself at a point of that."""

import asyncio
from pathlib import Path

from stepwell.app import Database
from support.processes.death_points import DeathPoints, killing_source
from support.service.live_service import running_service


def run_and_die(dsn: str, folder: Path, workflow_id: str, at: int) -> None:
    """Start the workflow in a process that dies at point *at*, or exit with 0 if its run has no such point."""
    points = DeathPoints(at)

    def add_points(database: Database) -> None:
        store = database.workflow_store
        for name in ("earlier_results", "take_results", "write"):
            setattr(store, name, points.around(getattr(store, name)))

    async def run() -> None:
        async with running_service(killing_source(dsn, add_points), folder) as service:
            await service.verb(workflow_id, "start")
            await service.until_ended(workflow_id)

    asyncio.run(run())
