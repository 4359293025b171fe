"""What the engine and the API need from the outside, as protocols whose prose states what an implementer must keep."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from stepwell.domain.idempotency import Answer, Reserved, Version
from stepwell.domain.lifecycle.decision import Decision, Reservation
from stepwell.domain.model import HistoryEvent, Output, ProviderType
from stepwell.domain.records import (
    ListFilter,
    LoadedWorkflow,
    NewWorkflow,
    TaskRecord,
    TenantScope,
    Whereabouts,
    WorkflowPage,
    WorkflowRecord,
)


class Timer(Protocol):
    """A call that `Clock.call_later` has scheduled."""

    def cancel(self) -> None:
        """Prevent the call, if it hasn't been made yet."""


class Clock(Protocol):
    """Time as the database tells it, so that times compared between processes agree."""

    def now(self) -> datetime:
        """The present moment in UTC; never goes back within a process."""

    def monotonic(self) -> float:
        """Seconds since some moment in the past; never goes back. For intervals within this process."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* in the running event loop once *seconds* of `monotonic` have passed."""


class NewId(Protocol):
    def __call__(self, now: datetime, /) -> UUID:
        """An id that nobody else has; those made later sort later, by the millisecond."""


class Journal(Protocol):
    """The engine's side of the store. Every write says whether it landed; nothing is read while idle.

    All methods raise `Unavailable` while the database is away.
    """

    async def insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        """Store the workflow, its steps and events, all or nothing. Raises `Forbidden` outside of *scope*, and
        `StillRunning` for a reservation that another try has taken over.
        """

    async def load(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow | None:
        """The workflow as last committed, whoever runs it; None if there is none in *scope*."""

    async def results(
        self, scope: TenantScope, wanted: Mapping[UUID, Sequence[int]]
    ) -> Mapping[UUID, Mapping[int, bytes]]:
        """The stored results of those positions of those workflows."""

    async def known_jobs(self, provider: ProviderType, remote_ids: Collection[str]) -> set[str]:
        """Of those jobs, the ones that some attempt has already, of whatever tenant."""

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        """Write at most one decision per workflow, all in one transaction and one round trip. A decision lands only
        on exactly the version (owner, epoch, last event) that it was made from; one that has landed already (its
        answer was lost) counts as landed. Returns the ids of those that did not land. One call at a time.
        """

    async def claim(
        self, owner: UUID, held: Collection[UUID], now: datetime, limit: int, only: UUID | None = None
    ) -> list[LoadedWorkflow]:
        """Take over up to *limit* workflows, or that one, *only*: those that need a process and have no live one, or
        have *owner* but are unknown to it, not among those that it held at *now*, and unchanged since. The epoch goes
        up, and `crashes` too where the last owner went without `release`.
        """

    async def renew_lease(self, owner: UUID, seconds: float | None) -> None:
        """From now on *owner* is alive for that time; null: until it is released or expired."""

    async def next_expiry(self, owner: UUID) -> float | None:
        """Seconds until another process may have to be stood in for: none where there is something to `claim` or to
        take over already, else until the first lease of those that are alive ends, or a webhook is due of one that
        isn't. None where there is no such process; then `Presence` tells of the next.
        """

    async def release(self, owner: UUID) -> None:
        """End the lease of *owner*, in order: its workflows may be claimed at once."""

    async def set_clock(self) -> None:
        """Set the service's clock by the database's."""

    async def expire_others(self, owner: UUID) -> None:
        """End the leases of all processes but *owner*: only for a caller who knows that none can be alive."""


class Store(Protocol):
    """The API's side of the store. *scope* says whose workflows a call may see; others look like unknown ones.

    All methods raise `Unavailable` while the database is away.
    """

    async def get(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool) -> WorkflowRecord | None:
        """The workflow, deleted or not."""

    async def version(self, scope: TenantScope, workflow_id: UUID) -> Version | None:
        """The version of the workflow that `get` would find; the steps aren't looked at."""

    async def page(self, scope: TenantScope, query: ListFilter) -> WorkflowPage:
        """Newest first; `total` is exact and counts all that match."""

    async def events(
        self, scope: TenantScope, workflow_id: UUID, after: int, limit: int
    ) -> Sequence[HistoryEvent] | None:
        """The history from number *after* + 1 on; None for an unknown workflow."""

    async def tasks(
        self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool
    ) -> Sequence[TaskRecord] | None:
        """The tasks in the order of the steps and attempts; None for an unknown workflow."""

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord | None:
        """The task, deleted or not."""

    async def whereabouts(self, scope: TenantScope, workflow_id: UUID) -> Whereabouts | None:
        """Who runs the workflow, and who has paused it; None for an unknown one."""

    async def delete_tasks(self, scope: TenantScope, workflow_id: UUID, task_ids: Sequence[UUID]) -> None:
        """Mark tasks deleted."""

    async def stored_outputs(self, scope: TenantScope, task_ids: Sequence[UUID]) -> set[str]:
        """Of those tasks, the paths of the outputs that are recorded and not deleted."""

    async def referenced(self, scope: TenantScope, workflow_id: UUID, task_ids: Sequence[UUID]) -> Mapping[UUID, UUID]:
        """Those of the tasks whose files a workflow of *scope* names in its definition, other than *workflow_id* and
        not deleted; each with the lowest id of such workflows.
        """

    async def ping(self) -> None:
        """Return if the database answers."""


class Keys(Protocol):
    """The keys of requests that may be repeated, each for 48 hours from when its try began.

    All methods raise `Unavailable` while the database is away.
    """

    async def reserve(self, scope: TenantScope, key: str, token: UUID, fingerprint: bytes) -> Reserved:
        """Take the key for the try of that *token*, where it is free, or left behind by a try without effect: of a
        dead process, or an earlier one of this, which must know that none is at work here. Tokens are in the order of
        a process's tries. Else what is known of it. Raises `StillRunning` where that keeps changing.
        """

    async def answer(self, reservation: Reservation, answer: Answer) -> Answer:
        """Store the answer, unless there is one; what is to be sent."""

    async def free(self, reservations: Collection[Reservation]) -> None:
        """Forget the keys of tries without effect; a create that is to have it later won't. Those of tries that had it
        and weren't answered are nobody's then: any process may answer repeats.
        """


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
