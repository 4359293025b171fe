"""A process that deletes workflows with all their data, and kills itself at a point of that."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import stepwell.engine.files.purger
from stepwell.app import Database
from stepwell.artifacts.store import ObstoreArtifacts
from support.processes.death_points import DeathPoints, killing_source
from support.service.live_service import Service, running_service


def delete_and_die(dsn: str, folder: Path, workflow_id: str, at: int) -> None:
    """Delete the data of a workflow in a process that dies at point *at*; exit with 0 if there is no such point."""

    async def delete(service: Service) -> None:
        response = await service.client.delete(f"/api/v1/workflows/{workflow_id}/data")
        assert response.json()["pending"] is False, response.text

    _run(dsn, folder, at, delete, None)


def expire_and_die(dsn: str, folder: Path, workflow_id: str, at: int) -> None:
    """The same by the retention, for which the workflow must have ended over a day ago."""

    async def wait(service: Service) -> None:
        cleanups = service.app.services.cleanups
        path = f"/api/v1/workflows/{workflow_id}"
        while (await service.client.get(path)).status_code != 404 or not cleanups.waiting:
            await asyncio.sleep(0.01)

    _run(dsn, folder, at, wait, 1)


def _run(
    dsn: str, folder: Path, at: int, work: Callable[[Service], Awaitable[None]], retention_days: int | None
) -> None:
    points = DeathPoints(at)
    stepwell.engine.files.purger.ROWS = 2  # so that the rows need several statements
    stepwell.engine.files.purger.DELETES_AT_ONCE = 1
    delete = ObstoreArtifacts.delete

    async def killed_delete(self: ObstoreArtifacts, path: str) -> None:
        await points.around(delete)(self, path)

    ObstoreArtifacts.delete = killed_delete  # type: ignore[method-assign]

    def add_points(database: Database) -> None:
        purges, store = database.purges, database.workflow_store
        for name in ("request", "delete_rows", "removals", "end_removals", "end", "expire"):
            setattr(purges, name, points.around(getattr(purges, name)))
        store.write = points.around(store.write)  # type: ignore[method-assign]

    async def run() -> None:
        async with running_service(killing_source(dsn, add_points), folder, retention_days=retention_days) as service:
            await work(service)

    asyncio.run(run())
