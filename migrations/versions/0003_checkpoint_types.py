"""The rows of a checkpoint as types, so that a batch is four parameters instead of sixty.

A type is never altered: a process of the version before would send rows of the old shape while both run. A statement
that wants other columns makes types of its own.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TYPE checkpoint_workflow AS (
        id uuid,
        fence_owner uuid,
        fence_epoch integer,
        fence_event integer,
        status text,
        name text,
        description text,
        webhook_url text,
        completed_steps integer,
        execution_id uuid,
        failure text,
        started_at timestamptz,
        completed_at timestamptz,
        updated_at timestamptz,
        deleted_at timestamptz,
        deadline_at timestamptz,
        timeout_left_s double precision,
        owner uuid,
        epoch integer,
        last_event integer,
        crashes integer
    )
    """,
    """
    CREATE TYPE checkpoint_step AS (
        workflow_id uuid,
        position integer,
        status text,
        task_id uuid,
        attempt integer,
        provider_attempts integer,
        retry_count integer,
        on_fallback boolean,
        next_attempt_at timestamptz,
        result json,
        error_message text,
        started_at timestamptz,
        completed_at timestamptz,
        updated_at timestamptz
    )
    """,
    """
    CREATE TYPE checkpoint_task AS (
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
        completed_at timestamptz
    )
    """,
    """
    CREATE TYPE checkpoint_event AS (
        workflow_id uuid,
        id integer,
        type text,
        at timestamptz,
        step_id text,
        task_id uuid,
        actor text,
        data json
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
