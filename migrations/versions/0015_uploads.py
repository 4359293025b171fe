"""Files that users upload, and what each tenant uses of its quota."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE uploads (
        id uuid NOT NULL,
        tenant text,
        name text NOT NULL,
        status text NOT NULL,
        size bigint NOT NULL,
        preview_bytes bigint NOT NULL DEFAULT 0,
        sha256 text NOT NULL,
        media_type text NOT NULL,
        width integer,
        height integer,
        duration_s double precision,
        workflow_id uuid,
        ttl_s double precision NOT NULL,
        created_at timestamptz NOT NULL,
        used_at timestamptz,
        expires_at timestamptz NOT NULL,
        CONSTRAINT uploads_pkey PRIMARY KEY (id)
    )
    """,
    """
    CREATE UNIQUE INDEX uploads_by_contents ON uploads (coalesce(tenant, ''), (tenant IS NULL), sha256)
    WHERE status = 'STORED'
    """,
    "CREATE INDEX uploads_by_tenant ON uploads (coalesce(tenant, ''), created_at, id) WHERE status = 'STORED'",
    "CREATE INDEX uploads_by_created ON uploads (created_at, id) WHERE status = 'STORED'",
    "CREATE INDEX uploads_due ON uploads (expires_at)",
    "CREATE INDEX uploads_of_workflow ON uploads (workflow_id) WHERE workflow_id IS NOT NULL",
    """
    CREATE TABLE upload_usage (
        lane text NOT NULL,
        bytes bigint NOT NULL,
        uploads integer NOT NULL,
        CONSTRAINT upload_usage_pkey PRIMARY KEY (lane)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
