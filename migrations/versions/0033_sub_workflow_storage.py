"""The storage that the sub-workflows of a root take: a bound on it needs sums that one row has.

`workflows.sub_workflow_steps` and `sub_workflow_bytes` count the steps and the bytes of the definitions of all
sub-workflows that a root has ever had, as `sub_workflows` counts those. Those that an earlier version stores aren't
counted.
"""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE workflows
        ADD COLUMN sub_workflow_steps integer NOT NULL DEFAULT 0,
        ADD COLUMN sub_workflow_bytes bigint NOT NULL DEFAULT 0
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
