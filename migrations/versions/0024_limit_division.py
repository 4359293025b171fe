"""The division of limits among the processes on one database. See `rules.limit_division`.

A process of an earlier version doesn't know these tables, and uses the whole limits while it runs beside others.
The first change of the division writes the only row of `limit_division`.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE limit_division (
        singleton boolean NOT NULL,
        version bigint NOT NULL,
        sole uuid,
        starts json NOT NULL,
        starts_from float8 NOT NULL,
        CONSTRAINT limit_division_pkey PRIMARY KEY (singleton)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE limit_members (
        owner uuid NOT NULL,
        claiming boolean NOT NULL,
        shares json NOT NULL,
        updated_at timestamptz NOT NULL,
        CONSTRAINT limit_members_pkey PRIMARY KEY (owner)
    ) WITH (fillfactor = 50)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
