"""The migration from a folder to a bucket under a running service: read both, write to the bucket, copy the rest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import IO
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.artifacts.store import ObstoreArtifacts, artifact_gone
from stepwell.basics.artifacts import parse_artifact_path
from stepwell.basics.errors import ArtifactError, ArtifactGone, Unavailable
from stepwell.contract.tasks import Output

log = structlog.get_logger()

Recorded = Callable[[Sequence[UUID]], Awaitable[AbstractSet[str]]]
_AT_ONCE = 8
_MAX_FAILED = 20  # files of one pass; then the bucket is probably at fault, and the pass ends
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 300.0


class Pass(Struct):
    """The numbers of files in one pass through the folder."""

    copied: int = 0
    present: int = 0
    failed: int = 0

    def log_end(self) -> None:
        """Log that all files are in the bucket."""
        if self.copied + self.present:
            log.info("artifacts.copied", action="copy", copied=self.copied, present=self.present)
        else:  # the folder may be the wrong one, or not mounted
            log.warning("artifacts.none_to_copy", action="copy")


class MigratingArtifacts:
    """Implements `ports.artifacts.Artifacts` on both stores.

    New files go to *bucket*. Files that it lacks are read from *folder*. Deletions affect both.

    Recorded files never change, so it doesn't matter which store a recorded file is read from. An unrecorded file in
    the folder is a left-over of an interrupted attempt. The task's next file goes to the bucket, which is read first.
    """

    def __init__(self, folder: ObstoreArtifacts, bucket: ObstoreArtifacts) -> None:
        self._folder, self._bucket = folder, bucket

    async def put(self, path: str, data: bytes) -> Output:
        return await self._bucket.put(path, data)

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        return await self._bucket.put_stream(path, chunks)

    async def put_file(self, path: str, file: IO[bytes]) -> Output:
        return await self._bucket.put_file(path, file)

    def temporary_file(self) -> AbstractAsyncContextManager[IO[bytes]]:
        return self._bucket.temporary_file()

    def report_full(self, why: str) -> None:
        self._bucket.report_full(why)

    async def get(self, path: str) -> bytes:
        try:
            return await self._bucket.get(path)
        except ArtifactGone:
            return await self._folder.get(path)

    @asynccontextmanager
    async def stream(self, path: str, part: tuple[int, int] | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        store = self._bucket if await self._bucket.has(path) else self._folder
        async with store.stream(path, part) as chunks:
            yield chunks

    async def size(self, path: str) -> int:
        try:
            return await self._bucket.size(path)
        except ArtifactGone:
            return await self._folder.size(path)

    async def local_path(self, path: str) -> str | None:
        return await self._bucket.local_path(path)

    async def delete(self, path: str) -> None:
        # The folder first, because a copy in progress checks the folder when it ends.
        deleted = [await _delete(store, path) for store in (self._folder, self._bucket)]
        if not any(deleted):
            raise artifact_gone(path)

    async def discard(self, task_id: UUID) -> None:
        await self._folder.discard(task_id)
        await self._bucket.discard(task_id)

    async def paths(self) -> AsyncIterator[Sequence[str]]:
        """Yield pages of paths. A file in both stores is in two of them."""
        for store in (self._folder, self._bucket):
            async for page in store.paths():
                yield page

    async def signed_url(self, path: str, ttl_s: int) -> str:
        """Return the URL as the bucket's `signed_url` does. A file that only the folder has is copied first."""
        with suppress(ArtifactGone):  # then the URL leads nowhere, as that of any deleted file
            if not await self._bucket.has(path):
                await self._copy(path)
        return await self._bucket.signed_url(path, ttl_s)

    async def copy_all(self, recorded: Recorded) -> None:
        """Copy all recorded files of the folder, and return when the bucket has all of them. Failures are tried again.

        *recorded* returns the paths of the recorded outputs of tasks. If this is interrupted, the next call copies the
        files that are left.
        """
        pause = _FIRST_PAUSE_S
        while True:
            counts = Pass()
            try:
                await self._walk(counts, recorded)
            except (ArtifactError, Unavailable) as error:
                log.warning("artifacts.not_copied", action="copy", error=str(error))
            except Exception:  # our own bugs must not stop workflows
                log.exception("artifacts.copy_broke", action="copy")
            else:
                if not counts.failed:
                    counts.log_end()
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_S)

    async def _walk(self, counts: Pass, recorded: Recorded) -> None:
        async for page in self._folder.paths():
            if counts.copied + counts.present:
                log.info("artifacts.copying", action="copy", copied=counts.copied, present=counts.present)
            tasks = {target.task_id for path in page if (target := parse_artifact_path(path)) is not None}
            recorded_paths = sorted(await recorded(list(tasks)) & set(page))
            for start in range(0, len(recorded_paths), _AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for path in recorded_paths[start : start + _AT_ONCE]:
                        group.create_task(self._copy_if_missing(path, counts), name=f"copy {path}")
                if counts.failed >= _MAX_FAILED:
                    return

    async def _copy_if_missing(self, path: str, counts: Pass) -> None:
        try:
            if await self._bucket.has(path):
                counts.present += 1
                return
            await self._copy(path)
        except ArtifactGone:  # deleted since the page was read
            return
        except ArtifactError as error:
            counts.failed += 1
            log.warning("artifacts.not_copied", action="copy", path=path, error=str(error))
        else:
            counts.copied += 1

    async def _copy(self, path: str) -> None:
        """Copy one file. Raises `ArtifactGone` if the folder doesn't have it, or it was deleted meanwhile."""
        async with self._folder.stream(path) as chunks:
            await self._bucket.put_stream(path, chunks)
        if not await self._folder.has(path):
            # A cleanup deleted it, maybe before the copy was in the bucket.
            await self._bucket.delete(path)
            raise artifact_gone(path)


async def _delete(store: ObstoreArtifacts, path: str) -> bool:
    """Delete a file. Return whether it existed."""
    try:
        await store.delete(path)
    except ArtifactGone:
        return False
    return True
