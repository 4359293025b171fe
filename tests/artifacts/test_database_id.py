"""A store belongs to one database, and all processes of that database use the same store."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from stepwell.artifacts.store_setup import ID_FILE, StorageRefused, open_storage
from stepwell.settings import Settings
from support.emulators.s3 import KEY_ID, SECRET_KEY, S3Server
from support.service.live_service import running_service

ORPHAN = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/result.png"


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest, s3: S3Server, tmp_path: Path) -> Settings:
    if request.param == "folder":
        return Settings(data_dir=tmp_path)
    bucket: dict[str, Any] = {
        "s3_bucket": s3.bucket().name,
        "s3_endpoint": s3.url,
        "s3_access_key_id": KEY_ID,
        "s3_secret_access_key": SECRET_KEY,
    }
    return Settings(data_dir=tmp_path, **bucket)


async def test_a_store_is_bound_to_the_first_database_and_refuses_others(settings: Settings) -> None:
    own, other = uuid4(), uuid4()
    storage = await open_storage(settings)
    for _ in range(2):
        await storage.identity.bind(own, must_exist=False)
    await storage.identity.bind(own, must_exist=True)
    with pytest.raises(StorageRefused) as refused:
        await storage.identity.bind(other, must_exist=False)
    name = storage.identity.description
    assert str(refused.value).startswith(f"cannot use {name}: it belongs to another database ({own}, not {other}): ")


async def test_the_file_with_the_id_is_no_artifact_that_a_sweep_or_a_copy_finds(settings: Settings) -> None:
    storage = await open_storage(settings)
    await storage.identity.bind(uuid4(), must_exist=False)
    await storage.artifacts.put(ORPHAN, b"x")
    assert [list(page) async for page in storage.artifacts.paths()] == [[ORPHAN]]


async def test_an_empty_file_that_a_power_cut_has_left_is_written_again(tmp_path: Path) -> None:
    own, file = uuid4(), tmp_path / "artifacts" / ID_FILE
    storage = await open_storage(Settings(data_dir=tmp_path))
    await storage.identity.bind(own, must_exist=False)
    file.write_text("")
    await storage.identity.bind(own, must_exist=False)
    assert file.read_text() == f"{own}\n"


async def open_and_close(dsn: str, folder: Path, *, exclusive: bool) -> None:
    async with running_service(dsn, folder, exclusive=exclusive):
        pass


async def test_a_process_on_a_folder_that_it_does_not_share_is_refused(dsn: str, tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    for _ in range(2):
        await open_and_close(dsn, shared, exclusive=False)
    with pytest.raises(StorageRefused) as refused:
        await open_and_close(dsn, own, exclusive=False)
    line = str(refused.value)
    assert line.startswith(f"cannot use the artifact folder {own}/artifacts: it isn't the folder that this database's ")
    assert line.endswith(f" to {own}/artifacts/{ID_FILE}")
    await open_and_close(dsn, own, exclusive=True)  # it is alone


async def test_of_processes_that_start_together_on_separate_folders_only_one_starts(dsn: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    starts = [open_and_close(dsn, folder, exclusive=False) for folder in folders]
    results = await asyncio.gather(*starts, return_exceptions=True)
    assert sorted(map(type, results), key=str) == [type(None), StorageRefused, StorageRefused]
    assert sum((folder / "artifacts" / ID_FILE).exists() for folder in folders) == 1
    await open_and_close(dsn, folders[results.index(None)], exclusive=False)


async def test_a_file_that_only_a_newer_version_knows_is_not_swept(
    dsn: str, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "artifacts" / ORPHAN
    file.parent.mkdir(parents=True)
    revision = await sql.fetchval("SELECT version_num FROM schema_revision")
    for version, is_kept in (("9999", True), (revision, False)):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
        await sql.execute("UPDATE schema_revision SET version_num = $1", version)
        async with running_service(dsn, tmp_path):
            assert file.exists() is is_kept
