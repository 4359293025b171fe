"""The store of output files, on obstore."""

import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Self
from uuid import UUID, uuid4

from anyio import CancelScope, to_thread
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from stepwell.artifacts.disk import Disk
from stepwell.artifacts.paths import ROOT, ArtifactPath, parse
from stepwell.domain.errors import ArtifactError, ArtifactGone
from stepwell.domain.model import Output

PAGE = 1_000  # paths
CHUNK = 1 << 20  # bytes
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


class ObstoreArtifacts:
    """Implements `ports.Artifacts`.

    Any obstore store will do. *disk* is the folder of a `LocalStore`: with it, what obstore leaves open there
    (durability, symbolic links, what crashes leave behind) is taken care of.
    """

    def __init__(self, store: ObjectStore, disk: Disk | None = None) -> None:
        self._store = store
        self._disk = disk

    @classmethod
    def local(cls, folder: Path) -> Self:
        """A store in *folder*, which is created if it is missing. Raises OSError."""
        disk = Disk(folder)
        return cls(LocalStore(disk.root), disk)

    async def put(self, path: str, data: bytes) -> Output:
        await self._write(path, data)
        digest = await to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
        return Output(path=path, size=len(data), sha256=digest)

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        digest, size = hashlib.sha256(), 0
        # Whole before it is in the store: a stream that breaks off leaves nothing there, on any kind of store.
        with _errors("written", path), TemporaryFile() as spool:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                await to_thread.run_sync(spool.write, chunk)
            spool.seek(0)
            await self._write(path, spool)
        return Output(path=path, size=size, sha256=digest.hexdigest())

    async def _write(self, path: str, data: bytes | IO[bytes]) -> None:
        target = parse(path)
        if target is None:
            raise ArtifactError(f"{_shown(path)} can't be an artifact's path")
        # Shielded: a write that is let go half-way goes on in its thread, and could land after a clean-up.
        with CancelScope(shield=True), _errors("written", path):
            if self._disk is None:
                await self._store.put_async(str(target), data)
            else:
                await self._put_durably(self._disk, target, data)

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
        target = parse(path, staged=True)
        if target is None:
            raise _gone(path)
        with _errors("deleted", path):
            if self._disk is None:
                await self._store.head_async(path)  # other stores delete what isn't there without a word
                await self._store.delete_async(path)
            elif await to_thread.run_sync(lambda disk: disk.holds(target, whole=False), self._disk):
                await to_thread.run_sync(self._disk.unlink, target)
            else:
                raise _gone(path)

    async def discard(self, task_id: UUID) -> None:
        prefix = f"{ROOT}/{task_id}"
        with _errors("deleted", prefix):
            if self._disk is None:
                async for page in self._listed(prefix):
                    await self._store.delete_async(page)
            else:
                await to_thread.run_sync(self._disk.remove_folder, str(task_id))

    async def paths(self) -> AsyncIterator[Sequence[str]]:
        """Left-overs of a crash (staged files) are listed too: `delete` takes their paths, no other call does."""
        with _errors("listed", ROOT):
            if self._disk is None:
                async for page in self._listed(ROOT):
                    yield page
                return
            pages = self._disk.walk(PAGE)
            while (found := await to_thread.run_sync(next, pages, None)) is not None:
                yield found

    async def _listed(self, prefix: str) -> AsyncIterator[list[str]]:
        async for page in self._store.list(prefix, chunk_size=PAGE):
            yield [entry["path"] for entry in page]

    async def _existing(self, path: str) -> str:
        """*path* checked for reading. Raises `ArtifactGone`."""
        target = parse(path)
        if target is None:
            raise _gone(path)
        disk = self._disk
        if disk is not None and not await to_thread.run_sync(lambda: disk.holds(target, whole=True)):
            raise _gone(path)
        return str(target)


@contextmanager
def _errors(verb: str, path: str) -> Iterator[None]:
    """Translates what obstore and the system raise. Their texts hold absolute paths and stay here."""
    try:
        yield
    except FileNotFoundError as error:
        raise _gone(path) from error
    except (BaseError, OSError) as error:
        code = _OS_ERROR.search(str(error))
        errno = int(code[1]) if code else getattr(error, "errno", None)
        why = os.strerror(errno) if errno else type(error).__name__
        raise ArtifactError(f"{_shown(path)} could not be {verb}: {why}") from error


def _gone(path: str) -> ArtifactGone:
    return ArtifactGone(f"there is no artifact {_shown(path)}")


def _shown(path: str) -> str:
    """*path* for a message: printable, at most 200 characters."""
    return ascii(path[:180])[:200]
