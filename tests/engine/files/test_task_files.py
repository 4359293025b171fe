"""The files of tasks: the sweep when the service starts, and cleanup, if something goes wrong.

The cleanup of many tasks runs on PostgreSQL, because the parameters of its statements are the subject.
"""

from collections.abc import Iterable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from stepwell.artifacts.disk import Disk
from stepwell.basics.artifacts import ArtifactPath
from stepwell.testing import MemoryDatabase
from support.database.postgres import connected
from support.providers.scripted import ScriptedProvider, scripted_step
from support.service.live_service import running_service


async def test_the_service_starts_although_a_file_cannot_be_deleted(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "artifacts" / "media" / str(uuid4()) for _ in range(3)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "result.png").write_bytes(b"nobody has recorded this")
    unlink = Disk.unlink

    def refuse_one(self: Disk, path: ArtifactPath, previews: Iterable[str]) -> None:
        if path.folder == folders[1].name:
            raise PermissionError(13, "Permission denied")
        unlink(self, path, previews)

    monkeypatch.setattr(Disk, "unlink", refuse_one)
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()]) as service:
        assert [folder.exists() for folder in folders] == [False, True, False]
        workflow = await service.create(scripted_step("a"))
        assert (await service.until_ended(workflow["id"]))["status"] == "COMPLETED"


@pytest.mark.extended
async def test_cleanup_handles_more_tasks_than_a_statement_has_parameters(dsn: str, tmp_path: Path) -> None:
    many = 33_000  # 10,000 steps with a few attempts each have more
    async with (
        running_service(dsn, tmp_path, providers=[ScriptedProvider()]) as service,
        connected(dsn) as sql,
    ):
        service.app.services.cleanups.wait_s = 60
        workflow_id = (await service.create(scripted_step("a")))["id"]
        await service.until_ended(workflow_id)
        await sql.execute(
            "INSERT INTO tasks (id, workflow_id, position, attempt, started_at, status, phase, outputs)"
            " SELECT gen_random_uuid(), $1, 0, n, now(), 'FAILED', 'INTENT', '[]' FROM generate_series(2, $2::int) n",
            UUID(workflow_id),
            many,
        )
        response = await service.verb(workflow_id, "cleanup")
        assert (response.status_code, response.json().get("cleanup", {}).get("tasks_cleaned")) == (200, many)
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE deleted_at IS NULL") == 0
