"""Processes that died while an attempt was under way, so that the workflow that kills its process is found.

`alone`: attempts of one workflow only were under way.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE unclean_ends (
            process uuid NOT NULL,
            at timestamptz NOT NULL,
            alone boolean NOT NULL,
            CONSTRAINT unclean_ends_pkey PRIMARY KEY (process)
        )
        """
    )
