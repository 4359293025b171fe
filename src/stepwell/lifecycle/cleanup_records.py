"""Records of cleanups and purges: what is due, what is still to be deleted, and what was."""

from uuid import UUID

from msgspec import Struct

from stepwell.contract.workflows import WorkflowCleanupDetail
from stepwell.lifecycle.records import TaskRecord


def empty_report(*, pending: bool = False) -> WorkflowCleanupDetail:
    """Return the report of a cleanup that has done nothing yet. *pending*: it has something to do."""
    return WorkflowCleanupDetail(0, 0, [], [], pending)


class DueCleanup(Struct, frozen=True):
    """A cleanup whose next pass is due. `tries` counts the failed passes. `lane` is the tenant, "" for none.

    `purge`: all rows of the workflow are deleted too. `expired`: the retention does that, and not a request.
    """

    workflow_id: UUID
    lane: str
    tries: int
    purge: bool = False
    expired: bool = False


class FileRemoval(Struct, frozen=True):
    """The files of a task whose rows a purge has deleted."""

    task_id: UUID
    workflow_id: UUID
    paths: tuple[str, ...]


class PurgedRows(Struct, frozen=True):
    """The workflows whose rows a purge has deleted. Those in `unfinished` may still have rows."""

    workflow_ids: frozenset[UUID] = frozenset()
    unfinished: frozenset[UUID] = frozenset()


class ExpiredBatch(Struct, frozen=True):
    """A batch of workflows that the retention has deleted.

    `with_files`: some of them have files, which are still to be deleted. `busy`: nothing was deleted, because the files
    of an earlier batch are still being deleted. `is_behind`: before the batch, a workflow was due. `next_s`: the
    seconds until the next one is due; None without one.
    """

    count: int
    with_files: bool
    busy: bool
    is_behind: bool
    next_s: float | None


class TaskToClean(Struct, frozen=True):
    """A task whose files a cleanup handles, or would handle.

    `referenced_by`: another workflow that still needs the files, so that they stay. `begun`: an earlier pass of the
    same cleanup may have deleted them already.
    """

    record: TaskRecord
    referenced_by: UUID | None
    begun: bool = False


class CleanupCounts(Struct, frozen=True):
    """The files that a cleanup has deleted, and those that were gone before it.

    `repeated`: an earlier cleanup of the workflow has written workflow.files_deleted already.
    """

    deleted: int
    gone: int
    repeated: bool
