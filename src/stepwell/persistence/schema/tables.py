"""The tables as SQLAlchemy Core sees them. `migrations/` creates them, and a test compares the two."""

from sqlalchemy import Index, PrimaryKeyConstraint, Table, text

from stepwell.persistence.schema.columns import (
    CleanupColumns,
    CommandColumns,
    DailyCostColumns,
    DeletionColumns,
    FileRemovalColumns,
    InstallationColumns,
    LimitDivisionColumns,
    LimitMemberColumns,
    ProcessColumns,
    ReferenceColumns,
    UncleanEndColumns,
    UploadColumns,
    UsageColumns,
    UsedSignInCodeColumns,
)
from stepwell.persistence.tables import (  # noqa: F401 - each adds its tables to `metadata`
    deliveries,
    events,
    idempotency_keys,
    steps,
    tasks,
    waits,
)
from stepwell.persistence.tables.column import RowType, metadata
from stepwell.persistence.tables.workflows import NEWEST

__all__ = ["RowType", "metadata"]

installation = Table("installation", metadata, InstallationColumns)
unclean_ends = Table("unclean_ends", metadata, UncleanEndColumns)
processes = Table("processes", metadata, ProcessColumns)
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
_STORED = text("status = 'STORED'")
_UPLOAD_LANE = text("coalesce(tenant, '')")
uploads = Table(
    "uploads",
    metadata,
    UploadColumns,
    Index(
        "uploads_by_contents",
        *(_UPLOAD_LANE, text("(tenant IS NULL)"), "sha256"),
        unique=True,
        postgresql_where=_STORED,
    ),
    Index("uploads_by_tenant", _UPLOAD_LANE, *NEWEST, postgresql_where=_STORED),
    Index("uploads_by_created", *NEWEST, postgresql_where=_STORED),
    Index("uploads_due", "expires_at"),
    Index("uploads_of_workflow", "workflow_id", postgresql_where=text("workflow_id IS NOT NULL")),
)
upload_usage = Table("upload_usage", metadata, UsageColumns)
daily_costs = Table(
    "daily_costs",
    metadata,
    DailyCostColumns,
    PrimaryKeyConstraint("tenant", "day", "provider", "model", "currency"),
    postgresql_with={"fillfactor": "50"},  # each update stays on its page
)
commands = Table(
    "commands",
    metadata,
    CommandColumns,
    Index("commands_by_workflow_id", "workflow_id"),
    Index("commands_waiting", "lane", postgresql_where=text("outcome IS NULL")),
    Index("commands_by_created_at", "created_at"),
)
limit_division = Table("limit_division", metadata, LimitDivisionColumns, postgresql_with={"fillfactor": "50"})
limit_members = Table("limit_members", metadata, LimitMemberColumns, postgresql_with={"fillfactor": "50"})
used_sign_in_codes = Table("used_sign_in_codes", metadata, UsedSignInCodeColumns)
