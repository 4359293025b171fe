"""The answers, field by field: the contract's components under the contract's names, and a few of ours.

Hand-picked from the records, so that nothing stored shows by accident. Results are JSON already and pass through
as they are.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json

from stepwell.domain.definition import FieldMapping, JsonObject
from stepwell.domain.model import (
    CancelReceipt,
    Cost,
    EventType,
    HistoryEvent,
    Output,
    StepStatus,
    TaskPhase,
    TaskStatus,
    WorkflowStatus,
)
from stepwell.domain.model_terms import WorkflowCost
from stepwell.domain.records import CleanupReport, StepRecord, TaskRecord, WorkflowPage, WorkflowRecord

A = TypeVar("A")
B = TypeVar("B")

_SLICE = 250
Time = Annotated[datetime, Meta(tz=True)]
RawObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Mapping = Annotated[FieldMapping, Meta(extra_json_schema={"type": "object"})]


class WorkflowStepPublic(Struct, kw_only=True):
    id: UUID
    step_id: str
    task_type: str
    config: JsonObject
    provider_config: JsonObject | None = None
    active_provider_capabilities: list[str] | None = None
    fallback_provider_type: str | None = None
    fallback_provider_config: JsonObject | None = None
    fallback_provider_capabilities: list[str] | None = None
    dependencies: list[str]
    input_mappings: list[Mapping]
    status: StepStatus
    task_id: Annotated[str, Meta(description="The latest task (attempt) of the step")] | None = None
    result: RawObject | None = None
    error_message: str | None = None
    next_attempt_at: Annotated[Time, Meta(description="When the next attempt starts, between two")] | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    retry_count: int
    max_retries: int
    created_at: Time
    updated_at: Time


class WorkflowPublic(Struct, kw_only=True):
    id: UUID
    name: str
    description: str | None = None
    status: WorkflowStatus
    total_steps: int
    completed_steps: int
    progress: Annotated[float, Meta(description="Percent of the steps that are COMPLETED, two decimals")]
    current_step: Annotated[str, Meta(description="The step RUNNING longest")] | None = None
    final_step_id: Annotated[str, Meta(description="The sink of the DAG")] | None = None
    final_step_result: RawObject | None = None
    canvas_task_id: Annotated[str, Meta(description="This execution; new at every start and resume")] | None = None
    config: JsonObject
    suppress_subtask_events: bool
    origin_instance: str
    origin_zone: str | None = None
    origin_tenant_id: str | None = None
    origin_reference: str | None = None
    webhook_url: str | None = None
    error_message: Annotated[str, Meta(description="The first of errors")] | None = None
    errors: Annotated[list[str], Meta(description='"<step_id>: <message>" per failed step')]
    cost: Annotated[WorkflowCost, Meta(description="Of its attempts at providers; null without any")] | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    created_at: Time
    updated_at: Time
    is_deleted: bool = False
    deleted_at: Time | None = None
    steps: Annotated[list[WorkflowStepPublic], Meta(description="In the order of the definition")] | UnsetType = UNSET


class WorkflowListResponse(Struct):
    workflows: list[WorkflowPublic]
    total: int
    skip: int
    limit: int


class WorkflowCleanupError(Struct):
    task_id: UUID
    step_id: str
    task_type: str
    error: str


class WorkflowCleanupDetail(Struct):
    tasks_processed: int
    tasks_cleaned: int
    deleted_paths: list[str]
    errors: list[WorkflowCleanupError]


class WorkflowCleanupResponse(Struct):
    workflow: WorkflowPublic
    cleanup: WorkflowCleanupDetail


class TaskPublic(Struct, kw_only=True):
    """One attempt at a step."""

    id: UUID
    workflow_id: UUID
    step_id: str
    task_type: str
    attempt: int
    provider: str | None
    status: TaskStatus
    phase: TaskPhase
    seed: int | None
    remote_id: str | None
    outcome_unknown: bool
    cancel_receipt: CancelReceipt | None
    model: Annotated[str, Meta(description="What was asked for at the provider; null before anything is sent")] | None
    sent_at: Time | None
    cost: Annotated[Cost, Meta(description="Null while, or where, it isn't known")] | None
    outputs: list[Output]
    error: str | None
    started_at: Time | None
    completed_at: Time | None
    created_at: Time
    is_deleted: bool
    deleted_at: Time | None


class TaskListResponse(Struct):
    tasks: list[TaskPublic]


class EventPublic(Struct):
    """One line of a workflow's history; `id` numbers them from 1."""

    id: int
    type: EventType
    at: Time
    step_id: str | None
    task_id: UUID | None
    actor: str
    data: dict[str, Any]


class EventListResponse(Struct):
    events: list[EventPublic]
    has_more: Annotated[bool, Meta(description="Whether there are later ones: after the last one's id")]


class Root(Struct):
    version: str
    name: str = "Stepwell"
    schema: str = "/schema"
    openapi: str = "/schema/openapi.json"
    ready: str = "/health/ready"


class Health(Struct):
    status: str = "ok"


class ValidationError(Struct):
    loc: list[str | int]
    msg: str
    type: str


class HTTPValidationError(Struct, kw_only=True):
    detail: list[ValidationError] | UnsetType = UNSET
    title: str | UnsetType = UNSET
    status: int | UnsetType = UNSET


