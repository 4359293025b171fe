"""Sub-workflows: the workflows that steps of other workflows run, and how the end of one wakes its parent.

`workflows.parent_id` is null unless the workflow is a sub-workflow. Then `parent_step` is the id of the step that runs
it, `parent_item` the number of the step's item, `root_id` the workflow at the top, and `depth` its number of ancestors.
These never change. `child_ends` counts how often a sub-workflow of the workflow has ended; only the statement that
records such an end changes it. `sub_workflows` counts those that a root has ever had.

The index is built by `build_missing_indexes`. A type is never altered, so rows with the number of the ends that a
process has seen have another one.
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE workflows
        ADD COLUMN parent_id uuid,
        ADD COLUMN parent_step text,
        ADD COLUMN parent_item integer,
        ADD COLUMN root_id uuid,
        ADD COLUMN depth integer NOT NULL DEFAULT 0,
        ADD COLUMN child_ends integer NOT NULL DEFAULT 0,
        ADD COLUMN sub_workflows integer NOT NULL DEFAULT 0
    """,
    """
    CREATE TYPE checkpoint_workflow_3 AS (
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
        wake_at timestamptz,
        child_ends_seen integer
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
