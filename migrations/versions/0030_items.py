"""The items of steps with `for_each`: a row for each, with the state that a step has.

`steps.for_each` is the member of the definition, null for a step without it. `definition` doesn't have it, because
earlier versions refuse members that they don't know. `tasks.item` is the number of the item that a task is for, null
for the task of a step. The tasks of a step stay unique by their attempts: `attempt` of an item's task is that of the
item plus 1,000,000 times the item's number.

A type is never altered, so rows with the new columns have others. Rows of ordinary tasks keep theirs.
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE steps ADD COLUMN for_each json",
    "ALTER TABLE tasks ADD COLUMN item integer",
    """
    CREATE TABLE step_items (
        workflow_id uuid NOT NULL,
        position integer NOT NULL,
        item integer NOT NULL,
        value json,
        status text NOT NULL,
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
        skip_reason text,
        flow json,
        CONSTRAINT step_items_pkey PRIMARY KEY (workflow_id, position, item)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TYPE insert_step_4 AS (
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
        optional boolean,
        condition text,
        repeat json,
        for_each json
    )
    """,
    """
    CREATE TYPE checkpoint_item AS (
        workflow_id uuid,
        position integer,
        item integer,
        value json,
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
    CREATE TYPE checkpoint_task_3 AS (
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
        cost json,
        item integer
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
