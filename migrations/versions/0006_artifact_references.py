"""Which workflows name files of which tasks in their definitions, so that cleanup leaves these files alone.

The definitions that are there already are read once. A row may be of a workflow that was never stored.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE artifact_references (
        task_id uuid NOT NULL,
        workflow_id uuid NOT NULL,
        CONSTRAINT artifact_references_pkey PRIMARY KEY (task_id, workflow_id)
    )
    """,
    """
    INSERT INTO artifact_references (task_id, workflow_id)
    SELECT DISTINCT named[1]::uuid, d.workflow_id
    FROM (
        SELECT id AS workflow_id, config::text AS definition FROM workflows
        UNION ALL
        SELECT workflow_id, definition::text FROM steps
    ) AS d
    CROSS JOIN LATERAL regexp_matches(
        d.definition, 'media/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/', 'g'
    ) AS named
    WHERE d.definition LIKE '%media/%'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
