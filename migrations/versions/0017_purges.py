"""Purges: the deletion of workflows with all their rows and files, recorded so that it goes on after a crash.

A row of `cleanups` with `purge` is a purge. It ends when no row of the workflow is left, and no file that isn't needed
by another one. `purged_by` is the caller who asked for it; null if the retention did. The rows of a workflow go first.
Until its files are deleted, they are in `file_removals`. There they stay as long as another workflow needs them.
`deletions` records who has had the data of a workflow deleted, and when.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE cleanups ADD COLUMN purge boolean NOT NULL DEFAULT false, ADD COLUMN purged_by text",
    """
    CREATE TABLE file_removals (
        task_id uuid NOT NULL,
        workflow_id uuid NOT NULL,
        tenant text,
        outputs json NOT NULL,
        CONSTRAINT file_removals_pkey PRIMARY KEY (task_id)
    )
    """,
    "CREATE INDEX file_removals_by_workflow_id ON file_removals (workflow_id)",
    """
    CREATE TABLE deletions (
        workflow_id uuid NOT NULL,
        actor text NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT deletions_pkey PRIMARY KEY (workflow_id)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
