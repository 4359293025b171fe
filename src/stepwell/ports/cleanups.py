"""The storage of cleanups that have begun and not ended, as a protocol."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.cleanup_records import CleanupCounts, DueCleanup, TaskToClean
from stepwell.rules.list_records import TaskPlace

FIRST: Final = TaskPlace(-1, 0)
"""The place before all tasks."""


class Cleanups(Protocol):
    """The cleanups that are still to delete files, one for each workflow at most.

    `WorkflowStore.write` inserts and deletes them, together with the events of the decisions. Each has an owner, the
    process that works on it. A method with an *owner* has no effect on the cleanup of another one. All methods raise
    `Unavailable` while the database is away.
    """

    async def request(self, owner: UUID, workflow_id: UUID) -> UUID | None:
        """Make the cleanup of a deleted workflow due now. Return its owner, or None if nothing is left to do.

        If it has no cleanup, one is inserted if it has tasks that aren't deleted, or no workflow.files_deleted yet.
        *owner* becomes the owner, unless another live process is.
        """

    async def take_over(self, owner: UUID) -> float | None:
        """Make *owner* the owner of the cleanups of dead processes.

        Return the seconds until the first cleanup of *owner* is due; None if it has none. A process whose lease has
        merely ended may be idle until a later pass. So of such a process only those that are due are taken.
        """

    async def due(
        self, owner: UUID, except_for: Collection[UUID], per_lane: int
    ) -> tuple[Sequence[DueCleanup], float | None]:
        """Return the cleanups that are due, up to *per_lane* of each lane, the earliest first.

        The second value is the seconds until the next of the others is due, None if there is none. *except_for* are
        left out.
        """

    async def next_tasks(self, owner: UUID, workflow_id: UUID, after: TaskPlace, limit: int) -> Sequence[TaskToClean]:
        """Return the next tasks that aren't deleted, and record that the deletion of their files begins now.

        A workflow needs the files that its definition names. Counted are undeleted workflows of the same tenant.
        """

    async def children(self, workflow_id: UUID, limit: int) -> Mapping[UUID, WorkflowStatus]:
        """Return the statuses of up to *limit* sub-workflows that aren't deleted, not those of sub-workflows."""

    async def settle(self, owner: UUID, workflow_id: UUID, task_ids: Sequence[UUID], deleted: int, gone: int) -> None:
        """Mark the tasks as deleted, and add to the numbers of their files."""

    async def postpone(self, owner: UUID, workflow_id: UUID, seconds: float) -> None:
        """Make the next pass due in *seconds*, and count a failed one."""

    async def counts(self, owner: UUID, workflow_id: UUID) -> CleanupCounts | None:
        """Return the numbers of files; None if *owner* has no such cleanup any more."""

    async def end(self, owner: UUID, workflow_id: UUID) -> None:
        """Delete the cleanup without an event, unless it has become a purge."""
