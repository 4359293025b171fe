"""A process that stores, changes and deletes a definition, and kills itself at a point of that."""

import asyncio
from pathlib import Path

from support.processes.death_points import DeathPoints
from support.service.live_service import running_service

STEPS = [[{"id": name, "task_type": "PASSTHROUGH"}] for name in ("first", "second")]


def store_and_die(dsn: str, folder: Path, name: str, at: int) -> None:
    """Store two versions of *name*, change it and delete it, in a process that dies at point *at*: before or after a
    statement, BEGIN and COMMIT among them. Exit with 0 if there is no such point.
    """
    points = DeathPoints(at, counting=False)
    points.number_all()

    async def run() -> None:
        async with running_service(dsn, folder) as service:
            client, path = service.client, f"/api/v1/definitions/{name}"
            points.counting = True
            for steps in STEPS:
                assert (await client.put(path, json={"steps": steps})).status_code == 201
            assert (await client.patch(path, json={"default_version": 1, "labels": {"a": "b"}})).status_code == 200
            assert (await client.delete(path)).status_code == 200
            points.counting = False

    asyncio.run(run())
