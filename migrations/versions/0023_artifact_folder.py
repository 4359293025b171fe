"""Whether processes of `serve` have used an artifact folder. Then another folder is none that they share.

A bucket needs no such mark, because all processes reach it.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE installation ADD COLUMN has_folder boolean NOT NULL DEFAULT false")
