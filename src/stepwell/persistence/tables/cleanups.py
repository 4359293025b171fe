"""The tables of cleanups and purges, and of the files that other workflows name."""

from sqlalchemy import Index, PrimaryKeyConstraint, Table, TypedColumns

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import metadata


class CleanupColumns(TypedColumns):
    """Cleanups that are still to delete files. `lane` is the tenant, "" for none.

    `purge`: all rows of the workflow are deleted too; `purged_by` asked for that, None: the retention.
    """

    workflow_id = column.uuid(key=True)
    lane = column.text()
    owner = column.uuid()
    next_at = column.time(nullable=False)
    tries = column.count()
    begun_position = column.integer(default=-1)
    begun_attempt = column.count()
    deleted = column.count()
    gone = column.count()
    repeated = column.flag()
    purge = column.flag()
    purged_by = column.text(nullable=True)


class ReferenceColumns(TypedColumns):
    """The tasks whose files a workflow's definition names. A row of a workflow that doesn't exist has no effect.

    `reused`: a result that the workflow has taken over names the files, or one that it is about to take over.
    """

    task_id = column.uuid()
    workflow_id = column.uuid()
    reused = column.flag()


class FileRemovalColumns(TypedColumns):
    """The files of tasks whose rows a purge has deleted, until they are deleted themselves.

    Also the files of tasks that a cleanup has left for other workflows. `forced`: workflows that have taken over a
    result lose the files, too.
    """

    task_id = column.uuid(key=True)
    workflow_id = column.uuid()
    tenant = column.text(nullable=True)
    outputs = column.json()
    forced = column.flag()


class DeletionColumns(TypedColumns):
    """Deletions of a workflow's data: the caller who asked for each, and its time."""

    workflow_id = column.uuid(key=True)
    actor = column.text()
    at = column.time(nullable=False)


cleanups = Table("cleanups", metadata, CleanupColumns, Index("cleanups_due", "owner", "lane", "next_at"))
artifact_references = Table(
    "artifact_references",
    metadata,
    ReferenceColumns,
    PrimaryKeyConstraint("task_id", "workflow_id"),
    Index("artifact_references_by_workflow_id", "workflow_id"),
)
file_removals = Table(
    "file_removals", metadata, FileRemovalColumns, Index("file_removals_by_workflow_id", "workflow_id")
)
deletions = Table("deletions", metadata, DeletionColumns)
