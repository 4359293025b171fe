"""Steps that are optional or have a `run_if`, and why a step was skipped.

`run_if` is null for the default, and `skip_reason` unless the step is SKIPPED. A process of an earlier version writes
no reason: such a step was skipped because of a failure. `definition` doesn't have the new members, because earlier
versions, which show these steps too, refuse members that they don't know.
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE steps
        ADD COLUMN run_if text,
        ADD COLUMN optional boolean NOT NULL DEFAULT false,
        ADD COLUMN skip_reason text
    """,
    """
    CREATE TYPE insert_step_2 AS (
        workflow_id uuid,
        created_at timestamptz,
        position integer,
        id uuid,
        step_id text,
        task_type text,
        definition json,
        depends_on integer[],
        max_retries integer,
        timeout_s double precision,
        provider text,
        fallback text,
        run_if text,
        optional boolean
    )
    """,
    """
    CREATE TYPE checkpoint_step_2 AS (
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
        updated_at timestamptz,
        skip_reason text
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
