"""A process that cleans a workflow and kills itself at a point of the cleanup."""

import asyncio
from pathlib import Path

from stepwell.app import Database
from stepwell.artifacts.store import ObstoreArtifacts
from support.processes.death_points import DeathPoints, killing_source
from support.service.live_service import running_service


def clean_and_die(dsn: str, folder: Path, workflow_id: str, at: int) -> None:
    """Clean the workflow in a process that dies at point *at*, or exit with 0 if the cleanup has no such point."""
    points = DeathPoints(at)
    delete = ObstoreArtifacts.delete

    async def killed_delete(self: ObstoreArtifacts, path: str) -> None:
        await points.around(delete)(self, path)

    ObstoreArtifacts.delete = killed_delete  # type: ignore[method-assign]

    def add_points(database: Database) -> None:
        cleanups, store = database.cleanups, database.workflow_store
        for name in ("due", "next_tasks", "settle", "counts"):
            setattr(cleanups, name, points.around(getattr(cleanups, name)))
        write = points.around(store.write, lambda batch: any(d.cleanup is not None for d in batch))
        store.write = write  # type: ignore[method-assign]

    async def run() -> None:
        async with running_service(killing_source(dsn, add_points), folder) as service:
            response = await service.verb(workflow_id, "cleanup")
            assert response.json()["cleanup"]["pending"] is False, response.text

    asyncio.run(run())
