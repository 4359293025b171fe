"""Commands: the verbs that one process passes to the process that runs the workflow.

A command waits while `outcome` is null. `requester` is the process that waits for the outcome, and `recipient` the one
that ran the workflow when the command was sent. `request` has the verb. `scope`, `key` and `token` are the request's
idempotency key, and null without one. `lane` is the tenant of the workflow, "" for none.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE commands (
        id uuid NOT NULL,
        workflow_id uuid NOT NULL,
        lane text NOT NULL,
        requester uuid NOT NULL,
        recipient uuid NOT NULL,
        request json NOT NULL,
        scope text,
        key text,
        token uuid,
        created_at timestamptz NOT NULL,
        outcome json,
        CONSTRAINT commands_pkey PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX commands_by_workflow_id ON commands (workflow_id)",
    "CREATE INDEX commands_waiting ON commands (lane) WHERE outcome IS NULL",
    "CREATE INDEX commands_by_created_at ON commands (created_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
