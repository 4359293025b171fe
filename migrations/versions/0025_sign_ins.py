"""Sign-ins to the web page: the codes that were used, and the time at which all sessions were ended.

A process of an earlier version knows no sessions.
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE installation ADD COLUMN sessions_ended_at timestamptz",
    """
    CREATE TABLE used_sign_in_codes (
        id uuid NOT NULL,
        expires_at timestamptz NOT NULL,
        CONSTRAINT used_sign_in_codes_pkey PRIMARY KEY (id)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
