"""The previews of images: made when they are first asked for, and stored beside the image.

    image ──► child process of LOCAL ──► temporary file ──► artifact store

What must hold:
- A preview is made once, however many requests for it come at the same time to this process.
- The memory of the work counts among that of LOCAL's processes. At most two previews are made at once, and one for each
  tenant. The tenant is the owner of the image, also if the request comes by a signed URL. So no tenant waits for the
  many previews of another.
- A preview is deleted with its image. One that is stored while its image is deleted is deleted at once.
- A preview of an upload counts for the tenant's quota. One that exceeds it is deleted at once.
- The file of an image is never in this process's memory.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Final, NoReturn
from uuid import UUID

from anyio import CancelScope, fail_after, to_thread
from msgspec import Struct

from stepwell.basics.artifacts import is_image, parse_artifact_path, preview_path
from stepwell.basics.errors import ArtifactGone, AttemptError, Fault, InvalidRequest, NotFound, Unavailable
from stepwell.contract.tasks import Output
from stepwell.engine.dispatch.local_dispatcher import LocalDispatcher
from stepwell.engine.files.uploads import UploadService
from stepwell.ports.artifacts import Artifacts, PreviewMaker
from stepwell.ports.providers import LIGHT
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.temporary_files import path_for_others, temporary_file

WAIT_S: Final = 60.0
_AT_ONCE: Final = 2
_MAX_SOURCE_BYTES: Final = 256 * 1024 * 1024
_MAX_REFUSALS: Final = 1_000
_BUSY = "The preview could not be made in time, because others are being made."


class Preview(Struct, frozen=True):
    """A stored preview, and its size in bytes."""

    path: str
    size: int


class Previews:
    """Makes previews with *maker*, and stores them. *local* divides LOCAL's child processes."""

    def __init__(
        self, artifacts: Artifacts, uploads: UploadService, maker: PreviewMaker, local: LocalDispatcher
    ) -> None:
        self._artifacts, self._uploads, self._maker, self._local = artifacts, uploads, maker, local
        self._turns = FairTurns(_AT_ONCE, 1)
        self._in_progress: dict[str, asyncio.Event] = {}
        self._refusals: dict[str, str] = {}  # by the hash of the file
        self.total = 0  # the number of previews made by this process

    async def get(self, tenant: str | None, image: Output, width: int) -> Preview:
        """Return the preview of *image* that is *width* pixels wide at most. *tenant* owns the image.

        Raises `InvalidRequest` if there can be none, `NotFound` if there is no image, `QuotaExceeded`, `Unavailable`
        and `ArtifactError`.
        """
        if not is_image(image.path):
            _refuse("the file isn't an image, by its name")
        if image.size > _MAX_SOURCE_BYTES:
            _refuse(f"the image has more than {_MAX_SOURCE_BYTES:,} bytes")
        path = preview_path(image.path, width)
        if (size := await self._size(path)) is not None:
            return Preview(path, size)
        try:
            with fail_after(WAIT_S):
                async with self._exclusive(path):
                    if (size := await self._size(path)) is None:
                        size = await self._make(tenant, image, width, path)
        except TimeoutError:
            raise Unavailable(_BUSY, 5) from None
        return Preview(path, size)

    async def _size(self, path: str) -> int | None:
        try:
            return await self._artifacts.size(path)
        except ArtifactGone:
            return None

    @asynccontextmanager
    async def _exclusive(self, path: str) -> AsyncIterator[None]:
        """Let one caller at a time in this process make the preview at *path*."""
        while (other := self._in_progress.get(path)) is not None:
            await other.wait()
        self._in_progress[path] = ended = asyncio.Event()
        try:
            yield
        finally:
            del self._in_progress[path]
            ended.set()

    async def _make(self, tenant: str | None, image: Output, width: int, path: str) -> int:
        if image.sha256 in self._refusals:
            _refuse(self._refusals[image.sha256])
        async with self._turns.turn(tenant), self._local_file(image.path) as source, temporary_file() as target:
            try:
                await self._work(tenant, image, source, width, path_for_others(target))
            except AttemptError as error:
                if error.retryable:
                    raise Unavailable(f"The preview could not be made: {error}.") from error
                self._remember(image.sha256, str(error))
                _refuse(str(error))
            with CancelScope(shield=True):
                size = await self._store(image, path, target)
        self.total += 1
        return size

    async def _store(self, image: Output, path: str, preview: IO[bytes]) -> int:
        """Store the preview, unless its image is deleted. Return its size."""
        stored = await self._artifacts.put_file(path, preview)
        is_stored = False
        try:
            if await self._size(image.path) is not None:
                await self._uploads.charge_preview(_owner(image), stored.size)
                is_stored = True
        finally:
            if not is_stored:
                await self._artifacts.delete(path)
        if not is_stored:
            raise NotFound("artifact")
        return stored.size

    async def _work(self, tenant: str | None, image: Output, source: str, width: int, target: str) -> None:
        """Make it in a child process: first with the weight of light work, then with its own if that isn't enough."""
        step = (_owner(image), 0)
        async with self._local.child_process(tenant, step, LIGHT):
            heavier = await self._maker.make(source, width, target, LIGHT)
        if heavier is not None:
            if self._local.max_memory is not None:
                heavier.check_fits(self._local.max_memory, "a preview of this image")
            async with self._local.child_process(tenant, step, heavier):
                await self._maker.make(source, width, target, heavier)

    @asynccontextmanager
    async def _local_file(self, path: str) -> AsyncIterator[str]:
        """Yield the path of the image on this machine, where child processes can read it."""
        local_path = await self._artifacts.local_path(path)
        if local_path is not None:
            yield local_path
            return
        async with temporary_file() as file:
            async with self._artifacts.stream(path) as chunks:
                async for chunk in chunks:
                    await to_thread.run_sync(file.write, chunk)
            await to_thread.run_sync(file.flush)
            yield path_for_others(file)

    def _remember(self, sha256: str, reason: str) -> None:
        """Remember why there is no preview, so that such a file costs its work once."""
        if len(self._refusals) >= _MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]
        self._refusals[sha256] = reason


def _owner(image: Output) -> UUID:
    """Return the id of the task or the upload that *image* belongs to."""
    parts = parse_artifact_path(image.path)
    assert parts is not None
    return parts.task_id


def _refuse(reason: str) -> NoReturn:
    raise InvalidRequest([Fault(("query", "w"), f"There is no preview: {reason}", "no_preview")])
