"""The order in which events of all workflows committed, as far as it can be known: by the transaction that wrote them.

Those that are there already come before all others. A constant default first, so that no row is rewritten.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE events ADD COLUMN txid bigint NOT NULL DEFAULT 0",
    "ALTER TABLE events ALTER COLUMN txid SET DEFAULT (pg_current_xact_id()::text)::bigint",
    "CREATE INDEX events_by_txid ON events (txid)",
    "CREATE INDEX events_without_txid ON events (workflow_id, id) WHERE txid = 0",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
