"""The tables `steps` and `step_items`: their columns, and the structs that the rows become."""

from datetime import datetime
from typing import Any, Final, cast

from msgspec import UNSET, ValidationError, json, structs
from sqlalchemy import Column, DateTime, PrimaryKeyConstraint, Table, TypedColumns

from stepwell.contract.definition import ForEach, Repeat, WorkflowStepDefinition
from stepwell.contract.enums import ProviderType, RunIf, SkipReason, StepStatus, TaskType
from stepwell.contract.workflows import ItemCounts
from stepwell.lifecycle.model import FlowState, ItemKey, ItemState, StepState
from stepwell.lifecycle.records import StepAttempts, StepRecord
from stepwell.lifecycle.steps import ResolvedStep, flow_control
from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import (
    Columns,
    Decoder,
    Row,
    RowType,
    decoder,
    encode_json,
    fields_of,
    metadata,
    part_of,
    without,
)
from stepwell.persistence.tables.workflows import read_cost_sums

_read_known_definition: Final = json.Decoder(WorkflowStepDefinition).decode
_read_repeat: Final = json.Decoder(Repeat).decode
_read_for_each: Final = json.Decoder(ForEach).decode
read_flow: Final = json.Decoder(FlowState).decode
_read_counts: Final = json.Decoder(ItemCounts).decode


class _StateColumns(TypedColumns):
    """The state of a step, and of an item."""

    status = column.text(decode=StepStatus)
    task_id = column.uuid(nullable=True)
    attempt = column.count()
    provider_attempts = column.count()
    retry_count = column.count()
    on_fallback = column.flag()
    next_attempt_at = column.time()
    result = column.json(nullable=True)
    error_message = column.text(nullable=True)
    started_at = column.time()
    completed_at = column.time()
    updated_at = column.time(nullable=False)
    skip_reason = column.text(nullable=True, decode=SkipReason)
    flow = column.json(nullable=True, encode=encode_json, decode=read_flow)


def task_type(text: str) -> TaskType:
    """Return the type of a task. One that only a newer version knows stays a text: this version shows it at most."""
    return TaskType(text) if text in TaskType.__members__ else cast(TaskType, text)


class _NewStepColumns(TypedColumns):
    """The columns of a step that never change after create. Those of `members` are members of its definition."""

    workflow_id = column.uuid()
    position = column.integer()
    id = column.uuid(of="step")
    step_id = column.text()
    task_type = column.text(decode=task_type)
    definition = column.json(of="step")
    depends_on = column.positions(decode=tuple)
    max_retries = column.integer()
    timeout_s = column.seconds()
    provider = column.text(nullable=True, decode=ProviderType)
    fallback = column.text(nullable=True, decode=ProviderType)
    run_if = column.text(nullable=True, decode=RunIf, null=RunIf.ALL_COMPLETED)
    optional = column.flag()
    condition = column.text(nullable=True, of="members", field="when", null=UNSET)
    repeat = column.json(nullable=True, of="members", encode=encode_json, decode=_read_repeat, null=UNSET)
    for_each = column.json(nullable=True, of="members", encode=encode_json, decode=_read_for_each, null=UNSET)


class StepColumns(_StateColumns, _NewStepColumns):
    """The steps, each with its definition, state and result."""


class _NewItemColumns(TypedColumns):
    """The columns of an item that never change. `value` is never null."""

    workflow_id = column.uuid()
    position = column.integer()
    item = column.integer()
    value = column.json(nullable=True)


class ItemColumns(_StateColumns, _NewItemColumns):
    """The items of steps with `for_each`, each with its value, state and result."""


steps = Table(
    "steps",
    metadata,
    StepColumns,
    PrimaryKeyConstraint("workflow_id", "position"),
    postgresql_with={"fillfactor": "70"},
)
step_items = Table(
    "step_items",
    metadata,
    ItemColumns,
    PrimaryKeyConstraint("workflow_id", "position", "item"),
    postgresql_with={"fillfactor": "70"},
)

