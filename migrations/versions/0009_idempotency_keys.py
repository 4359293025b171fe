"""Requests that may be repeated. A row is made before the request is worked on, marked in the transaction of its effect
(`applied_at`), and has the answer once there is one. `created_at` is when the latest try began.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE idempotency_keys (
        scope text NOT NULL,
        key text NOT NULL,
        token uuid NOT NULL,
        owner uuid NOT NULL,
        fingerprint bytea NOT NULL,
        created_at timestamptz NOT NULL,
        applied_at timestamptz,
        workflow_id uuid,
        status integer,
        headers json,
        body bytea,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key)
    )
    """,
    "CREATE INDEX idempotency_keys_by_created_at ON idempotency_keys (created_at)",
    """
    CREATE TYPE checkpoint_key AS (
        workflow_id uuid,
        scope text,
        key text,
        token uuid
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
