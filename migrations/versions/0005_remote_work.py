"""What a task has at a provider: what was sent, where its job is asked about, until when it is followed up, its cost.

As before a type is never altered, so the rows of tasks get one of their own; the old one stays for a process of the
version before. No row of a step that has nothing elsewhere is in any of the new indexes.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE tasks
        ADD COLUMN sent json,
        ADD COLUMN urls json,
        ADD COLUMN follow_up_until timestamptz,
        ADD COLUMN cost json
    """,
    "CREATE INDEX tasks_by_remote_id ON tasks (remote_id, provider) WHERE remote_id IS NOT NULL",
    "CREATE INDEX tasks_to_follow_up ON tasks (workflow_id) WHERE follow_up_until IS NOT NULL",
    "CREATE INDEX tasks_sent ON tasks (workflow_id) WHERE sent IS NOT NULL",
    """
    CREATE TYPE checkpoint_task_2 AS (
        id uuid,
        workflow_id uuid,
        position integer,
        attempt integer,
        provider text,
        seed bigint,
        started_at timestamptz,
        status text,
        phase text,
        remote_id text,
        outcome_unknown boolean,
        cancel_receipt text,
        outputs json,
        error text,
        completed_at timestamptz,
        sent json,
        urls json,
        follow_up_until timestamptz,
        cost json
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
