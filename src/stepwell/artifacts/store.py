"""The store of output files, on obstore."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Self
from uuid import UUID, uuid4

from anyio import CancelScope, to_thread
from obstore import sign_async
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from stepwell.artifacts.disk import Disk
from stepwell.artifacts.obstore_errors import FAULTS, is_full, is_local, is_missing, panics_as_exceptions, reason
from stepwell.artifacts.s3 import PART, PARTS_AT_ONCE, Bucket, media_type
from stepwell.artifacts.staged_paths import parse_stored_path
from stepwell.contract.tasks import Output
from stepwell.domain.artifacts import ARTIFACTS_ROOT, ArtifactPath, parse_artifact_path
from stepwell.domain.errors import ArtifactError, ArtifactGone, NoRoomForArtifact, StepwellError

PAGE = 1_000  # paths
CHUNK = 1 << 20  # bytes
_PROBE = 1 << 20  # bytes

OnFull = Callable[[NoRoomForArtifact], object]


def ignore(_: NoRoomForArtifact) -> None:
    """The default `OnFull`: do nothing."""


class ObstoreArtifacts:
    """Implements `ports.Artifacts`.

    Any obstore store will do. *disk* is the folder of a `LocalStore`: with it, what obstore leaves open there
    (durability, symbolic links, what crashes leave behind) is taken care of. *on_full* is called with the error
    of each write for which there is no room.
    """

    def __init__(self, store: ObjectStore, disk: Disk | None = None, on_full: OnFull = ignore) -> None:
        self._store = store
        self._disk = disk
        self._on_full = on_full

    @classmethod
    def local(cls, folder: Path, on_full: OnFull = ignore) -> Self:
        """A store in *folder*, which is created if it is missing. Raises OSError."""
        disk = Disk(folder)
        return cls(LocalStore(disk.root), disk, on_full)

    @classmethod
    def s3(cls, bucket: Bucket, on_full: OnFull = ignore) -> Self:
        """A store in *bucket*, of which nothing is asked yet: see `check`."""
        return cls(bucket.store(), None, on_full)

    async def check(self) -> None:
        """Do once all that is done with a bucket: write, read, list and delete a file, which is nobody's.

        Raises `ArtifactError`, which says what of it can't be done, and why.
        """
        folder = f"{ARTIFACTS_ROOT}/.probe-{uuid4()}"
        path = f"{folder}/probe"
        with _tried("written"):
            await self._store.put_async(path, b"Stepwell tries whether it can use this bucket.")
        try:
            with _tried("read"):
                await (await self._store.get_async(path)).bytes_async()
            with _tried("listed"):
                if [page async for page in self._listed(folder)] != [[path]]:
                    raise ArtifactError("no file can be listed there: the list lacks one that was just written")
        finally:
            with _tried("deleted"):
                await self._store.delete_async(path)

    async def signed_url(self, path: str, ttl_s: int) -> str:
        """A signed address at the bucket, where anyone can GET the file for *ttl_s* seconds, up to 7 days. Nobody looks
        whether the file is there. With a temporary key of the machine it ends with the key. Raises `ArtifactError`.
        """
        assert isinstance(self._store, S3Store)
        target = parse_artifact_path(path)
        if target is None:
            raise gone(path)
        with _errors("signed", path):  # where the key is the machine's own, it is asked for
            return await sign_async(self._store, "GET", str(target), timedelta(seconds=ttl_s))

    async def has(self, path: str) -> bool:
        """Whether the file is there. Raises `ArtifactError`."""
        try:
            target = await self._existing(path)
            with _errors("read", path):
                await self._store.head_async(target)
        except ArtifactGone:
            return False
        return True

    async def try_to_write(self) -> None:
        """Write a megabyte to the temporary folder, where files are spooled, and to the artifact folder.

        Raises `ArtifactError` if that fails.
        """
        with _tried("written"):
            await to_thread.run_sync(_write_probe_files, [None] if self._disk is None else [None, self._disk.root])

    async def put(self, path: str, data: bytes) -> Output:
        await self._write(path, data)
        digest = await to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
        return Output(path=path, size=len(data), sha256=digest)

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        digest, size = hashlib.sha256(), 0
        # Whole before it is in the store: a stream that breaks off leaves nothing there, on any kind of store.
        with self._writing(path), TemporaryFile() as spool:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                await to_thread.run_sync(spool.write, chunk)
            spool.seek(0)
            await self._write(path, spool)
        return Output(path=path, size=size, sha256=digest.hexdigest())

    async def _write(self, path: str, data: bytes | IO[bytes]) -> None:
        target = parse_artifact_path(path)
        if target is None:
            raise ArtifactError(f"{_shown(path)} can't be an artifact's path")
        # Shielded: a write that is let go half-way goes on in its thread, and could land after a clean-up.
        with CancelScope(shield=True), self._writing(path):
            if self._disk is None:
                await self._put_remotely(target, data)
            else:
                await self._put_durably(self._disk, target, data)

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            with _errors("written", path):
                yield
        except NoRoomForArtifact as error:
            self._on_full(error)
            raise

    async def _put_remotely(self, target: ArtifactPath, data: bytes | IO[bytes]) -> None:
        await self._store.put_async(
            str(target),
            data,
            attributes={"Content-Type": media_type(target.name)},
            chunk_size=PART,
            max_concurrency=PARTS_AT_ONCE,
        )

    async def _put_durably(self, disk: Disk, target: ArtifactPath, data: bytes | IO[bytes]) -> None:
        if not await to_thread.run_sync(lambda: disk.holds(target, whole=False)):
            raise ArtifactError(f"{_shown(str(target))} leads out of the store")
        staged = target._replace(name=f".part-{uuid4().hex}")
        try:
            await self._store.put_async(str(staged), data)
            await to_thread.run_sync(disk.publish, staged, target)
        except (BaseError, OSError):
            await to_thread.run_sync(disk.drop_staged, staged)
            raise

    async def get(self, path: str) -> bytes:
        target = await self._existing(path)
        with _errors("read", path):
            found = await self._store.get_async(target)
            return bytes(await found.bytes_async())

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        target = await self._existing(path)
        with _errors("read", path):
            found = await self._store.get_async(target)

        async def chunks() -> AsyncIterator[bytes]:
            with _errors("read", path):
                async for chunk in found.stream(min_chunk_size=CHUNK):
                    yield bytes(chunk)

        yield chunks()

    async def delete(self, path: str) -> None:
        target = parse_stored_path(path)
        if target is None:
            raise gone(path)
        with _errors("deleted", path):
            if self._disk is None:
                # Other stores delete what isn't there without a word; and where a look finds nothing, there may be no
                # bucket either, which only the deletion tells.
                there = await self.has(path)
                await self._store.delete_async(path)
                if not there:
                    raise gone(path)
            elif await to_thread.run_sync(lambda disk: disk.holds(target, whole=False), self._disk):
                await to_thread.run_sync(self._disk.unlink, target)
            else:
                raise gone(path)

    async def discard(self, task_id: UUID) -> None:
        prefix = f"{ARTIFACTS_ROOT}/{task_id}"
        with _errors("deleted", prefix):
            if self._disk is None:
                async for page in self._listed(prefix):
                    await self._store.delete_async(page)
            else:
                await to_thread.run_sync(self._disk.remove_folder, str(task_id))

    async def paths(self) -> AsyncIterator[Sequence[str]]:
        """Left-overs of a crash (staged files) are listed too: `delete` takes their paths, no other call does."""
        with _errors("listed", ARTIFACTS_ROOT):
            if self._disk is None:
                async for page in self._listed(ARTIFACTS_ROOT):
                    yield [path for path in page if parse_artifact_path(path) is not None]  # others are not ours
                return
            pages = self._disk.walk(PAGE)
            while (found := await to_thread.run_sync(next, pages, None)) is not None:
                yield found

    async def _listed(self, prefix: str) -> AsyncIterator[list[str]]:
        async for page in self._store.list(prefix, chunk_size=PAGE):
            yield [entry["path"] for entry in page]

    async def _existing(self, path: str) -> str:
        """*path* checked for reading. Raises `ArtifactGone`."""
        target = parse_artifact_path(path)
        if target is None:
            raise gone(path)
        disk = self._disk
        if disk is not None and not await to_thread.run_sync(lambda: disk.holds(target, whole=True)):
            raise gone(path)
        return str(target)


async def start_runtime() -> None:
    """Let obstore start its threads now, once for all stores: where no file is left it can't, then or ever after.

    Raises `ArtifactError`.
    """
    with _tried("written"):
        await MemoryStore().put_async("anything", b"")


@contextmanager
def _errors(verb: str, path: str) -> Iterator[None]:
    """Translates what obstore and the system raise. What S3 has answered names keys: it isn't kept as the cause."""
    try:
        with panics_as_exceptions():
            yield
    except FAULTS as error:
        if is_missing(error) and verb != "written":
            fault: StepwellError = gone(path)
        else:
            kind = NoRoomForArtifact if verb == "written" and is_full(error) else ArtifactError
            fault = kind(f"{_shown(path)} could not be {verb}: {reason(error)}")
        raise fault from (error if is_local(error) else None)


@contextmanager
def _tried(doing: str) -> Iterator[None]:
    try:
        with panics_as_exceptions():
            yield
    except FAULTS as error:
        raise ArtifactError(f"no file can be {doing} there: {reason(error)}") from None


def _write_probe_files(folders: Sequence[Path | None]) -> None:
    """Write an unnamed file in each of *folders*; None is the temporary folder. Raises OSError."""
    for folder in folders:
        with TemporaryFile(dir=folder) as file:
            file.write(os.urandom(_PROBE))  # random bytes, because a file system may compress others
            file.flush()
            os.fsync(file.fileno())


def gone(path: str) -> ArtifactGone:
    """The error for a file that isn't there; *path* may be anything."""
    return ArtifactGone(f"there is no artifact {_shown(path)}")


def _shown(path: str) -> str:
    """*path* for a message: printable, at most 200 characters."""
    return ascii(path[:180])[:200]
