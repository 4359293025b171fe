"""The id of the database, and the oldest revision whose code may still work on its tables.

The artifact store holds a file with the same id. A migration that breaks the code of earlier revisions raises
`oldest_revision`. Processes of earlier revisions that already run aren't stopped; they may not start again.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE installation (
        id uuid CONSTRAINT installation_pkey PRIMARY KEY,
        oldest_revision text NOT NULL
    )
    """,
    "INSERT INTO installation (id, oldest_revision) VALUES (gen_random_uuid(), '0019')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
