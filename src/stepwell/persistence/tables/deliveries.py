"""The table `deliveries`: its columns and index, and the structs that the rows become."""

from typing import Any, Final

from msgspec import json
from sqlalchemy import Index, PrimaryKeyConstraint, Table, TypedColumns, text

from stepwell.contract.enums import DeliveryStatus
from stepwell.contract.events import DeliveryAttemptPublic, DeliveryPublic
from stepwell.lifecycle.webhook_deliveries import delivery_id
from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import Decoder, Row, RowType, decoder, metadata, without
from stepwell.persistence.tables.events import event_type


class DeliveryColumns(TypedColumns):
    """Webhook deliveries: one for each event that fires a webhook."""

    workflow_id = column.uuid()
    event_id = column.integer()
    type = column.text(decode=event_type)
    lane = column.text()
    status = column.text(decode=DeliveryStatus)
    owner = column.uuid(nullable=True)
    created_at = column.time(nullable=False)
    next_at = column.time()
    tries = column.count()
    attempts = column.json(decode=json.Decoder(list[DeliveryAttemptPublic]).decode)
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
DELIVERY: Final = RowType("checkpoint_delivery", _NEW, "workflow_id, created_at, delivery")
# Without the body, which may be long and is meant for the receiver.
RECORD: Final = deliveries.c["workflow_id", "event_id", "type", "status", "next_at", "created_at", "attempts"]
_decode_record: Final[Decoder[dict[str, Any]]] = decoder(without(RECORD, "workflow_id"), dict)


def read_delivery(row: Row) -> DeliveryPublic:
    return DeliveryPublic(id=delivery_id(row["workflow_id"], row["event_id"]), **_decode_record(row))