class Problem(Struct, kw_only=True):
    """RFC 9457. The last two members are there where a state doesn't allow what was asked."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | UnsetType = UNSET
    current_status: WorkflowStatus | UnsetType = UNSET
    allowed_from: list[WorkflowStatus] | UnsetType = UNSET


def step_to_public(record: StepRecord) -> WorkflowStepPublic:
    asked, state = record.definition, record.state
    return WorkflowStepPublic(
        id=record.id,
        step_id=asked.id,
        task_type=asked.task_type,
        config=asked.config,
        provider_config=asked.provider_config,
        active_provider_capabilities=asked.active_provider_capabilities,
        fallback_provider_type=asked.fallback_provider_type,
        fallback_provider_config=asked.fallback_provider_config,
        fallback_provider_capabilities=asked.fallback_provider_capabilities,
        dependencies=asked.depends_on,
        input_mappings=asked.input_mappings,
        status=state.status,
        task_id=None if state.task_id is None else str(state.task_id),
        result=_raw(state.result),
        error_message=state.error_message,
        next_attempt_at=state.next_attempt_at,
        started_at=state.started_at,
        completed_at=state.completed_at,
        retry_count=state.retry_count,
        max_retries=record.plan.max_retries,
        created_at=record.created_at,
        updated_at=state.updated_at or record.created_at,
    )


async def workflow_to_public(record: WorkflowRecord) -> WorkflowPublic:
    state, summary = record.state, record.summary
    steps = UNSET if record.steps is None else await sliced(record.steps, step_to_public)
    return WorkflowPublic(
        id=state.id,
        name=state.name,
        description=state.description,
        status=state.status,
        total_steps=record.total_steps,
        completed_steps=state.completed_steps,
        progress=progress(state.completed_steps, record.total_steps),
        current_step=summary.current_step,
        final_step_id=summary.final_step_id,
        final_step_result=_raw(summary.final_step_result),
        canvas_task_id=None if state.execution_id is None else str(state.execution_id),
        config=record.config,
        suppress_subtask_events=record.suppress_subtask_events,
        origin_instance=record.origin_instance,
        origin_zone=record.origin_zone,
        origin_tenant_id=record.tenant,
        origin_reference=record.origin_reference,
        webhook_url=state.webhook_url,
        error_message=summary.errors[0] if summary.errors else None,
        errors=list(summary.errors),
        cost=summary.cost,
        started_at=state.started_at,
        completed_at=state.completed_at,
        created_at=record.created_at,
        updated_at=state.updated_at or record.created_at,
        is_deleted=state.deleted_at is not None,
        deleted_at=state.deleted_at,
        steps=steps,
    )


async def page_to_public(page: WorkflowPage, skip: int, limit: int) -> WorkflowListResponse:
    shown = []
    while page.workflows:  # let go of one by one, for to free a million steps at once stops everybody too
        shown.append(await workflow_to_public(page.workflows.pop(0)))
    return WorkflowListResponse(shown, page.total, skip, limit)


async def cleanup_to_public(record: WorkflowRecord, report: CleanupReport) -> WorkflowCleanupResponse:
    errors = [WorkflowCleanupError(f.task_id, f.step_id, f.task_type, f.error) for f in report.errors]
    detail = WorkflowCleanupDetail(report.tasks_processed, report.tasks_cleaned, report.deleted_paths, errors)
    return WorkflowCleanupResponse(await workflow_to_public(record), detail)


def task_to_public(record: TaskRecord) -> TaskPublic:
    task = record.task
    return TaskPublic(
        id=task.id,
        workflow_id=record.workflow_id,
        step_id=record.step_id,
        task_type=record.task_type,
        attempt=task.attempt,
        provider=task.provider,
        status=task.status,
        phase=task.phase,
        seed=task.seed,
        remote_id=task.remote_id,
        outcome_unknown=task.outcome_unknown,
        cancel_receipt=task.cancel_receipt,
        model=None if task.sent is None else task.sent.model,
        sent_at=None if task.sent is None else task.sent.at,
        cost=task.cost,
        outputs=list(task.outputs),
        error=task.error,
        started_at=task.started_at,
        completed_at=task.completed_at,
        created_at=record.created_at,
        is_deleted=record.deleted_at is not None,
        deleted_at=record.deleted_at,
    )


def event_to_public(event: HistoryEvent) -> EventPublic:
    return EventPublic(event.id, event.type, event.at, event.step_id, event.task_id, event.actor, event.data)


def progress(completed: int, total: int) -> float:
    """Percent, two decimals; 100.0 only when all are completed."""
    return round(100 * completed / total, 2)


async def sliced(steps: Sequence[A], show: Callable[[A], B]) -> list[B]:
    """The steps, as they are to be shown, as the JSON that a list of them is in the end, made in slices between which
    others get their turn: there may be a million in an answer.
    """
    slices: list[bytes] = []
    for begin in range(0, len(steps), _SLICE):
        if begin:
            await asyncio.sleep(0)
        slices.append(json.encode([show(step) for step in steps[begin : begin + _SLICE]])[1:-1])
    return cast("list[B]", Raw(b"[" + b",".join(slices) + b"]"))


def _raw(stored: bytes | None) -> Raw | None:
    return None if stored is None else Raw(stored)
