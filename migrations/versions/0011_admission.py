"""An index of the workflows that wait for admission, in the order in which a tenant's are admitted.

They are RUNNING, and have no owner. `coalesce`, because an index that begins with `tenant` has no order for
`tenant IS NULL`; a tenant's name is never empty.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX workflows_waiting ON workflows (coalesce(tenant, ''), started_at, id) INCLUDE (tenant)
        WHERE status = 'RUNNING' AND owner IS NULL
        """
    )
