"""Cleanups that are still to delete files, so that another process continues them after a crash.

A cleanup handles tasks in the order of positions and attempts. `begun_position` and `begun_attempt` are the place of
the last task whose files may be deleted already. `lane` is the tenant, '' for none.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE cleanups (
        workflow_id uuid NOT NULL,
        lane text NOT NULL,
        owner uuid NOT NULL,
        next_at timestamptz NOT NULL,
        tries integer NOT NULL DEFAULT 0,
        begun_position integer NOT NULL DEFAULT -1,
        begun_attempt integer NOT NULL DEFAULT 0,
        deleted integer NOT NULL DEFAULT 0,
        gone integer NOT NULL DEFAULT 0,
        repeated boolean NOT NULL DEFAULT false,
        CONSTRAINT cleanups_pkey PRIMARY KEY (workflow_id)
    )
    """,
    "CREATE INDEX cleanups_due ON cleanups (owner, lane, next_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
