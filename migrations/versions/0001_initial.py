"""Workflows, their steps, tasks and events, and the processes that run them."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE processes (
        id uuid CONSTRAINT processes_pkey PRIMARY KEY,
        lease_until timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE workflows (
        id uuid CONSTRAINT workflows_pkey PRIMARY KEY,
        tenant text,
        origin_instance text NOT NULL,
        origin_zone text,
        origin_reference text,
        config json NOT NULL,
        suppress_subtask_events boolean NOT NULL DEFAULT false,
        total_steps integer NOT NULL,
        final_position integer NOT NULL,
        created_at timestamptz NOT NULL,
        status text NOT NULL
            CHECK (status IN ('PENDING', 'RUNNING', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED')),
        name text NOT NULL,
        description text,
        webhook_url text,
        completed_steps integer NOT NULL DEFAULT 0 CHECK (completed_steps BETWEEN 0 AND total_steps),
        execution_id uuid,
        failure text,
        started_at timestamptz,
        completed_at timestamptz,
        updated_at timestamptz NOT NULL,
        deleted_at timestamptz,
        deadline_at timestamptz,
        timeout_left_s double precision,
        owner uuid,
        epoch integer NOT NULL DEFAULT 0,
        last_event integer NOT NULL DEFAULT 0,
        crashes integer NOT NULL DEFAULT 0
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX workflows_by_created ON workflows (created_at, id)",
    "CREATE INDEX workflows_by_tenant ON workflows (tenant, created_at, id)",
    "CREATE INDEX workflows_by_instance ON workflows (origin_instance, created_at, id)",
    "CREATE INDEX workflows_by_status ON workflows (status, created_at, id)",
    "CREATE INDEX workflows_by_owner ON workflows (owner, id) WHERE owner IS NOT NULL",
    """
    CREATE TABLE steps (
        workflow_id uuid NOT NULL CONSTRAINT steps_workflow_id_fkey REFERENCES workflows ON DELETE CASCADE,
        position integer NOT NULL,
        id uuid NOT NULL,
        step_id text NOT NULL,
        task_type text NOT NULL,
        definition json NOT NULL,
        depends_on integer[] NOT NULL,
        max_retries integer NOT NULL,
        timeout_s double precision NOT NULL,
        provider text,
        fallback text,
        status text NOT NULL
            CHECK (status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED')),
        task_id uuid,
        attempt integer NOT NULL DEFAULT 0,
        provider_attempts integer NOT NULL DEFAULT 0,
        retry_count integer NOT NULL DEFAULT 0,
        on_fallback boolean NOT NULL DEFAULT false,
        next_attempt_at timestamptz,
        result json,
        error_message text,
        started_at timestamptz,
        completed_at timestamptz,
        updated_at timestamptz NOT NULL,
        CONSTRAINT steps_pkey PRIMARY KEY (workflow_id, position)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE tasks (
        id uuid CONSTRAINT tasks_pkey PRIMARY KEY,
        workflow_id uuid NOT NULL,
        position integer NOT NULL,
        attempt integer NOT NULL,
        provider text,
        seed bigint,
        started_at timestamptz NOT NULL,
        status text NOT NULL CHECK (status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
        phase text NOT NULL CHECK (phase IN ('INTENT', 'SUBMITTED', 'REMOTE_DONE', 'STORED')),
        remote_id text,
        outcome_unknown boolean NOT NULL DEFAULT false,
        cancel_receipt text,
        outputs json NOT NULL,
        error text,
        completed_at timestamptz,
        deleted_at timestamptz,
        CONSTRAINT tasks_workflow_id_position_attempt_key UNIQUE (workflow_id, position, attempt)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TABLE events (
        workflow_id uuid NOT NULL,
        id integer NOT NULL,
        type text NOT NULL,
        at timestamptz NOT NULL,
        step_id text,
        task_id uuid,
        actor text NOT NULL,
        data json NOT NULL,
        CONSTRAINT events_pkey PRIMARY KEY (workflow_id, id)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
