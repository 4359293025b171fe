"""The expiry of uploads in a running service: when they are due, and whatever the store does."""

from pathlib import Path
from typing import Any

import pytest

from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.basics.errors import ArtifactDiskFull, ArtifactError
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import passthrough_step
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

ARTIFACTS = "/api/v1/artifacts"
TTL_S = 604_800.0
DAY_S = 86_400.0


async def upload(service: Service, data: bytes = b"some text") -> str:
    response = await service.client.post(ARTIFACTS, content=data, headers={"Content-Type": "text/plain"})
    assert response.status_code == 201, response.text
    path: str = response.json()["artifacts"][0]["path"]
    return path


def is_there(service: Service, path: str) -> bool:
    return (service.artifacts / path).exists()


async def test_an_upload_is_deleted_a_week_after_its_last_use(tmp_path: Path) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path) as service:
        path = await upload(service)
        clock.advance(TTL_S - 60)
        again = await service.client.post(ARTIFACTS, content=b"some text", headers={"Content-Type": "text/plain"})
        assert again.status_code == 200
        clock.advance(TTL_S - 60)
        assert (await service.client.get(f"{ARTIFACTS}/{path}")).status_code == 200
        clock.advance(120)
        await eventually(lambda: not database.tables.uploads)
        assert not is_there(service, path)
        assert list((tmp_path / "artifacts" / "media").iterdir()) == []


async def test_an_expired_upload_stays_while_a_workflow_names_it(tmp_path: Path) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path) as service:
        path = await upload(service)
        step = passthrough_step("a") | {"config": {"image_url": path}}
        workflow = await service.until_ended((await service.create(step))["id"])
        for _ in range(10):
            clock.advance(DAY_S)
        (row,) = database.tables.uploads.values()
        await eventually(lambda: row.expires_at > clock.now())
        assert is_there(service, path)
        report = (await service.verb(workflow["id"], "cleanup")).json()["cleanup"]
        assert report["deleted_paths"] == []
        assert is_there(service, path)
        clock.advance(DAY_S)
        await eventually(lambda: not database.tables.uploads)
        assert not is_there(service, path)


async def test_a_deletion_that_fails_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    discard, away = ObstoreArtifacts.discard, True

    async def refuse(self: ObstoreArtifacts, upload_id: Any) -> None:
        if away:
            raise ArtifactError("the store is away")
        await discard(self, upload_id)

    monkeypatch.setattr(ObstoreArtifacts, "discard", refuse)
    async with running_service(database, tmp_path) as service:
        path = await upload(service)
        assert (await service.client.delete(f"{ARTIFACTS}/{path}")).status_code == 200
        assert (await service.client.get(f"{ARTIFACTS}/{path}")).status_code == 404
        assert is_there(service, path)
        away = False
        clock.advance(301)
        await eventually(lambda: not database.tables.uploads)
        assert not is_there(service, path)


@pytest.mark.parametrize(("error", "status"), [(ArtifactDiskFull("full"), 507), (ArtifactError("away"), 503)])
async def test_an_upload_that_cannot_be_stored_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: ArtifactError, status: int
) -> None:
    database = MemoryDatabase()

    async def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(ObstoreArtifacts, "put_file", refuse)
    async with running_service(database, tmp_path) as service:
        response = await service.client.post(ARTIFACTS, content=b"text", headers={"Content-Type": "text/plain"})
        assert response.status_code == status
        assert "retry-after" in response.headers
        assert database.tables.uploads == {}


async def test_files_of_uploads_survive_the_sweep_of_the_next_start(tmp_path: Path) -> None:
    database = MemoryDatabase()
    async with running_service(database, tmp_path) as service:
        path = await upload(service)
    async with running_service(database, tmp_path) as service:
        assert (await service.client.get(f"{ARTIFACTS}/{path}")).content == b"some text"


async def test_a_process_sweeps_what_expired_while_none_ran(tmp_path: Path) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path) as service:
        path = await upload(service)
    clock.advance(TTL_S + 1)
    async with running_service(database, tmp_path) as service:
        await eventually(lambda: not database.tables.uploads)
        assert not is_there(service, path)
