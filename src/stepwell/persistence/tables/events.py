"""The table `events`: its columns and indexes, and the structs that the rows become."""

from typing import Final, cast

from sqlalchemy import BigInteger, Column, Index, PrimaryKeyConstraint, Table, TypedColumns, text

from stepwell.contract.enums import EventType
from stepwell.lifecycle.model import HistoryEvent
from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import Row, RowType, decoder, encode_json, metadata, without
from stepwell.persistence.tables.workflows import read_object

_TYPES: Final = {kind.value: kind for kind in EventType}


def event_type(text: str) -> EventType:
    """Return the type of an event. One that only a newer version knows stays a text: this version shows it at most."""
    return _TYPES.get(text) or cast(EventType, text)


class EventColumns(TypedColumns):
    """The events of all workflows, numbered in each workflow."""

    workflow_id = column.uuid()
    id = column.integer()
    type = column.text(decode=event_type)
    at = column.time(nullable=False)
    step_id = column.text(nullable=True)
    task_id = column.uuid(nullable=True)
    actor = column.text()
    data = column.json(encode=lambda data: encode_json(data) if data else b"{}", decode=read_object)
    txid: Column[int] = Column(
        BigInteger(), nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")
    )


events = Table(
    "events",
    metadata,
    EventColumns,
    PrimaryKeyConstraint("workflow_id", "id"),
    Index("events_by_txid", "txid"),
    Index("events_without_txid", "workflow_id", "id", postgresql_where=text("txid = 0")),
)

EVENT: Final = RowType("checkpoint_event", without(events.c, "txid"), "workflow_id, event")
_decode: Final = decoder(without(EVENT.columns, "workflow_id"), HistoryEvent)


def history_event(row: Row, *, shown: bool = False) -> HistoryEvent:
    """Decode an event's row. *shown*: a response shows it, so its type may be one that only a newer version knows."""
    event = _decode(row)
    if not shown:
        EventType(event.type)  # raises ValueError
    return event