_CREATED_AT: Final = Column("created_at", DateTime(timezone=True), info={"of": "step"})
NEW: Final = without(part_of(steps, _NewStepColumns), "workflow_id")
STATE: Final = part_of(steps, _StateColumns)
PLAIN_STATE: Final = without(STATE, "flow")
_KEY: Final[Columns] = (steps.c.workflow_id, steps.c.position)
# The rows of `INSERT` in `statements.engine_statements`, of `CHECKPOINT`, and of `CHECKPOINT_AND_FLOW`.
NEW_STEP: Final = RowType(
    "insert_step", (steps.c.workflow_id, _CREATED_AT, *NEW), "workflow_id, definition, members, step, resolved"
)
PLAIN_STEP: Final = RowType("checkpoint_step", _KEY + PLAIN_STATE, "workflow_id, step")
STEP: Final = RowType("checkpoint_flow_step", _KEY + STATE, "workflow_id, step")
ITEM: Final = RowType("checkpoint_item", step_items.c, "workflow_id, position, item, value, state")

_READ: Final = without(STATE, "result")
_decode_resolved: Final[Decoder[dict[str, Any]]] = decoder(fields_of(NEW), dict)
_decode_members: Final[Decoder[dict[str, Any]]] = decoder(fields_of(NEW, "members"), dict)
_decode_state: Final = decoder((steps.c.position, *_READ), StepState)
_decode_item_state: Final[Decoder[dict[str, Any]]] = decoder(_READ, dict)


def stored_definition(step: StepRecord) -> WorkflowStepDefinition:
    """Return the definition without the members that have columns of their own."""
    definition = step.definition
    if definition.run_if is UNSET and definition.optional is UNSET and step.resolved.flow is None:  # hot path
        return definition
    return structs.replace(definition, run_if=UNSET, optional=UNSET, when=UNSET, repeat=UNSET, for_each=UNSET)


class _NewerDefinition(WorkflowStepDefinition, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A step's definition that only a newer version knows."""

    task_type: str  # type: ignore[assignment]


_read_newer_definition = json.Decoder(_NewerDefinition).decode


def _read_definition(text: str, *, shown: bool) -> WorkflowStepDefinition:
    try:
        return _read_known_definition(text)
    except ValidationError:
        if not shown:
            raise
        return _read_newer_definition(text)


def step_record(row: Row, created_at: datetime, result: bytes | None = None, *, shown: bool = False) -> StepRecord:
    """Decode a step's row. *created_at* is that of its workflow. *result* may be left out, because it may be large.

    *shown*: a response shows the step, and nothing runs it. So it may have what only a newer version knows.
    """
    definition = _read_definition(row["definition"], shown=shown)
    if row["condition"] is not None or row["repeat"] is not None or row["for_each"] is not None:
        definition = structs.replace(definition, **_decode_members(row))
    resolved = ResolvedStep(**_decode_resolved(row), flow=flow_control(definition))
    if not shown:
        TaskType(resolved.task_type)  # raises ValueError
    state = _decode_state(row)
    if state.status is StepStatus.COMPLETED:  # a step that repeats has its best result so far
        state.result = result
    return StepRecord(row["id"], resolved, definition, state, created_at)


def shown_step(row: Row, created_at: datetime, result: bytes | None) -> StepRecord:
    """Decode a step's row for a response, with its attempts and `workflow_queries.item_counts_column`."""
    record = step_record(row, created_at, result, shown=True)
    record.attempts = step_attempts(row)
    record.items = None if row["item_counts"] is None else _read_counts(row["item_counts"])
    return record


def step_attempts(row: Row) -> StepAttempts:
    """Decode the columns of `step_attempt_queries.attempt_columns`."""
    return StepAttempts(row["latest_provider"], row["latest_model"], read_cost_sums(row["step_costs"]))


def read_item(row: Row) -> ItemState:
    """Decode a row of `flow_statements.LOAD_ITEMS`."""
    key = ItemKey(row["position"], row["item"])
    return ItemState(row["position"], item_key=key, value=row["value"].encode(), **_decode_item_state(row))
