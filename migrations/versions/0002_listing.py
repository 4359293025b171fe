"""Indexes that answer the list alone: its pages in their order, its total, and every filter on top of another.

Of a table's rows as many as a twentieth may have changed before it is vacuumed: each of those has to be looked up,
which is what these indexes are there to spare.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    "DROP INDEX workflows_by_created, workflows_by_tenant, workflows_by_instance, workflows_by_status",
    """
    CREATE INDEX workflows_by_created ON workflows (created_at, id)
        INCLUDE (status, tenant, origin_instance, deleted_at)
    """,
    """
    CREATE INDEX workflows_by_status ON workflows (status, created_at, id)
        INCLUDE (tenant, origin_instance, deleted_at)
    """,
    """
    CREATE INDEX workflows_by_tenant ON workflows (tenant, created_at, id)
        INCLUDE (status, origin_instance, deleted_at) WHERE tenant IS NOT NULL
    """,
    """
    CREATE INDEX workflows_without_tenant ON workflows (created_at, id)
        INCLUDE (status, origin_instance, deleted_at) WHERE tenant IS NULL
    """,
    """
    CREATE INDEX workflows_by_instance ON workflows (origin_instance, created_at, id)
        INCLUDE (status, tenant, deleted_at)
    """,
    """
    ALTER TABLE workflows SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
