"""The table `deliveries`: its columns and index, and the rows that checkpoints write."""

from typing import Final

from sqlalchemy import Index, PrimaryKeyConstraint, Table, TypedColumns, text

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import RowType, metadata


class DeliveryColumns(TypedColumns):
    """Webhook deliveries: one for each event that fires a webhook."""

    workflow_id = column.uuid()
    event_id = column.integer()
    type = column.text()
    lane = column.text()
    status = column.text()
    owner = column.uuid(nullable=True)
    created_at = column.time(nullable=False, field="at")
    next_at = column.time()
    tries = column.count()
    attempts = column.json()
    body = column.text(nullable=True)


deliveries = Table(
    "deliveries",
    metadata,
    DeliveryColumns,
    PrimaryKeyConstraint("workflow_id", "event_id"),
    Index("deliveries_due", "owner", "lane", "next_at", postgresql_where=text("next_at IS NOT NULL")),
    postgresql_with={"fillfactor": "80"},
)
_NEW: Final = deliveries.c["workflow_id", "event_id", "type", "lane", "created_at"]
DELIVERY: Final = RowType("checkpoint_delivery", _NEW, "workflow_id, delivery")
