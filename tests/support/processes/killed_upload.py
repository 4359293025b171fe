"""A process that uploads a file and kills itself at a point of the upload."""

import asyncio
from pathlib import Path
from typing import IO

from stepwell.app import Database
from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.contract.tasks import Output
from support.processes.death_points import DeathPoints, killing_source
from support.service.live_service import running_service


def upload_and_die(dsn: str, folder: Path, at: int) -> None:
    """Upload a file, and delete it, in a process that dies at point *at*. Exit with 0 if there is no such point."""
    points = DeathPoints(at)
    put_file, discard = ObstoreArtifacts.put_file, ObstoreArtifacts.discard

    async def killed_put_file(self: ObstoreArtifacts, path: str, file: IO[bytes]) -> Output:
        output: Output = await points.around(put_file)(self, path, file)
        return output

    ObstoreArtifacts.put_file = killed_put_file  # type: ignore[method-assign]
    ObstoreArtifacts.discard = points.around(discard)  # type: ignore[method-assign]

    def add_points(database: Database) -> None:
        uploads = database.uploads
        for name in ("reserve", "finish", "begin_deletion", "end_deletion"):
            setattr(uploads, name, points.around(getattr(uploads, name)))

    async def run() -> None:
        async with running_service(killing_source(dsn, add_points), folder) as service:
            headers = {"Content-Type": "text/plain"}
            response = await service.client.post("/api/v1/artifacts", content=b"some text", headers=headers)
            path = response.json()["artifacts"][0]["path"]
            await service.client.delete(f"/api/v1/artifacts/{path}")

    asyncio.run(run())
