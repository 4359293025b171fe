"""What the engine and the API need from the outside, as protocols whose prose states what an implementer must keep."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct

from stepwell.domain.model import Output, ProviderType, TaskType


class Clock(Protocol):
    """Time as the database tells it, so that times compared between processes agree."""

    def now(self) -> datetime:
        """The present moment in UTC; never goes back within a process."""


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt at a step, as a provider gets it. `inputs` is config with defaults and mapped values applied.

    The same `task_id` may come again after a crash: then nothing that costs money may happen twice, and the same
    inputs with the same seed must give the same result.
    """

    task_id: UUID
    workflow_id: UUID
    tenant: str | None
    step_id: str
    task_type: TaskType
    number: int
    inputs: Mapping[str, Any]
    provider_config: Mapping[str, Any]
    seed: int


class Blob(Struct, frozen=True):
    """Fetched input bytes. `media_type` is lower case, without parameters, "" if unknown."""

    data: bytes
    media_type: str


class AttemptIO(Protocol):
    """What a provider may do with files in an attempt. Whatever it stored is deleted if the attempt doesn't succeed."""

    async def fetch(self, reference: str, field: str) -> Blob:
        """The bytes behind an artifact path of the workflow's tenant, an http(s) URL or a data URI.

        Raises `AttemptError`, its message naming *field*: not retryable for what can't get better (unknown path,
        broken data URI, a 4xx, too big, wrong type), retryable for the rest.
        """

    async def store(self, name: str, data: bytes) -> Output:
        """Write *data* durably as `media/{task_id}/{name}`; *name* is the provider's own, never from input.

        Writing the same name again replaces the file.
        """


class Provider(Protocol):
    """Does the work of one provider type."""

    type: ProviderType

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        """What it offers for *task_type*; None if it can't do it at all."""

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        """Do the work and return the step's result (JSON values only).

        Raises `AttemptError` for a failure. Cancellation must end the work, or let go of it, promptly.
        """


class Artifacts(Protocol):
    """The store of output files. Paths are `media/{task_id}/{name}`, never absolute; no call can leave the store."""

    async def put(self, path: str, data: bytes) -> Output:
        """Write durably, whole or not at all; an existing file is replaced. Raises `ArtifactError`."""

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


class InputFetcher(Protocol):
    async def fetch(self, reference: str, field: str, tenant: str | None) -> Blob:
        """As `AttemptIO.fetch`, for a tenant."""
