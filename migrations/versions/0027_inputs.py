"""The inputs of workflows, and whether the configs of their steps have expressions.

`evaluates` is false for all stored workflows, so their texts stay as they are. A type is never altered, so new
workflows get another one.
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE workflows ADD COLUMN inputs json, ADD COLUMN inputs_schema json,
        ADD COLUMN evaluates boolean NOT NULL DEFAULT false
    """,
    """
    CREATE TYPE insert_workflow_4 AS (
        id uuid,
        tenant text,
        origin_instance text,
        origin_zone text,
        origin_reference text,
        config json,
        suppress_subtask_events boolean,
        total_steps integer,
        final_position integer,
        definition_bytes integer,
        feature_level integer,
        inputs json,
        inputs_schema json,
        evaluates boolean,
        created_at timestamptz,
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
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
