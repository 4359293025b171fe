"""The storage of output files and the making of previews, as protocols."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import IO, Protocol
from uuid import UUID

from stepwell.contract.tasks import Output
from stepwell.ports.providers import WorkWeight


class Artifacts(Protocol):
    """The store of output files. A path is `media/{task_id}/{name}`, never absolute. No call can reach a file outside
    of the store.
    """

    async def put(self, path: str, data: bytes) -> Output:
        """Write the file durably, whole or not at all. An existing file is replaced.

        Raises `ArtifactError`; its subclass `ArtifactDiskFull` if the disk is full.
        """

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        """Write a file that is too big for memory, as `put` does. If *chunks* raises, nothing is written."""

    async def put_file(self, path: str, file: IO[bytes]) -> Output:
        """Write the contents of *file*, which may be too big for memory, as `put` does.

        A `temporary_file` of this store may become the stored file itself, so it must not be changed afterwards.
        """

    def temporary_file(self) -> AbstractAsyncContextManager[IO[bytes]]:
        """Return a context with an empty temporary file, which `put_file` stores at the least cost.

        Other processes can open it, see `temporary_files`. Raises OSError if the disk is full.
        """

    def report_full(self, why: str) -> None:
        """Report that the disk was full when another process wrote to a `temporary_file`."""

    async def get(self, path: str) -> bytes:
        """Return the file. Raises `ArtifactGone` if there is none, `ArtifactError` if it can't be read."""

    def stream(
        self, path: str, part: tuple[int, int] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return a context with the file in chunks. Raises like `get`, before the first chunk.

        *part* is the first byte that is read, and the first that isn't. It is not empty. No other bytes are read.
        """

    async def size(self, path: str) -> int:
        """Return the size of the file in bytes. Raises like `get`."""

    async def local_path(self, path: str) -> str | None:
        """Return the path of the file on this machine; None if it is on another one. Raises like `get`."""

    async def delete(self, path: str) -> None:
        """Delete the file, and then its previews.

        Raises `ArtifactGone` if there is no such file, `ArtifactError` if it can't be deleted.
        """

    async def discard(self, task_id: UUID) -> None:
        """Delete all files below `media/{task_id}/`, if there are any."""

    def paths(self) -> AsyncIterator[Sequence[str]]:
        """Return all paths below `media/`, in pages of up to 1,000."""


class PreviewMaker(Protocol):
    async def make(self, source: str, width: int, target: str, weight: WorkWeight) -> WorkWeight | None:
        """Write a preview of the image file *source* to the file *target*, as WebP. Both are paths on this machine.

        It fits into a square of *width* pixels, and is never larger than the image. If the work is heavier than
        *weight*, nothing is done, and its weight is returned. The caller makes sure that the memory of *weight* may be
        used.

        Raises `AttemptError` if there can be no preview, or if the child process died and it is retryable; and
        `ArtifactDiskFull`.
        """
