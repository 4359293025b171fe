"""The tables as SQLAlchemy Core sees them. `migrations/` creates them, and a test compares the two.

No index contains a column that changes with every transition, so that these updates stay HOT (heap-only tuples).
"""

from sqlalchemy import (
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    literal_column,
    text,
)

from stepwell.persistence.schema.columns import (
    CleanupColumns,
    CommandColumns,
    DailyCostColumns,
    DeletionColumns,
    DeliveryColumns,
    EventColumns,
    FileRemovalColumns,
    IdempotencyColumns,
    InstallationColumns,
    ItemColumns,
    LabelColumns,
    LimitDivisionColumns,
    LimitMemberColumns,
    ProcessColumns,
    ReferenceColumns,
    SignalColumns,
    StepColumns,
    TaskColumns,
    UncleanEndColumns,
    UploadColumns,
    UsageColumns,
    UsedSignInCodeColumns,
    WaitColumns,
    WorkflowColumns,
)

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_by_%(column_0_N_name)s",
    }
)


_NEWEST = ("created_at", "id")

installation = Table("installation", metadata, InstallationColumns)
unclean_ends = Table("unclean_ends", metadata, UncleanEndColumns)
processes = Table("processes", metadata, ProcessColumns)
workflows = Table(
    "workflows",
    metadata,
    WorkflowColumns,
    # Each index contains all columns that the list filters by, so that no other index and no row is read, whatever the
    # filters are and however many rows they reject. Each row is in four indexes, because an index that begins with
    # `tenant` has no order for `tenant IS NULL`.
    Index(
        "workflows_list_by_created",
        *_NEWEST,
        postgresql_include=["status", "tenant", "origin_instance", "deleted_at", "parent_id"],
    ),
    Index(
        "workflows_list_by_status",
        "status",
        *_NEWEST,
        postgresql_include=["tenant", "origin_instance", "deleted_at", "parent_id"],
    ),
    Index(
        "workflows_list_by_tenant",
        "tenant",
        *_NEWEST,
        postgresql_include=["status", "origin_instance", "deleted_at", "parent_id"],
        postgresql_where=text("tenant IS NOT NULL"),
    ),
    Index(
        "workflows_list_without_tenant",
        *_NEWEST,
        postgresql_include=["status", "origin_instance", "deleted_at", "parent_id"],
        postgresql_where=text("tenant IS NULL"),
    ),
    Index(
        "workflows_list_by_instance",
        "origin_instance",
        *_NEWEST,
        postgresql_include=["status", "tenant", "deleted_at", "parent_id"],
    ),
    # A name or a reference may have 1 or 2 kB, and an index row at most 2.7 kB, so these lack columns of the others.
    Index(
        "workflows_list_by_name",
        literal_column("lower(name)").label("lower_name"),
        *_NEWEST,
        postgresql_ops={"lower_name": "text_pattern_ops"},
        postgresql_include=["name", "status", "tenant", "deleted_at", "parent_id"],
    ),
    Index(
        "workflows_list_by_reference",
        "origin_reference",
        *_NEWEST,
        postgresql_include=["status", "tenant", "deleted_at", "parent_id"],
        postgresql_where=text("origin_reference IS NOT NULL"),
    ),
    Index(
        "workflows_list_by_zone",
        "origin_zone",
        *_NEWEST,
        postgresql_include=["status", "tenant", "origin_instance", "deleted_at", "parent_id"],
        postgresql_where=text("origin_zone IS NOT NULL"),
    ),
    # A workflow's completed_at changes together with its status, so this index makes no other update slower.
    Index("workflows_by_completed_at", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
    Index("workflows_by_owner", "owner", "id", postgresql_where=text("owner IS NOT NULL")),
    Index(
        "workflows_to_admit",
        *(text("coalesce(tenant, '')"), "started_at", "id"),
        postgresql_include=["tenant"],
        postgresql_where=text("status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL"),
    ),
    Index(
        *("workflows_due", "status", "wake_at"),  # those that are parked, in the order in which they are due
        postgresql_include=["feature_level"],
        postgresql_where=text("wake_at IS NOT NULL"),
    ),
    # Those of one parent.
    Index("workflows_by_parent", "parent_id", "id", postgresql_where=text("parent_id IS NOT NULL")),
    # Those that some version doesn't understand, so that such a version finds them without reading all that wait.
    Index("workflows_by_feature_level", "feature_level", "id", postgresql_where=text("feature_level > 1")),
    postgresql_with={
        "fillfactor": "80",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_vacuum_insert_scale_factor": "0.05",
    },
)
steps = Table(
    "steps",
    metadata,
    StepColumns,
    PrimaryKeyConstraint("workflow_id", "position"),
    postgresql_with={"fillfactor": "70"},
)
step_items = Table(
    "step_items",
    metadata,
    ItemColumns,
    PrimaryKeyConstraint("workflow_id", "position", "item"),
    postgresql_with={"fillfactor": "70"},
)
waits = Table(
    "waits",
    metadata,
    WaitColumns,
    PrimaryKeyConstraint("workflow_id", "position"),
    Index(
        "waits_for_decisions",
        *(text("coalesce(tenant, '')"), "since", "workflow_id", "position"),
        postgresql_where=text("kind = 'decision'"),
    ),
)
signals = Table("signals", metadata, SignalColumns, PrimaryKeyConstraint("workflow_id", "name"))
tasks = Table(
    "tasks",
    metadata,
    TaskColumns,
    UniqueConstraint("workflow_id", "position", "attempt"),
    Index("tasks_by_remote_id", "remote_id", "provider", postgresql_where=text("remote_id IS NOT NULL")),
    Index("tasks_to_follow_up", "workflow_id", postgresql_where=text("follow_up_until IS NOT NULL")),
    Index("tasks_sent", "workflow_id", postgresql_where=text("sent IS NOT NULL")),
    postgresql_with={"fillfactor": "80"},
)
events = Table(
    "events",
    metadata,
    EventColumns,
    PrimaryKeyConstraint("workflow_id", "id"),
    Index("events_by_txid", "txid"),
    Index("events_without_txid", "workflow_id", "id", postgresql_where=text("txid = 0")),
)
deliveries = Table(
    "deliveries",
    metadata,
    DeliveryColumns,
    PrimaryKeyConstraint("workflow_id", "event_id"),
    Index("deliveries_due", "owner", "lane", "next_at", postgresql_where=text("next_at IS NOT NULL")),
    postgresql_with={"fillfactor": "80"},
)
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    IdempotencyColumns,
    PrimaryKeyConstraint("scope", "key"),
    Index("idempotency_keys_by_created_at", "created_at"),
    Index("idempotency_keys_by_workflow_id", "workflow_id", postgresql_where=text("workflow_id IS NOT NULL")),
)
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
labels = Table(
    "labels",
    metadata,
    LabelColumns,
    PrimaryKeyConstraint("workflow_id", "label"),
    Index("labels_by_label", "label", "created_at", "workflow_id"),
)
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
    Index("uploads_by_tenant", _UPLOAD_LANE, *_NEWEST, postgresql_where=_STORED),
    Index("uploads_by_created", *_NEWEST, postgresql_where=_STORED),
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
