"""Decodes rows into structs of the domain: records of asyncpg and mappings of SQLAlchemy alike."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias, cast

from msgspec import ValidationError, json, structs

from stepwell.contract.definition import ForEach, Repeat, WorkflowStepDefinition
from stepwell.contract.enums import (
    CancelReceipt,
    EventType,
    ProviderType,
    RunIf,
    SkipReason,
    StepStatus,
    TaskPhase,
    TaskStatus,
    TaskType,
    WorkflowStatus,
)
from stepwell.contract.tasks import Cost, CostSums, Output
from stepwell.contract.workflows import ItemCounts
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.model import HistoryEvent, ItemPlace, Sent, StepState, Task, WorkflowState
from stepwell.lifecycle.records import StepAttempts, StepRecord, Summary, WorkflowRecord
from stepwell.lifecycle.steps import ResolvedStep, flow_plan
from stepwell.persistence.rows.engine_statements import STEP_COLUMNS, TASK_COLUMNS, WORKFLOW_COLUMNS
from stepwell.persistence.rows.flow_rows import read_flow
from stepwell.rules.list_records import ITEM_ATTEMPTS
from stepwell.rules.prices import CurrencySum, cost_sums

Row: TypeAlias = Any  # asyncpg's Record or SQLAlchemy's RowMapping: both are read by column name

read_object = json.Decoder(dict[str, Any]).decode
_read_known_definition = json.Decoder(WorkflowStepDefinition).decode
_read_for_each = json.Decoder(ForEach).decode
_read_repeat = json.Decoder(Repeat).decode
_read_outputs = json.Decoder(tuple[Output, ...]).decode
_read_sent = json.Decoder(Sent).decode
_read_urls = json.Decoder(dict[str, str]).decode
_read_cost = json.Decoder(Cost).decode
_read_counts = json.Decoder(ItemCounts).decode
_read_sums = json.Decoder(list[CurrencySum]).decode


def workflow_state(row: Row) -> WorkflowState:
    values = {name: row[name] for name in WORKFLOW_COLUMNS}
    values["status"] = WorkflowStatus(values["status"])
    return WorkflowState(id=row["id"], **values)


def workflow_record(row: Row, final_result: bytes | None) -> WorkflowRecord:
    """Decode a row of `workflow_queries.summarised`. *final_result* is its `final_step_result` as bytes."""
    state = workflow_state(row)
    return WorkflowRecord(
        state=state,
        tenant=row["tenant"],
        origin_instance=row["origin_instance"],
        origin_zone=row["origin_zone"],
        origin_reference=row["origin_reference"],
        config=read_object(row["config"]),
        suppress_subtask_events=row["suppress_subtask_events"],
        total_steps=row["total_steps"],
        created_at=row["created_at"],
        summary=_summary(state, row, final_result),
        labels=read_labels(row["labels"]),
        parent=parent_link(row),
    )


def parent_link(row: Row) -> ParentLink | None:
    """Decode the columns about the place of a sub-workflow; None if it has no parent."""
    if row["parent_id"] is None:  # hot path
        return None
    return ParentLink(row["parent_id"], row["parent_step"], row["parent_item"], row["root_id"], row["depth"])


def read_labels(labels: Sequence[str] | None) -> dict[str, str]:
    """Decode the rows of a workflow's labels."""
    return dict(sorted(label.split(":", 1) for label in labels or ()))


def _summary(state: WorkflowState, row: Row, final_result: bytes | None) -> Summary:
    own = () if state.failure is None else (state.failure,)
    errors = (*own, *(row["step_errors"] or ()))
    fatal = (*own, row["fatal_error"]) if row["has_flow"] else errors[:1]
    return Summary(
        current_step=row["current_step"],
        final_step_id=row["final_step_id"],
        final_step_result=final_result,
        errors=errors,
        error_message=next(iter(fatal), None),
        done_without_result=row["done_without_result"] or 0,
        items_done=row["items_done"] or 0.0,
        cost=_cost_sums(row["costs"]),
    )


def _cost_sums(text: str | None) -> CostSums | None:
    """Decode the costs that `step_attempt_queries` sums up, as JSON."""
    return None if text is None else cost_sums(_read_sums(text))


