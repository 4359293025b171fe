"""The deletion of what is no longer wanted, as protocols: files (cleanups), workflows (purges), and sums of costs."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final, Protocol
from uuid import UUID

from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.cleanup_records import (
    CleanupCounts,
    DueCleanup,
    ExpiredBatch,
    FileRemoval,
    PurgedRows,
    TaskToClean,
)
from stepwell.rules.costs import ExpiredCosts
from stepwell.rules.list_records import TaskCursor

MOST_LOSERS: Final = 1_000
BEFORE_ALL_TASKS: Final = TaskCursor(-1, 0)
"""The cursor before all tasks."""


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

    async def next_tasks(self, owner: UUID, workflow_id: UUID, after: TaskCursor, limit: int) -> Sequence[TaskToClean]:
        """Return the next tasks that aren't deleted, and record that the deletion of their files begins now.

        A workflow needs the files that its definition names. Counted are undeleted workflows of the same tenant.
        """

    async def children(self, workflow_id: UUID, limit: int) -> Mapping[UUID, WorkflowStatus]:
        """Return the statuses of up to *limit* sub-workflows that aren't deleted, not those of sub-workflows."""

    async def settle(
        self,
        owner: UUID,
        workflow_id: UUID,
        task_ids: Sequence[UUID],
        deleted: int,
        gone: int,
        kept: Sequence[UUID] = (),
    ) -> None:
        """Mark the tasks as deleted, and add to the numbers of their files.

        The files of the tasks *kept* stay for other workflows. They become removals (`Purges.removals`).
        """

    async def postpone(self, owner: UUID, workflow_id: UUID, seconds: float) -> None:
        """Make the next pass due in *seconds*, and count a failed one."""

    async def counts(self, owner: UUID, workflow_id: UUID) -> CleanupCounts | None:
        """Return the numbers of files; None if *owner* has no such cleanup any more."""

    async def end(self, owner: UUID, workflow_id: UUID) -> None:
        """Delete the cleanup without an event, unless it has become a purge."""


class Purges(Protocol):
    """The purges that have begun and not ended.

    A purge is a cleanup that deletes all rows of a workflow, and then its files. `ports.deletions.Cleanups` returns it
    when it is due, postpones it, and lets another process take it over. A method with an *owner* has no effect on the
    purge of another one. All methods raise `Unavailable` while the database is away.
    """

    async def is_followed_up(self, workflow_id: UUID) -> bool:
        """Return whether an abandoned job of the workflow, or of its sub-workflows in all depths, is still polled."""

    async def request(self, owner: UUID, workflow_id: UUID, actor: str) -> UUID | None:
        """Begin the purge of a deleted workflow on behalf of *actor*, or make it due now. Return its owner.

        Its sub-workflows that have ended are deleted, and purged, too. A cleanup of the workflow becomes the purge.
        Returns None if nothing of the workflow is left. *owner* becomes the owner, unless another live process is.
        """

    async def losers(self, workflow_id: UUID) -> Sequence[UUID]:
        """Return the undeleted workflows, at most `MOST_LOSERS`, that lose files by the purge of the workflow.

        They have taken over results of it or of its sub-workflows. Files that a definition names aren't lost.
        """

    async def with_uploads(self, workflow_ids: Collection[UUID]) -> Collection[UUID]:
        """Return those of the workflows that came with uploads in their definitions."""

    async def delete_rows(self, owner: UUID, workflow_ids: Collection[UUID], limit: int) -> PurgedRows:
        """Delete rows of these workflows, up to about *limit* of each table. The row of the workflow is the first.

        Workflows that a process runs are left out, and so are those with an abandoned job that is still polled. The
        files of tasks are recorded as removals. The deletion that a caller requested is recorded in the same
        transaction.
        """

    async def removals(self, workflow_ids: Collection[UUID], after: UUID, limit: int) -> Sequence[FileRemoval]:
        """Return the next removals whose files no undeleted workflow needs: of these workflows, and of those whose
        files they name. They are in the order of the task ids, from behind *after* on.
        """

    async def end_removals(self, task_ids: Collection[UUID]) -> None:
        """Delete the removals, because their files are deleted."""

    async def end(self, owner: UUID, workflow_ids: Collection[UUID]) -> None:
        """Delete the purges, and the last rows of their workflows."""

    async def expire(self, owner: UUID, retention_s: float, most: int, most_steps: int) -> ExpiredBatch:
        """Delete the rows of workflows that ended over *retention_s* seconds ago, the earliest first.

        It takes up to *most* of them, and no further one after *most_steps* steps. Left out are workflows that a
        process runs or changes, and those with a cleanup, an abandoned job that is polled, or a webhook that is still
        to be sent. A sub-workflow is taken when its root is due, and a workflow after its sub-workflows. Purges delete
        the rest of them.
        """


class DailyCosts(Protocol):
    """The sums of costs in the database. All methods raise `Unavailable`."""

    async def expire(self, before: date, most: int) -> ExpiredCosts:
        """Delete up to *most* sums of the days before *before*.

        If it deletes fewer, no others are left, or another process deletes them.
        """
