"""The conditions and the repetitions of steps: the members `when` and `repeat`, null for a step without them.

`definition` doesn't have these members, because earlier versions, which show these steps too, refuse members that they
don't know. A type is never altered, so new steps get another one.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE steps ADD COLUMN condition text, ADD COLUMN repeat json",
    """
    CREATE TYPE insert_step_3 AS (
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
        repeat json
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
