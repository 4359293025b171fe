"""The size of each workflow's definition, because a large one takes the place of several in memory.

0: unknown, as for the workflows that earlier versions store. A type is never altered, so new workflows get another one.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE workflows ADD COLUMN definition_bytes integer NOT NULL DEFAULT 0",
    """
    CREATE TYPE insert_workflow_2 AS (
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
