"""What the store promises: whole files or none, on the disk, and a clean end of each."""

import asyncio
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from uuid import UUID, uuid4

import pytest
from anyio import run_process
from obstore.store import MemoryStore

from stepwell.artifacts.store import CHUNK, PAGE, ObstoreArtifacts
from stepwell.basics.artifacts import preview_path
from stepwell.basics.errors import ArtifactError, ArtifactGone, CallFailed
from stepwell.contract.tasks import Output
from stepwell.runtime.temporary_files import path_for_others, temporary_file
from support.emulators.s3 import S3Server

TASK = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")
PATH = f"media/{TASK}/result.png"
Put: TypeAlias = Callable[[ObstoreArtifacts, str, bytes], Awaitable[Output]]


@pytest.fixture(params=["local", "s3", "other"])
def any_store(request: pytest.FixtureRequest, root: Path) -> ObstoreArtifacts:
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3")
        return ObstoreArtifacts.s3(server.bucket())
    return ObstoreArtifacts.local(root) if request.param == "local" else ObstoreArtifacts(MemoryStore())


async def all_paths(store: ObstoreArtifacts) -> list[str]:
    return sorted([path async for page in store.paths() for path in page])


async def read(store: ObstoreArtifacts, path: str) -> list[bytes]:
    async with store.stream(path) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(3 * CHUNK + 17)], ids=["empty", "small", "large"])
async def test_a_stored_file_is_read_unchanged(any_store: ObstoreArtifacts, data: bytes) -> None:
    output = await any_store.put(PATH, data)
    assert output == Output(PATH, len(data), hashlib.sha256(data).hexdigest())
    assert await any_store.get(PATH) == data
    assert b"".join(await read(any_store, PATH)) == data
    assert await all_paths(any_store) == [PATH]


@pytest.mark.parametrize(("start", "end"), [(0, 1), (CHUNK - 1, 2 * CHUNK + 1), (3 * CHUNK + 16, 3 * CHUNK + 17)])
async def test_a_part_of_a_file_is_read_alone(any_store: ObstoreArtifacts, start: int, end: int) -> None:
    data = os.urandom(3 * CHUNK + 17)
    await any_store.put(PATH, data)
    async with any_store.stream(PATH, (start, end)) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == data[start:end]


async def test_a_large_file_is_read_in_chunks(store: ObstoreArtifacts) -> None:
    await store.put(PATH, bytes(3 * CHUNK))
    assert len(await read(store, PATH)) >= 3


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_a_stream_is_stored_as_one_file(any_store: ObstoreArtifacts) -> None:
    output = await any_store.put_stream(PATH, chunks_of(b"one, ", b"", b"two"))
    assert output == Output(PATH, 8, hashlib.sha256(b"one, two").hexdigest())
    assert await any_store.get(PATH) == b"one, two"


@pytest.mark.parametrize("of_the_store", [True, False])
async def test_a_file_that_another_process_has_written_is_stored_whole(
    any_store: ObstoreArtifacts, *, of_the_store: bool
) -> None:
    data = os.urandom(3 * CHUNK + 17)
    async with any_store.temporary_file() if of_the_store else temporary_file() as file:
        await run_process(["tee", path_for_others(file)], input=data)
        output = await any_store.put_file(PATH, file)
    assert output == Output(PATH, len(data), hashlib.sha256(data).hexdigest())
    assert await any_store.get(PATH) == data


async def test_a_temporary_file_of_the_store_becomes_the_stored_file_without_a_copy(
    store: ObstoreArtifacts, root: Path
) -> None:
    await store.put(PATH, b"old")
    async with store.temporary_file() as file:
        file.write(b"new")
        assert await all_paths(store) == [PATH], "it has no name"
        await store.put_file(PATH, file)
        assert (root / PATH).stat().st_ino == os.fstat(file.fileno()).st_ino
        await store.put_file(PATH + ".2", file)
        assert (root / f"{PATH}.2").stat().st_ino != os.fstat(file.fileno()).st_ino, "a file is not stored twice"
    assert [await store.get(path) for path in await all_paths(store)] == [b"new", b"new"]


async def test_a_named_file_is_copied(store: ObstoreArtifacts, root: Path) -> None:
    with (root / "named").open("w+b") as file:
        file.write(b"named")
        await store.put_file(PATH, file)
        file.write(b", and changed afterwards")
    assert await store.get(PATH) == b"named"


