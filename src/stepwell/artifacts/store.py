"""The store of output files: a folder or a bucket, on obstore (https://developmentseed.org/obstore/)."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Self
from uuid import UUID, uuid4

from anyio import CancelScope, to_thread
from obstore import sign_async
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from stepwell.artifacts.disk import Disk, parse_stored_path, read_measured
from stepwell.artifacts.obstore_errors import FAULTS, is_full, is_missing, panics_as_exceptions, reason
from stepwell.artifacts.s3 import PART, PARTS_AT_ONCE, Bucket, media_type
from stepwell.basics.artifacts import ARTIFACTS_ROOT, ArtifactPath, parse_artifact_path, preview_paths
from stepwell.basics.errors import ArtifactDiskFull, ArtifactError, ArtifactGone, StepwellError
from stepwell.contract.tasks import Output
from stepwell.runtime.temporary_files import temporary_file

PAGE = 1_000  # paths
CHUNK = 1 << 20  # bytes
_PROBE = 1 << 20  # bytes

OnFull = Callable[[ArtifactDiskFull], object]


def ignore(_: ArtifactDiskFull) -> None:
    """The default `OnFull`: do nothing."""


class ObstoreArtifacts:
    """Implements `ports.artifacts.Artifacts` on any store of obstore.

    *disk* is the folder of a `LocalStore`. It adds what obstore doesn't do there: durability, guarding against symbolic
    links, and removing left-overs of crashes. *on_full* is called with the error of each write that fails
    because the disk is full.
    """

    def __init__(self, store: ObjectStore, disk: Disk | None = None, on_full: OnFull = ignore) -> None:
        self._store = store
        self._disk = disk
        self._on_full = on_full

    @classmethod
    def local(cls, folder: Path, on_full: OnFull = ignore) -> Self:
        """Return a store in *folder*, which is created if it is missing. Raises OSError."""
        disk = Disk(folder)
        return cls(LocalStore(disk.root), disk, on_full)

    @classmethod
    def s3(cls, bucket: Bucket, on_full: OnFull = ignore) -> Self:
        """Return a store in *bucket*. It sends no request: `check` does."""
        return cls(bucket.store(), None, on_full)

    async def check(self) -> None:
        """Try everything that is done with a bucket, on a file for tests: write, read, list and delete.

        Raises `ArtifactError`, which says which of these failed, and why.
        """
        folder = f"{ARTIFACTS_ROOT}/.probe-{uuid4()}"
        path = f"{folder}/probe"
        with _checking("written"):
            await self._store.put_async(path, b"Stepwell tries whether it can use this bucket.")
        try:
            with _checking("read"):
                await (await self._store.get_async(path)).bytes_async()
            with _checking("listed"):
                if [page async for page in self._list(folder)] != [[path]]:
                    raise ArtifactError("no file can be listed there: the list lacks one that was just written")
        finally:
            with _checking("deleted"):
                await self._store.delete_async(path)

    async def signed_url(self, path: str, ttl_s: int) -> str:
        """Return a signed URL of the bucket, where anyone can GET the file for *ttl_s* seconds, at most 7 days.

        The file needn't exist. If the machine's key is temporary, the URL expires with that key. Raises
        `ArtifactError`.
        """
        assert isinstance(self._store, S3Store)
        target = _target(path)
        with _errors("signed", path):  # may request the machine's own key
            return await sign_async(self._store, "GET", str(target), timedelta(seconds=ttl_s))

    async def read_id(self, path: str) -> str | None:
        """Return the text of the file with an id; None if it is missing or empty. Raises `ArtifactError`."""
        try:
            with _errors("read", path):
                data = bytes(await (await self._store.get_async(path)).bytes_async())
                return data.decode("ascii", "replace").strip() or None
        except ArtifactGone:
            return None

    async def write_id(self, path: str, text: str) -> str:
        """Write the file with an id, unless another process is faster. Return what it contains then.

        Raises `ArtifactError`.
        """
        content = f"{text}\n".encode()
        with _checking("written"):
            try:
                await self._store.put_async(path, content, mode="create")
            except BaseError:  # it exists, or the service knows no condition
                if await self.read_id(path) is None:
                    await self._store.put_async(path, content)
        return await self.read_id(path) or text

    async def has(self, path: str) -> bool:
        """Return whether the file exists. Raises `ArtifactError`."""
        try:
            await self.size(path)
        except ArtifactGone:
            return False
        return True

    async def size(self, path: str) -> int:
        target = await self._readable(path)
        with _errors("read", path):
            return (await self._store.head_async(target))["size"]

    async def try_to_write(self) -> None:
        """Write a megabyte to the temporary folder, where files are spooled, and to the artifact folder.

        Raises `ArtifactError` if that fails.
        """
        with _checking("written"):
            await to_thread.run_sync(_write_probe_files, [None] if self._disk is None else [None, self._disk.root])

    async def put(self, path: str, data: bytes) -> Output:
        return await self._write(path, data)

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        # Spooled first, so that a stream that breaks off leaves nothing in any kind of store.
        with self._writing(path):
            async with self.temporary_file() as spool:
                async for chunk in chunks:
                    await to_thread.run_sync(spool.write, chunk)
                return await self._write(path, spool)

    async def put_file(self, path: str, file: IO[bytes]) -> Output:
        return await self._write(path, file)

    def temporary_file(self) -> AbstractAsyncContextManager[IO[bytes]]:
        return temporary_file(None if self._disk is None else self._disk.root)

    def report_full(self, why: str) -> None:
        self._on_full(ArtifactDiskFull(why))

    async def _write(self, path: str, data: bytes | IO[bytes]) -> Output:
        target = parse_artifact_path(path)
        if target is None:
            raise ArtifactError(f"{_printable(path)} can't be an artifact's path")
        file = BytesIO(data) if isinstance(data, bytes) else data
        # Shielded, because a cancelled write continues in its thread, and could finish after a clean-up.
        with CancelScope(shield=True), self._writing(path):
            if self._disk is None:
                size, digest = await to_thread.run_sync(read_measured, file, lambda _: None)
                file.seek(0)
                await self._put_in_bucket(target, data)
            elif (stored := await to_thread.run_sync(self._disk.store, target, file)) is not None:
                size, digest = stored
            else:
                raise ArtifactError(f"{_printable(path)} leads out of the store")
        return Output(path=path, size=size, sha256=digest)

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            with _errors("written", path):
                yield
        except ArtifactDiskFull as error:
            self._on_full(error)
            raise

    async def _put_in_bucket(self, target: ArtifactPath, data: bytes | IO[bytes]) -> None:
        await self._store.put_async(
            str(target),
            data,
            attributes={"Content-Type": media_type(target.name)},
            chunk_size=PART,
            max_concurrency=PARTS_AT_ONCE,
        )

    async def get(self, path: str) -> bytes:
        target = await self._readable(path)
        with _errors("read", path):
            result = await self._store.get_async(target)
            return bytes(await result.bytes_async())

    @asynccontextmanager
    async def stream(self, path: str, part: tuple[int, int] | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        target = await self._readable(path)
        with _errors("read", path):
            result = await self._store.get_async(target, options={} if part is None else {"range": part})

        async def chunks() -> AsyncIterator[bytes]:
            with _errors("read", path):
                async for chunk in result.stream(min_chunk_size=CHUNK):
                    yield bytes(chunk)

        yield chunks()

    async def local_path(self, path: str) -> str | None:
        target = _target(path)
        if (disk := self._disk) is None:
            return None
        if (file := await to_thread.run_sync(disk.file, target)) is None:
            raise artifact_gone(path)
        return file

    async def delete(self, path: str) -> None:
        target = parse_stored_path(path)
        if target is None:
            raise artifact_gone(path)
        with _errors("deleted", path):
            if self._disk is None:
                await self._delete_in_bucket(target, path)
            elif await to_thread.run_sync(lambda disk: disk.contains(target, resolve_file=False), self._disk):
                await to_thread.run_sync(self._disk.unlink, target, preview_paths(path))
            else:
                raise artifact_gone(path)

    async def _delete_in_bucket(self, target: ArtifactPath, path: str) -> None:
        # Deleting a missing file is no error here, so existence is checked first. That check also passes if the bucket
        # itself is missing; only the deletion reports that.
        existed = await self.has(path)
        await self._store.delete_async(path)
        # After the file: a process that stores a preview later finds no file, and deletes its preview.
        if previews := frozenset(preview_paths(path)):
            async for page in self._list(target.prefix):
                await self._store.delete_async([each for each in page if each in previews])
        if not existed:
            raise artifact_gone(path)

    async def discard(self, task_id: UUID) -> None:
        prefix = f"{ARTIFACTS_ROOT}/{task_id}"
        with _errors("deleted", prefix):
            if self._disk is None:
                for _ in range(2):  # until the image is deleted, a preview of it may be stored that isn't listed yet
                    async for page in self._list(prefix):
                        await self._store.delete_async(page)
            else:
                await to_thread.run_sync(self._disk.remove_folder, str(task_id))

    async def paths(self) -> AsyncIterator[Sequence[str]]:
        """Yield pages of paths. They include staged files that a crash left; only `delete` accepts those."""
        with _errors("listed", ARTIFACTS_ROOT):
            if self._disk is None:
                async for page in self._list(ARTIFACTS_ROOT):
                    yield [path for path in page if parse_artifact_path(path) is not None]  # other files aren't ours
                return
            pages = self._disk.walk(PAGE)
            while (local_page := await to_thread.run_sync(next, pages, None)) is not None:
                yield local_page

    async def _list(self, prefix: str) -> AsyncIterator[list[str]]:
        async for page in self._store.list(prefix, chunk_size=PAGE):
            yield [entry["path"] for entry in page]

    async def _readable(self, path: str) -> str:
        """Return *path* if it may be read. Raises `ArtifactGone`."""
        target = _target(path)
        disk = self._disk
        if disk is not None and not await to_thread.run_sync(lambda: disk.contains(target, resolve_file=True)):
            raise artifact_gone(path)
        return str(target)


async def start_runtime() -> None:
    """Let obstore start its threads now, for all stores of the process.

    It can't start them while the process has no file descriptor left, and it never tries again after a failure. Raises
    `ArtifactError`.
    """
    with _checking("written"):
        await MemoryStore().put_async("anything", b"")


@contextmanager
def _errors(verb: str, path: str) -> Iterator[None]:
    """Translate errors of obstore and the system. S3's responses name keys, so they aren't chained as the cause."""
    try:
        with panics_as_exceptions():
            yield
    except FAULTS as error:
        if is_missing(error) and verb != "written":
            translated: StepwellError = artifact_gone(path)
        else:
            kind = ArtifactDiskFull if verb == "written" and is_full(error) else ArtifactError
            translated = kind(f"{_printable(path)} could not be {verb}: {reason(error)}")
        # The texts of the operating system may go into the log.
        raise translated from (error if isinstance(error, OSError) and error.errno is not None else None)


@contextmanager
def _checking(verb: str) -> Iterator[None]:
    """Translate errors of a check of the whole store."""
    try:
        with panics_as_exceptions():
            yield
    except FAULTS as error:
        raise ArtifactError(f"no file can be {verb} there: {reason(error)}") from None


def _write_probe_files(folders: Sequence[Path | None]) -> None:
    """Write an unnamed file in each of *folders*; None is the temporary folder. Raises OSError."""
    for folder in folders:
        with TemporaryFile(dir=folder) as file:
            file.write(os.urandom(_PROBE))  # random bytes, because a file system may compress others
            file.flush()
            os.fsync(file.fileno())


def _target(path: str) -> ArtifactPath:
    """Return the parts of *path*. Raises `ArtifactGone` for any other text."""
    target = parse_artifact_path(path)
    if target is None:
        raise artifact_gone(path)
    return target


def artifact_gone(path: str) -> ArtifactGone:
    """Return the error for a file that doesn't exist. *path* may be any text."""
    return ArtifactGone(f"there is no artifact {_printable(path)}")


def _printable(path: str) -> str:
    """Return *path* for a message: printable, at most 200 characters."""
    return ascii(path[:180])[:200]
