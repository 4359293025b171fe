"""Until when the URL of an upload may write its file, so that the row stays until then."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE uploads ADD COLUMN presigned_until timestamptz")
