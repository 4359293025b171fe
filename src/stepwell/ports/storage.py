"""The storage of workflows, tasks and idempotency keys, as protocols.

The docstrings state what an implementation must guarantee.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from stepwell.contract.enums import ProviderType
from stepwell.domain.idempotency import Reservation, ReservedKey, StoredAnswer
from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.model import HistoryEvent
from stepwell.domain.preconditions import Version
from stepwell.domain.records import (
    ListFilter,
    LoadedWorkflow,
    NewWorkflow,
    Ownership,
    TaskRecord,
    WorkflowPage,
    WorkflowRecord,
)
from stepwell.domain.tenancy import TenantScope


class WorkflowStore(Protocol):
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


class WorkflowReader(Protocol):
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

    async def ownership(self, scope: TenantScope, workflow_id: UUID) -> Ownership | None:
        """Who runs the workflow, and who has paused it; None for an unknown one."""

    async def delete_tasks(self, scope: TenantScope, workflow_id: UUID, task_ids: Sequence[UUID]) -> None:
        """Mark tasks deleted."""

    async def stored_outputs(self, scope: TenantScope, task_ids: Sequence[UUID]) -> set[str]:
        """Of those tasks, the paths of the outputs that are recorded and not deleted."""

    async def references_to(
        self, scope: TenantScope, workflow_id: UUID, task_ids: Sequence[UUID]
    ) -> Mapping[UUID, UUID]:
        """Those of the tasks whose files a workflow of *scope* names in its definition, other than *workflow_id* and
        not deleted; each with the lowest id of such workflows.
        """

    async def ping(self) -> None:
        """Return if the database answers."""


class IdempotencyKeys(Protocol):
    """The keys of requests that may be repeated, each for 48 hours from when its try began.

    All methods raise `Unavailable` while the database is away.
    """

    async def reserve(self, scope: TenantScope, key: str, token: UUID, fingerprint: bytes) -> ReservedKey:
        """Take the key for the try of that *token*, where it is free, or left behind by a try without effect: of a
        dead process, or an earlier one of this, which must know that none is at work here. Tokens are in the order of
        a process's tries. Else what is known of it. Raises `StillRunning` where that keeps changing.
        """

    async def store_answer(self, reservation: Reservation, answer: StoredAnswer) -> StoredAnswer:
        """Store the answer, unless there is one; what is to be sent."""

    async def release(self, reservations: Collection[Reservation]) -> None:
        """Forget the keys of tries without effect; a create that is to have it later won't. Those of tries that had it
        and weren't answered are nobody's then: any process may answer repeats.
        """
