"""The storage of output files, as a protocol."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from stepwell.contract.tasks import Output


class Artifacts(Protocol):
    """The store of output files. Paths are `media/{task_id}/{name}`, never absolute; no call can leave the store."""

    async def put(self, path: str, data: bytes) -> Output:
        """Write durably, whole or not at all; an existing file is replaced. Raises `ArtifactError`:
        `NoRoomForArtifact` where the disk is full.
        """

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        """As `put`, for a file too big to hold. What *chunks* raises is raised, and nothing is written."""

    async def get(self, path: str) -> bytes:
        """Raises `ArtifactGone` if there is none, `ArtifactError` if it can't be read."""

    def stream(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The file in chunks. Raises like `get`, before the first chunk."""

    async def delete(self, path: str) -> None:
        """Raises `ArtifactGone` if there is none, `ArtifactError` if it can't be deleted."""

    async def discard(self, task_id: UUID) -> None:
        """Delete all files below `media/{task_id}/`, whatever their number; none is no error."""

    def paths(self) -> AsyncIterator[Sequence[str]]:
        """All paths below `media/`, in pages of up to 1,000."""
