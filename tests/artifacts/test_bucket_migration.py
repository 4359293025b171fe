"""From a folder to a bucket under a running service: what is where meanwhile, and what strikes in between."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from stepwell.artifacts import bucket_migration as module
from stepwell.artifacts.bucket_migration import MigratingArtifacts
from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.basics.errors import ArtifactError, ArtifactGone, Unavailable
from support.emulators.s3 import S3Server

PATHS = [f"media/{uuid4()}/result.png" for _ in range(5)]
OLD, NEW, *_ = PATHS


class World:
    """A folder with files that the database knows (`recorded`), and an empty bucket."""

    def __init__(self, root: Path, s3: S3Server) -> None:
        self.folder, self.bucket = ObstoreArtifacts.local(root), ObstoreArtifacts.s3(s3.bucket())
        self.migrating = MigratingArtifacts(self.folder, self.bucket)
        self.known: set[str] = set()
        self.asked: list[Sequence[UUID]] = []

    async def recorded(self, tasks: Sequence[UUID]) -> set[str]:
        self.asked.append(tasks)
        return {path for path in self.known if UUID(path.split("/")[1]) in tasks}

    async def add(self, *paths: str) -> None:
        for path in paths:
            await self.folder.put(path, f"old {path}".encode())
            self.known.add(path)

    async def copy(self) -> None:
        await self.migrating.copy_all(self.recorded)

    async def copied(self) -> set[str]:
        return {path async for page in self.bucket.paths() for path in page}


@pytest.fixture
def world(root: Path, s3: S3Server) -> World:
    return World(root, s3)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "_LAST_PAUSE_S", 0.02)


async def read(store: MigratingArtifacts, path: str) -> bytes:
    async with store.stream(path) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_both_stores_are_read_and_only_the_bucket_is_written(world: World, root: Path) -> None:
    await world.add(OLD)
    await world.migrating.put(NEW, b"new")
    for path, data in ((OLD, f"old {OLD}".encode()), (NEW, b"new")):
        assert await world.migrating.get(path) == data
        assert await read(world.migrating, path) == data
    assert await world.copied() == {NEW}
    assert not (root / NEW).exists()
    assert {path async for page in world.migrating.paths() for path in page} == {OLD, NEW}
    for missing in (PATHS[2], "media/../x"):
        with pytest.raises(ArtifactGone):
            await world.migrating.get(missing)
        with pytest.raises(ArtifactGone):
            await read(world.migrating, missing)


async def test_a_new_file_in_the_bucket_hides_a_left_over_in_the_folder(world: World) -> None:
    """An attempt that was cut off has written, and goes on under the same id."""
    await world.folder.put(OLD, b"unrecorded, and longer")
    await world.migrating.put(OLD, b"recorded")
    world.known.add(OLD)
    await world.copy()
    assert await world.migrating.get(OLD) == await read(world.migrating, OLD) == b"recorded"


async def test_a_deletion_removes_the_file_from_either_store(world: World) -> None:
    await world.add(*PATHS[:2])
    await world.copy()
    await world.add(PATHS[2])  # in the folder alone
    await world.migrating.put(PATHS[3], b"in the bucket alone")
    for path in PATHS[:4]:
        await world.migrating.delete(path)
        with pytest.raises(ArtifactGone):
            await world.migrating.delete(path)
        with pytest.raises(ArtifactGone):
            await world.folder.get(path)
    assert await world.copied() == set()


async def test_a_deletion_that_failed_in_the_bucket_can_be_repeated(world: World, s3: S3Server) -> None:
    await world.add(OLD)
    await world.copy()
    s3.always("DELETE", 403, "AccessDenied")
    with pytest.raises(ArtifactError):
        await world.migrating.delete(OLD)
    s3.heal()
    await world.migrating.delete(OLD)
    assert await world.copied() == set()


async def test_discarding_a_task_removes_its_files_from_both_stores(world: World) -> None:
    task = UUID(OLD.split("/")[1])
    await world.add(OLD)
    await world.migrating.put(OLD.replace("result", "mask"), b"x")
    await world.migrating.discard(task)
    await world.migrating.discard(task)
    assert [page async for page in world.migrating.paths() if page] == []


async def test_recorded_files_are_copied_and_the_folder_stays_as_it_is(world: World, root: Path) -> None:
    await world.add(*PATHS[:3])
    await world.folder.put(PATHS[3], b"nobody has recorded this")
    (root / "media" / UUID(int=1).hex).mkdir()
    (root / PATHS[0]).with_name(".part-" + "0" * 32).write_bytes(b"half")
    with capture_logs() as logs:
        await world.copy()
        await world.copy()
    assert await world.copied() == set(PATHS[:3])
    assert [(log["event"], log["copied"], log["present"]) for log in logs] == [
        ("artifacts.copied", 3, 0),
        ("artifacts.copied", 0, 3),
    ]
    for path in PATHS[:3]:
        assert await world.bucket.get(path) == await world.folder.get(path) == f"old {path}".encode()


async def test_a_folder_without_files_is_logged(world: World, root: Path) -> None:
    await world.folder.put(OLD, b"nobody has recorded this")
    with capture_logs() as logs:
        await world.copy()
    assert [(log["event"], log["log_level"]) for log in logs] == [("artifacts.none_to_copy", "warning")]


async def test_an_interrupted_copy_continues_with_the_files_that_are_left(
    world: World, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    await world.add(*PATHS)
    entered, go = asyncio.Event(), asyncio.Event()
    put = world.bucket.put_stream

    async def slow(path: str, chunks: object) -> object:
        if len(await world.copied()) == 2:
            entered.set()
            await go.wait()
        return await put(path, chunks)  # type: ignore[arg-type]

    monkeypatch.setattr(world.bucket, "put_stream", slow)
    copying = asyncio.ensure_future(world.copy())
    await asyncio.wait_for(entered.wait(), 60)
    copying.cancel()
    await asyncio.wait({copying})
    assert len(await world.copied()) == 2
    go.set()
    s3.calls.clear()
    await world.copy()
    assert await world.copied() == set(PATHS)
    assert s3.kinds().count("PUT") == 3


async def test_a_failed_copy_is_logged_and_tried_again(world: World, s3: S3Server) -> None:
    await world.add(*PATHS)
    s3.always("PUT", 403, "AccessDenied")
    with capture_logs() as logs:
        copying = asyncio.ensure_future(world.copy())
        async with asyncio.timeout(60):
            while not any(log["event"] == "artifacts.not_copied" for log in logs):
                await asyncio.sleep(0.01)
        s3.heal()
        await asyncio.wait_for(copying, 60)
    assert await world.copied() == set(PATHS)
    failure = next(log for log in logs if log["event"] == "artifacts.not_copied")
    assert failure["path"] in PATHS
    assert failure["error"].endswith("could not be written: HTTP 403 AccessDenied")
    assert logs[-1]["event"] == "artifacts.copied"


async def test_a_broken_bucket_is_not_asked_for_every_file(
    world: World, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_FAILED", 2)
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 60)
    await world.add(*PATHS)
    s3.calls.clear()
    s3.always("HEAD", 403, "AccessDenied")
    with capture_logs() as logs:
        copying = asyncio.ensure_future(world.copy())
        async with asyncio.timeout(60):
            while len(logs) < 2:
                await asyncio.sleep(0.01)
        done, _ = await asyncio.wait({copying}, timeout=0.05)
        assert not done
        copying.cancel()
    assert s3.kinds() == ["HEAD", "HEAD"]


@pytest.mark.parametrize("fault", [Unavailable("the database is away"), RuntimeError("a bug")], ids=type)
async def test_neither_an_outage_nor_a_bug_ends_the_copy(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    await world.add(OLD)
    recorded, faults = world.recorded, [fault]

    async def sometimes(tasks: Sequence[UUID]) -> set[str]:
        if faults:
            raise faults.pop()
        return await recorded(tasks)

    monkeypatch.setattr(world, "recorded", sometimes)
    with capture_logs() as logs:
        await world.copy()
    assert await world.copied() == {OLD}
    assert logs[0]["event"] in ("artifacts.not_copied", "artifacts.copy_broke")


async def test_a_file_that_a_cleanup_deletes_meanwhile_is_not_in_the_bucket_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add(*PATHS[:2])
    put = world.bucket.put_stream

    async def late(path: str, chunks: object) -> object:
        if path == OLD:
            await world.migrating.delete(OLD)  # looked in the bucket before the copy was there
        return await put(path, chunks)  # type: ignore[arg-type]

    monkeypatch.setattr(world.bucket, "put_stream", late)
    await world.copy()
    assert await world.copied() == {NEW}
    with pytest.raises(ArtifactGone):
        await world.migrating.get(OLD)