async def test_the_files_of_a_folder_are_on_this_machine(store: ObstoreArtifacts, root: Path) -> None:
    await store.put(PATH, b"x")
    assert await store.local_path(PATH) == str(root / PATH)
    for missing in (f"media/{TASK}/other.png", "media/../x"):
        with pytest.raises(ArtifactGone):
            await store.local_path(missing)


async def test_a_stream_that_breaks_off_leaves_the_old_file(any_store: ObstoreArtifacts) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(CHUNK)
        raise CallFailed("cut off")

    with pytest.raises(CallFailed):
        await any_store.put_stream(PATH, broken())
    assert await all_paths(any_store) == []
    await any_store.put(PATH, b"whole")
    with pytest.raises(CallFailed):
        await any_store.put_stream(PATH, broken())
    assert await any_store.get(PATH) == b"whole"


async def test_has_returns_whether_a_file_exists(any_store: ObstoreArtifacts) -> None:
    assert not await any_store.has(PATH)
    assert not await any_store.has("media/../x")
    await any_store.put(PATH, b"")
    assert await any_store.has(PATH)


async def test_an_existing_file_is_replaced(any_store: ObstoreArtifacts) -> None:
    await any_store.put(PATH, b"first, and longer")
    await any_store.put(PATH, b"second")
    assert await any_store.get(PATH) == b"second"
    assert await all_paths(any_store) == [PATH]


async def test_a_missing_file_is_reported_as_gone(any_store: ObstoreArtifacts) -> None:
    with pytest.raises(ArtifactGone):
        await any_store.get(PATH)
    with pytest.raises(ArtifactGone):
        await any_store.delete(PATH)
    with pytest.raises(ArtifactGone):
        await read(any_store, PATH)
    await any_store.put(PATH, b"x")
    await any_store.delete(PATH)
    with pytest.raises(ArtifactGone):
        await any_store.delete(PATH)


async def test_the_folder_of_a_task_is_removed_with_its_last_file(store: ObstoreArtifacts, root: Path) -> None:
    other = f"media/{TASK}/mask.png"
    await store.put(PATH, b"x")
    await store.put(other, b"x")
    await store.delete(PATH)
    assert await store.get(other) == b"x"
    await store.delete(other)
    assert list((root / "media").iterdir()) == []


async def test_discard_removes_all_files_of_one_task_only(any_store: ObstoreArtifacts) -> None:
    neighbour = f"media/{uuid4()}/result.png"
    for path in (*(f"media/{TASK}/{n}.png" for n in range(20)), neighbour):
        await any_store.put(path, b"x")
    await any_store.discard(TASK)
    await any_store.discard(TASK)
    assert await all_paths(any_store) == [neighbour]


class BusyStore(MemoryStore):
    """A bucket in which a preview is stored after each listing that has its image."""

    def list(self, prefix: str | None = None, **options: Any) -> Any:
        async def pages() -> AsyncIterator[Any]:
            for page in [page async for page in MemoryStore.list(self, prefix, **options)]:
                if any(entry["path"] == PATH for entry in page):
                    await self.put_async(preview_path(PATH, 64), b"x")
                yield page

        return pages()


async def test_discard_removes_a_preview_that_is_stored_meanwhile() -> None:
    """Whoever stores one looks for the image afterwards, and deletes the preview if the image is gone."""
    store = ObstoreArtifacts(BusyStore())
    await store.put(PATH, b"x")
    await store.discard(TASK)
    assert await all_paths(store) == []


async def test_paths_are_listed_in_bounded_pages(store: ObstoreArtifacts, root: Path) -> None:
    folder = root / "media" / str(TASK)
    folder.mkdir(parents=True)
    for n in range(PAGE + 1):
        (folder / f"{n}.png").touch()
    assert [len(page) async for page in store.paths()] == [PAGE, 1]


async def test_an_empty_store_has_no_paths(any_store: ObstoreArtifacts) -> None:
    assert await all_paths(any_store) == []


async def test_left_overs_of_a_crash_are_listed_and_can_be_deleted(store: ObstoreArtifacts, root: Path) -> None:
    await store.put(PATH, b"x")
    folder = root / "media" / str(TASK)
    staged = [".part-" + "0" * 32, ".part-" + "1" * 32 + "#1", "result.png#12"]
    for name in staged:
        (folder / name).write_bytes(b"half")
    left_over = [path for path in await all_paths(store) if path != PATH]
    assert left_over == sorted(f"media/{TASK}/{name}" for name in staged)
    for path in left_over:
        with pytest.raises(ArtifactGone):
            await store.get(path)
        await store.delete(path)
    assert await all_paths(store) == [PATH]