def task_type(text: str) -> TaskType:
    """Return the type of a task. One that only a newer version knows stays a text: this version shows it at most."""
    return TaskType(text) if text in TaskType.__members__ else cast(TaskType, text)


def event_type(text: str) -> EventType:
    """Return the type of an event. One that only a newer version knows stays a text, as above."""
    return _EVENT_TYPES.get(text) or cast(EventType, text)


_EVENT_TYPES = {kind.value: kind for kind in EventType}


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

    *shown*: an answer shows the step, and nothing runs it. So it may have what only a newer version knows.
    """
    definition = _read_definition(row["definition"], shown=shown)
    if row["condition"] is not None:
        definition = structs.replace(definition, when=row["condition"])
    if row["repeat"] is not None:
        definition = structs.replace(definition, repeat=_read_repeat(row["repeat"]))
    if row["for_each"] is not None:
        definition = structs.replace(definition, for_each=_read_for_each(row["for_each"]))
    plan = ResolvedStep(
        position=row["position"],
        step_id=row["step_id"],
        task_type=task_type(row["task_type"]) if shown else TaskType(row["task_type"]),
        depends_on=tuple(row["depends_on"]),
        max_retries=row["max_retries"],
        timeout_s=row["timeout_s"],
        provider=_provider(row["provider"]),
        fallback=_provider(row["fallback"]),
        run_if=run_if(row),
        optional=row["optional"],
        flow=flow_plan(definition),
    )
    values = {name: row[name] for name in STEP_COLUMNS if name != "result"}
    values["status"] = status = StepStatus(values["status"])
    if (reason := values["skip_reason"]) is not None:
        values["skip_reason"] = SkipReason(reason)
    if (flow := values["flow"]) is not None:
        values["flow"] = read_flow(flow)
    of_step = result if status is StepStatus.COMPLETED else None  # a step that repeats has its best result so far
    state = StepState(position=row["position"], result=of_step, **values)
    return StepRecord(row["id"], plan, definition, state, created_at)


def run_if(row: Row) -> RunIf:
    """Return the `run_if` of a step's row."""
    stored = row["run_if"]
    return RunIf.ALL_COMPLETED if stored is None else RunIf(stored)


def step_attempts(row: Row) -> StepAttempts:
    """Decode the columns of `step_attempt_queries.attempt_columns`."""
    return StepAttempts(row["latest_provider"], row["latest_model"], _cost_sums(row["step_costs"]))


def item_counts(row: Row) -> ItemCounts | None:
    """Decode the column of `workflow_queries.item_counts_column`."""
    return None if row["item_counts"] is None else _read_counts(row["item_counts"])


def task(row: Row) -> Task:
    values = {name: row[name] for name in TASK_COLUMNS if name != "workflow_id"}
    values["provider"] = _provider(values["provider"])
    values["status"] = TaskStatus(values["status"])
    values["phase"] = TaskPhase(values["phase"])
    values["outputs"] = _read_outputs(values["outputs"])
    values["cancel_receipt"] = None if values["cancel_receipt"] is None else CancelReceipt(values["cancel_receipt"])
    values["sent"] = None if values["sent"] is None else _read_sent(values["sent"])
    values["urls"] = None if values["urls"] is None else _read_urls(values["urls"])
    values["cost"] = None if values["cost"] is None else _read_cost(values["cost"])
    if (item := values.pop("item")) is not None:
        values["place"] = ItemPlace(values["position"], item)
        values["attempt"] -= item * ITEM_ATTEMPTS
    return Task(**values)


def history_event(row: Row, *, shown: bool = False) -> HistoryEvent:
    """Decode an event's row. *shown*: an answer shows it, so its type may be one that only a newer version knows."""
    return HistoryEvent(
        row["id"],
        event_type(row["type"]) if shown else EventType(row["type"]),
        row["at"],
        row["step_id"],
        row["task_id"],
        row["actor"],
        read_object(row["data"]),
    )


def _provider(value: str | None) -> ProviderType | None:
    return None if value is None else ProviderType(value)
