"""The tables `waits` and `signals`: their columns, and the structs that the rows become.

What must hold:
- `waits` has exactly one row for each step that waits for a decision, a signal or a time. The statement that writes the
  step as waiting writes this row, and the statement that ends the wait deletes it. So does the end of the workflow.
- A step with items has no row: items don't wait. Steps of its sub-workflows have rows of their own.
- `root_id` is the workflow at the top. It never changes, so one index finds all waits of a root and its sub-workflows.
"""

from datetime import datetime
from typing import Final

from msgspec import Raw, Struct, json
from sqlalchemy import Index, PrimaryKeyConstraint, Table, TypedColumns, text

from stepwell.contract.enums import WaitKind, WaitsFor
from stepwell.lifecycle.model import StoredSignal, Wait
from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import RowType, decoder, encode_json, metadata, without


class WaitColumns(TypedColumns):
    """The steps that wait. `message`, `choices` and `shown`, the inputs that people see, are those of a decision."""

    workflow_id = column.uuid()
    root_id = column.uuid()
    position = column.integer()
    id = column.uuid()
    kind = column.text(decode=WaitKind)
    tenant = column.text(nullable=True)
    since = column.time(nullable=False)
    until = column.time()
    message = column.text(nullable=True, of="view")
    choices = column.json(encode=encode_json, decode=json.Decoder(tuple[str, ...]).decode)
    shown = column.json(of="view", field="inputs")
    step_id = column.text()


class SignalColumns(TypedColumns):
    """The signals that have arrived and that no step has taken yet."""

    workflow_id = column.uuid()
    name = column.text()
    data = column.json()
    sender = column.text(field="by")
    at = column.time(nullable=False)


_KINDS: Final = ", ".join(f"'{kind}'" for kind in WaitsFor)
WAIT_ORDER: Final = f"array_position(ARRAY[{_KINDS}], kind)"
"""The order of waits by their kind, as in `WaitsFor`."""

waits = Table(
    "waits",
    metadata,
    WaitColumns,
    PrimaryKeyConstraint("workflow_id", "position"),
    Index(
        "waits_for_decisions",
        *(text("coalesce(tenant, '')"), "since", "workflow_id", "position"),
        postgresql_where=text("kind = 'decision'"),
    ),
    Index(
        "waits_for_decisions_by_step",
        *(text("coalesce(tenant, '')"), "step_id", "since", "workflow_id", "position"),
        postgresql_where=text("kind = 'decision'"),
    ),
    Index("waits_by_root", "root_id", text(WAIT_ORDER), "kind"),
)
signals = Table("signals", metadata, SignalColumns, PrimaryKeyConstraint("workflow_id", "name"))

_OF_CHECKPOINT: Final = without(waits.c, "tenant", "root_id", "step_id")
WAIT: Final = RowType("checkpoint_wait", _OF_CHECKPOINT, "workflow_id, position, view, wait")
read_wait: Final = decoder(waits.c["id", "kind", "since", "until", "choices", "message"], Wait)
SIGNAL: Final = RowType("checkpoint_signal", signals.c, "workflow_id, name, signal")


class _Signal(Struct):
    data: Raw
    sender: str
    at: datetime


_read_signals: Final = json.Decoder(dict[str, _Signal]).decode


def read_signals(text: str | None) -> dict[str, StoredSignal]:
    """Decode the column `signals` of `engine_statements.LOAD_WORKFLOWS`."""
    if text is None:
        return {}
    return {name: StoredSignal(bytes(each.data), each.sender, each.at) for name, each in _read_signals(text).items()}
