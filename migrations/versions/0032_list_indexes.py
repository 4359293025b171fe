"""Indexes of lists with `parent_id`, so that lists leave out sub-workflows without reading their rows.

The new indexes have other names. `build_missing_indexes` builds them. Until then, lists read the whole table.
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

OLD = (
    "workflows_by_created",
    "workflows_by_status",
    "workflows_by_tenant",
    "workflows_without_tenant",
    "workflows_by_instance",
    "workflows_by_name",
    "workflows_by_reference",
    "workflows_by_zone",
)


def upgrade() -> None:
    for name in OLD:
        op.execute(f"DROP INDEX IF EXISTS {name}")
