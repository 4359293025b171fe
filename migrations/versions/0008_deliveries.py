"""Webhooks that are to be sent, or were: the outbox. A row is written in the transaction of the event that it tells of.

`next_at` is null once there is nothing more to be done. `lane` is what takes turns: the tenant, an @, and host and port
of the address when the row was written.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE deliveries (
        workflow_id uuid NOT NULL,
        event_id integer NOT NULL,
        type text NOT NULL,
        lane text NOT NULL,
        status text NOT NULL,
        owner uuid,
        created_at timestamptz NOT NULL,
        next_at timestamptz,
        tries integer NOT NULL DEFAULT 0,
        attempts json NOT NULL,
        body text,
        CONSTRAINT deliveries_pkey PRIMARY KEY (workflow_id, event_id)
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX deliveries_due ON deliveries (owner, lane, next_at) WHERE next_at IS NOT NULL",
    """
    CREATE TYPE checkpoint_delivery AS (
        workflow_id uuid,
        event_id integer,
        type text,
        lane text,
        created_at timestamptz
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
