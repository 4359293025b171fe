"""The deletion of workflows with all their rows and files, as a protocol."""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from stepwell.lifecycle.cleanup_records import ExpiredBatch, FileRemoval, PurgedRows


class Purges(Protocol):
    """The purges that have begun and not ended.

    A purge is a cleanup that deletes all rows of a workflow, and then its files. `ports.cleanups.Cleanups` returns it
    when it is due, postpones it, and lets another process take it over. A method with an *owner* has no effect on the
    purge of another one. All methods raise `Unavailable` while the database is away.
    """

    async def is_followed_up(self, workflow_id: UUID) -> bool:
        """Return whether a job of the workflow, or of its sub-workflows in all depths, is still followed up."""

    async def request(self, owner: UUID, workflow_id: UUID, actor: str) -> UUID | None:
        """Begin the purge of a deleted workflow on behalf of *actor*, or make it due now. Return its owner.

        Its sub-workflows that have ended are deleted, and purged, too. A cleanup of the workflow becomes the purge.
        Returns None if nothing of the workflow is left. *owner* becomes the owner, unless another live process is.
        """

    async def with_uploads(self, workflow_ids: Collection[UUID]) -> Collection[UUID]:
        """Return those of the workflows that came with uploads in their definitions."""

    async def delete_rows(self, owner: UUID, workflow_ids: Collection[UUID], limit: int) -> PurgedRows:
        """Delete rows of these workflows, up to about *limit* of each table. The row of the workflow is the first.

        A workflow that a process runs, or a job of which is followed up, is left out. The files that tasks have
        recorded are recorded as removals. The deletion that a caller asked for is recorded in the same transaction.
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
        process runs or changes, and those with a cleanup, a job that is followed up, or a webhook that is still to be
        sent. A sub-workflow is taken when its root is due, and a workflow after its sub-workflows. Purges delete the
        rest of them.
        """
