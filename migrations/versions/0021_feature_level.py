"""The level of features that a process needs in order to run a workflow, see `stepwell.lifecycle.feature_level`.

1: every version understands it, as with all stored workflows. A type is never altered, so new workflows get another
one.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE workflows ADD COLUMN feature_level integer NOT NULL DEFAULT 1",
    """
    CREATE TYPE insert_workflow_3 AS (
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
