"""The table `idempotency_keys`: its columns and indexes, and the rows that checkpoints write."""

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, Table, TypedColumns, text

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import RowType, metadata


class IdempotencyColumns(TypedColumns):
    """The idempotency keys, each with its request, and with the response or the workflow that came of it."""

    scope = column.text()
    key = column.text()
    token = column.uuid()
    owner = column.uuid()
    fingerprint: Column[bytes] = Column(LargeBinary(), nullable=False)
    created_at = column.time(nullable=False)
    applied_at = column.time()
    workflow_id = column.uuid(nullable=True)
    status = column.integer(nullable=True)
    headers = column.json(nullable=True)
    body: Column[bytes] = Column(LargeBinary(), nullable=True)


idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    IdempotencyColumns,
    PrimaryKeyConstraint("scope", "key"),
    Index("idempotency_keys_by_created_at", "created_at"),
    Index("idempotency_keys_by_workflow_id", "workflow_id", postgresql_where=text("workflow_id IS NOT NULL")),
)

_HELD: Final = idempotency_keys.c["workflow_id", "scope", "key", "token"]
KEY: Final = RowType("checkpoint_key", _HELD, "workflow_id, claim")
