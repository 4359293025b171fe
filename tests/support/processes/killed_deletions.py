"""A process that deletes a workflow in one of several ways, and kills itself behind a change that this makes."""

import asyncio
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from stepwell.engine.files.retention import BATCH
from support.database.postgres import connected
from support.processes.death_points import DeathPoints
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"
_IS_OLD = "UPDATE workflows SET completed_at = now() - interval '2 days' WHERE $1 IN (id, root_id)"
_DAY_S = 86_400.0


class Way(StrEnum):
    """A way to delete a workflow."""

    CLEANUP = "cleanup"
    DATA = "data"
    RETENTION = "retention"


class Deletion(Struct, frozen=True):
    way: Way
    workflow_id: str


async def delete(service: Service, deletion: Deletion) -> list[str]:
    """Delete a workflow, or continue to, until nothing is left to do. Return the runs that lose files by that."""
    path = WORKFLOWS + deletion.workflow_id
    lost_by: list[str] = []
    async with connected(service.dsn) as sql:
        match deletion.way:
            case Way.CLEANUP:
                response = await service.client.post(f"{path}/cleanup")
                assert response.status_code == 200, response.text
            case Way.DATA:
                response = await service.client.delete(f"{path}/data")
                assert response.status_code in (200, 404), response.text
                lost_by = response.json().get("lost_by", [])
            case Way.RETENTION:
                await sql.execute(_IS_OLD, UUID(deletion.workflow_id))
                await _expire(service, path)
        while await sql.fetchval("SELECT count(*) FROM cleanups"):
            await asyncio.sleep(0.005)
    return lost_by


async def _expire(service: Service, path: str) -> None:
    """Let the retention delete the workflow, however often it finds rows that a dying process has locked."""
    services, owner = service.app.services, service.app.engine.lease.owner
    while (await service.client.get(path)).status_code != 404:
        await service.app.engine.lease.ensure()
        await services.workflows.purges.expire(owner, _DAY_S, BATCH, BATCH)
        services.cleanups.begin_purges()
        await asyncio.sleep(0.005)


def delete_and_die(dsn: str, folder: Path, earlier: Deletion | None, deletion: Deletion, at: int) -> None:
    """End the *earlier* deletion, which a death has interrupted. Then delete, and die at point *at* of this.

    Exit with 0 if there is no such point.
    """
    points = DeathPoints(at, counting=False)
    points.number_changes()

    async def run() -> None:
        async with running_service(dsn, folder, providers=[ConfiguredProvider()]) as service:
            if earlier is not None:
                await delete(service, earlier)
            points.counting = True
            await delete(service, deletion)
            points.counting = False

    asyncio.run(run())
