"""The way from a folder to a bucket, under a running service: read from both, write to one, copy the rest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.artifacts.store import ObstoreArtifacts, gone
from stepwell.contract.tasks import Output
from stepwell.domain.artifacts import parse_artifact_path
from stepwell.domain.errors import ArtifactError, ArtifactGone, Unavailable

log = structlog.get_logger()

Recorded = Callable[[Sequence[UUID]], Awaitable[AbstractSet[str]]]
_AT_ONCE = 8
_TOO_MANY = 20  # files that could not be copied; the fault will be the bucket's
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 300.0


class Pass(Struct):
    """What one walk through the folder has found, in files."""

    copied: int = 0
    present: int = 0
    failed: int = 0

    def tell(self) -> None:
        """That all are in the bucket."""
        if self.copied + self.present:
            log.info("artifacts.copied", action="copy", copied=self.copied, present=self.present)
        else:  # as if it were the wrong folder, or not mounted
            log.warning("artifacts.none_to_copy", action="copy")


class MigratingArtifacts:
    """Implements `ports.Artifacts`: new files go to *bucket*; what isn't there is read from *folder*, where nothing is
    written any more and nothing deleted but what is to be gone from both.

    Recorded files never change, so whichever of the two has one has the right one; an unrecorded one of the folder is
    a left-over of an attempt that was cut off, and its task's next file is in the bucket, where it is looked for first.
    """

    def __init__(self, folder: ObstoreArtifacts, bucket: ObstoreArtifacts) -> None:
        self._folder, self._bucket = folder, bucket

    async def put(self, path: str, data: bytes) -> Output:
        return await self._bucket.put(path, data)

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        return await self._bucket.put_stream(path, chunks)

    async def get(self, path: str) -> bytes:
        try:
            return await self._bucket.get(path)
        except ArtifactGone:
            return await self._folder.get(path)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        place = self._bucket if await self._bucket.has(path) else self._folder
        async with place.stream(path) as chunks:
            yield chunks

    async def delete(self, path: str) -> None:
        # The folder first: a copy that is under way looks there when it has ended.
        found = [await _deleted(place, path) for place in (self._folder, self._bucket)]
        if not any(found):
            raise gone(path)

    async def discard(self, task_id: UUID) -> None:
        await self._folder.discard(task_id)
        await self._bucket.discard(task_id)

    async def paths(self) -> AsyncIterator[Sequence[str]]:
        """What is in both comes twice."""
        for place in (self._folder, self._bucket):
            async for page in place.paths():
                yield page

    async def signed_url(self, path: str, ttl_s: int) -> str:
        """As of the bucket's `address`; a file that is only in the folder is copied first. Raises `ArtifactError`."""
        with suppress(ArtifactGone):  # then the address leads nowhere, as that of any file that was deleted
            if not await self._bucket.has(path):
                await self._copy(path)
        return await self._bucket.signed_url(path, ttl_s)

    async def copy_all(self, recorded: Recorded) -> None:
        """Copy all files of the folder that are *recorded* (of these tasks, the paths of the outputs), and return when
        all of them are in the bucket; what fails is tried again. Ended in between, it goes on with those that are left.
        """
        pause = _FIRST_PAUSE_S
        while True:
            walked = Pass()
            try:
                await self._walk(walked, recorded)
            except (ArtifactError, Unavailable) as error:
                log.warning("artifacts.not_copied", action="copy", error=str(error))
            except Exception:  # a fault of ours is no reason for workflows to stop
                log.exception("artifacts.copy_broke", action="copy")
            else:
                if not walked.failed:
                    walked.tell()
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_S)

    async def _walk(self, walked: Pass, recorded: Recorded) -> None:
        async for page in self._folder.paths():
            if walked.copied + walked.present:
                log.info("artifacts.copying", action="copy", copied=walked.copied, present=walked.present)
            tasks = {target.task_id for path in page if (target := parse_artifact_path(path)) is not None}
            wanted = sorted(await recorded(list(tasks)) & set(page))
            for start in range(0, len(wanted), _AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for path in wanted[start : start + _AT_ONCE]:
                        group.create_task(self._copy_if_missing(path, walked), name=f"copy {path}")
                if walked.failed >= _TOO_MANY:
                    return

    async def _copy_if_missing(self, path: str, walked: Pass) -> None:
        try:
            if await self._bucket.has(path):
                walked.present += 1
                return
            await self._copy(path)
        except ArtifactGone:  # deleted since the page was read
            return
        except ArtifactError as error:
            walked.failed += 1
            log.warning("artifacts.not_copied", action="copy", path=path, error=str(error))
        else:
            walked.copied += 1

    async def _copy(self, path: str) -> None:
        """Raises `ArtifactGone` where it isn't, or is no more, in the folder."""
        async with self._folder.stream(path) as chunks:
            await self._bucket.put_stream(path, chunks)
        if not await self._folder.has(path):  # only a cleanup deletes there, and it may have looked here too soon
            await self._bucket.delete(path)
            raise gone(path)


async def _deleted(place: ObstoreArtifacts, path: str) -> bool:
    try:
        await place.delete(path)
    except ArtifactGone:
        return False
    return True