async def test_foreign_files_are_left_alone(store: ObstoreArtifacts, root: Path) -> None:
    await store.put(PATH, b"x")
    for foreign in ("lost+found", f"{TASK}/.DS_Store"):
        (root / "media" / foreign).touch()
    (root / "media" / str(TASK) / "folder").mkdir()
    assert await all_paths(store) == [PATH]


async def put(store: ObstoreArtifacts, path: str, data: bytes) -> Output:
    return await store.put(path, data)


async def put_temporary_file(store: ObstoreArtifacts, path: str, data: bytes) -> Output:
    async with store.temporary_file() as file:
        file.write(data)
        return await store.put_file(path, file)


@pytest.mark.parametrize("put", [put, put_temporary_file])
async def test_contents_name_and_folders_are_synced_in_that_order(
    store: ObstoreArtifacts, root: Path, monkeypatch: pytest.MonkeyPatch, put: Put
) -> None:
    synced: list[tuple[str, bool]] = []
    final = root / PATH

    def fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        synced.append(("file" if is_file else str(target.relative_to(root)), final.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    await put(store, PATH, b"x")
    first = [("file", False), (f"media/{TASK}", True), ("media", True), (".", True)]
    assert synced == first
    await store.discard(TASK)
    await put(store, PATH, b"x")
    assert synced[len(first) :] == first[:-1], "the root has no new entry"
    shutil.rmtree(root / "media")
    synced.clear()
    await put(store, PATH, b"x")
    assert synced == first


@pytest.mark.parametrize("put", [put, put_temporary_file])
async def test_a_failed_sync_leaves_the_old_file(
    store: ObstoreArtifacts, monkeypatch: pytest.MonkeyPatch, put: Put
) -> None:
    await store.put(PATH, b"old")

    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Exception, match="could not be written: Input/output error"):
        await put(store, PATH, b"new")
    assert await store.get(PATH) == b"old"
    assert await all_paths(store) == [PATH]


async def test_readers_never_see_half_a_file(any_store: ObstoreArtifacts) -> None:
    contents = [bytes([n]) * 200_000 for n in range(8)]
    await any_store.put(PATH, contents[0])
    seen: set[bytes] = set()
    async with asyncio.TaskGroup() as group:
        for data in contents:
            group.create_task(any_store.put(PATH, data))
        for _ in range(40):
            seen.add(await any_store.get(PATH))
    assert seen <= set(contents)


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from stepwell.artifacts.store import CHUNK, ObstoreArtifacts
from stepwell.cli import end_process
from stepwell.basics.errors import ArtifactError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

async def main():
    store = ObstoreArtifacts.local(Path(sys.argv[1]))
    try:
        await store.put(sys.argv[2], bytes(10_000_000))
    except ArtifactError as error:
        print(error)
    await store.put(sys.argv[2], b"small")
    await store.discard(sys.argv[2].split("/")[1])

asyncio.run(main())
end_process(0)
"""


async def test_a_write_to_a_full_disk_leaves_nothing_and_reports_the_full_disk(root: Path) -> None:
    done = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", FULL_DISK, str(root), PATH], capture_output=True, text=True, check=True, timeout=60
    )
    assert "could not be written: File too large" in done.stdout
    assert list((root / "media").iterdir()) == []


PanicException = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
NO_RUNTIME = 'Unable to build Tokio runtime: Os { code: 24, kind: TooManyOpenFiles, message: "Too many open files" }'


@pytest.mark.parametrize(
    ("text", "said"), [(NO_RUNTIME, "Too many open files"), ("called `Option::unwrap()` on a `None` value", "Panic")]
)
async def test_a_panic_of_obstore_is_raised_as_an_artifact_error(text: str, said: str) -> None:
    class Panicking(MemoryStore):
        async def put_async(self, *_: object, **__: object) -> NoReturn:
            raise PanicException(text)

    broken = ObstoreArtifacts(Panicking())
    with pytest.raises(ArtifactError) as caught:
        await broken.put(PATH, b"x")
    assert str(caught.value) == f"'{PATH}' could not be written: {said}"


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_exceptions_that_end_a_task_or_the_process_pass_unchanged(error: type[BaseException]) -> None:
    class Ending(MemoryStore):
        async def get_async(self, *_: object, **__: object) -> NoReturn:
            raise error

    with pytest.raises(error):
        await ObstoreArtifacts(Ending()).get(PATH)
