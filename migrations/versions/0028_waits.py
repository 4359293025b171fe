"""Waits of workflows: for a time, a decision or a signal; and workflows that only wait.

`workflows.wake_at` is null unless the workflow is parked: it only waits, has no owner and isn't in memory. It needs a
process again at that time. 9999-12-31 23:59:59.999999+00 stands for never: then only a decision, a signal or a verb
wakes it. `steps.flow` is null for ordinary steps. It has the wait of a step, or the state of its repetition, as JSON.
`waits` has a row for each wait for a decision, as people see it. `signals` are those that no step has taken yet.

The index of the workflows that wait for admission leaves out those that are parked, so it has another name.
`build_missing_indexes` builds it, and the one of the workflows that are due. Until then, admission reads the whole
table, also in processes of the version before. A type is never altered, so rows with the new columns have others.
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE workflows ADD COLUMN wake_at timestamptz",
    "ALTER TABLE steps ADD COLUMN flow json",
    "DROP INDEX workflows_waiting",
    """
    CREATE TABLE waits (
        workflow_id uuid NOT NULL,
        position integer NOT NULL,
        id uuid NOT NULL,
        kind text NOT NULL,
        tenant text,
        since timestamptz NOT NULL,
        until timestamptz,
        message text,
        choices json NOT NULL,
        shown json NOT NULL,
        CONSTRAINT waits_pkey PRIMARY KEY (workflow_id, position)
    )
    """,
    """
    CREATE INDEX waits_for_decisions ON waits (coalesce(tenant, ''), since, workflow_id, position)
    WHERE kind = 'decision'
    """,
    """
    CREATE TABLE signals (
        workflow_id uuid NOT NULL,
        name text NOT NULL,
        data json NOT NULL,
        sender text NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT signals_pkey PRIMARY KEY (workflow_id, name)
    )
    """,
    """
    CREATE TYPE checkpoint_workflow_2 AS (
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
        crashes integer,
        wake_at timestamptz
    )
    """,
    """
    CREATE TYPE checkpoint_step_3 AS (
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
        skip_reason text,
        flow json
    )
    """,
    """
    CREATE TYPE checkpoint_wait AS (
        workflow_id uuid,
        position integer,
        id uuid,
        kind text,
        since timestamptz,
        until timestamptz,
        message text,
        choices json,
        shown json
    )
    """,
    """
    CREATE TYPE checkpoint_signal AS (
        workflow_id uuid,
        name text,
        data json,
        sender text,
        at timestamptz
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
