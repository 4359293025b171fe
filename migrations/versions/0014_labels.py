"""The labels of workflows, in a table of their own, because a workflow's row is written with each checkpoint."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE labels (
        workflow_id uuid NOT NULL,
        label text NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (workflow_id, label)
    )
    """,
    "CREATE INDEX labels_by_label ON labels (label, created_at, workflow_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
