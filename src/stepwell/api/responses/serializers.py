"""Builds the structs of the API's responses from stored records.

Each field is named here, so that no stored value gets into a response by accident. Results are stored as JSON, and sent
unchanged.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from msgspec import UNSET, Raw, Struct, UnsetType, json

from stepwell.contract.definition import merged_dependencies
from stepwell.contract.enums import StepStatus, WaitKind, WorkflowStatus
from stepwell.contract.events import EventPublic
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.tasks import Money, TaskPublic
from stepwell.contract.workflows import (
    ItemCounts,
    ItemPublic,
    ParentWorkflow,
    ReusedFrom,
    WaitingFor,
    WorkflowListResponse,
    WorkflowPublic,
    WorkflowStepPublic,
)
from stepwell.lifecycle.model import HistoryEvent, StepState, WorkflowState
from stepwell.lifecycle.records import ItemRecord, StepAttempts, StepRecord, Summary, TaskRecord, WorkflowRecord
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.rules.large_workflow_records import StepSnapshot, StoredStep
from stepwell.rules.list_records import WorkflowPage

A = TypeVar("A")
B = TypeVar("B")

_SLICE = 250


class _OwnMembers(NamedTuple):
    """The members of a step that are columns."""

    condition: str | None
    for_each: Any  # a ForEach, or its JSON
    repeat: Any  # a Repeat, or its JSON
    items: ItemCounts | None


def step_to_public(record: StepRecord, *, results: bool = True) -> WorkflowStepPublic:
    """Return the step. Without *results*, it has no member `result`."""
    state = record.state
    result = _raw(state.result) if results else UNSET
    definition, resolved = record.definition, record.resolved
    own = _OwnMembers(definition.condition, _or_none(definition.for_each), _or_none(definition.repeat), record.items)
    return _step(record, definition, state, record.attempts, result, resolved, own, record.created_at)


class _Definition(Struct, frozen=True):
    """The members of a stored step's definition that responses show, as JSON."""

    id: str
    task_type: str
    config: Raw
    depends_on: Raw
    input_mappings: Raw
    provider_config: Raw
    active_provider_capabilities: Raw
    fallback_provider_type: Raw
    fallback_provider_config: Raw
    fallback_provider_capabilities: Raw

    @property
    def dependencies(self) -> list[str]:
        """The declared dependencies, then those that mappings imply."""
        sources = (mapping.from_step for mapping in _read_sources(self.input_mappings))
        return merged_dependencies(_read_names(self.depends_on), sources)


class _Source(Struct, frozen=True, gc=False):
    from_step: str


_read_sources = json.Decoder(list[_Source]).decode
_read_names = json.Decoder(list[str]).decode


class _SignalConfig(Struct, frozen=True):
    """The member of a SIGNAL's config that responses show."""

    name: str | None = None


_read_definition = json.Decoder(_Definition).decode
_read_signal = json.Decoder(_SignalConfig).decode


def stored_step_to_public(
    step: StoredStep, state: StepSnapshot, created_at: datetime, *, results: bool
) -> WorkflowStepPublic:
    """Return a step of a large workflow, as `step_to_public` does. Its definition isn't decoded, as it may be large."""
    result = _raw(step.result if state.status is StepStatus.COMPLETED else None) if results else UNSET
    definition = _read_definition(step.definition)
    own = _OwnMembers(step.condition, _raw(step.for_each), _raw(step.repeat), state.items)
    return _step(step, definition, state, state.attempts, result, step, own, created_at)


def _step(
    step: StepRecord | StoredStep,
    definition: Any,  # a WorkflowStepDefinition or a _Definition: msgspec encodes its members unchanged
    state: StepState | StepSnapshot,
    attempts: StepAttempts,
    result: Raw | UnsetType | None,
    resolved: ResolvedStep | StoredStep,
    own: _OwnMembers,
    created_at: datetime,
) -> WorkflowStepPublic:
    return WorkflowStepPublic(
        id=step.id,
        step_id=definition.id,
        task_type=definition.task_type,
        config=definition.config,
        provider_config=definition.provider_config,
        active_provider_capabilities=definition.active_provider_capabilities,
        fallback_provider_type=definition.fallback_provider_type,
        fallback_provider_config=definition.fallback_provider_config,
        fallback_provider_capabilities=definition.fallback_provider_capabilities,
        dependencies=definition.dependencies,
        input_mappings=definition.input_mappings,
        when=own.condition,
        for_each=own.for_each,
        items=own.items,
        repeat=own.repeat,
        runs=None if own.repeat is None else 0 if state.flow is None else state.flow.run,
        run_if=resolved.run_if,
        optional=resolved.optional,
        status=state.status,
        skip_reason=state.skip_reason,
        waiting_for=waiting_for(state, definition),
        task_id=None if state.task_id is None else str(state.task_id),
        provider=attempts.provider,
        model=attempts.model or None,
        cost=attempts.cost,
        reused_from=_reused_from(state),
        saved=_saved(state),
        result=result,
        given_by=None if state.flow is None else state.flow.given_by,
        error_message=state.error_message,
        next_attempt_at=state.next_attempt_at,
        started_at=state.started_at,
        completed_at=state.completed_at,
        retry_count=state.retry_count if own.items is None else own.items.retries,
        max_retries=resolved.max_retries,
        created_at=created_at,
        updated_at=state.updated_at or created_at,
    )


def waiting_for(state: StepState | StepSnapshot, definition: Any) -> WaitingFor | None:
    """Return what a step in this *state* waits for. It has no `decision_url`: see `DecisionLinks.url_of_step`.

    *definition* is a `WorkflowStepDefinition` or a `_Definition`.
    """
    if (flow := state.flow) is None or state.status is not StepStatus.RUNNING:
        return None
    if (wait := flow.wait) is None:
        return _running_child(state)
    choices = list(wait.choices) if wait.kind is WaitKind.DECISION else None
    name = _signal_name(definition) if wait.kind is WaitKind.SIGNAL else None
    return WaitingFor(
        kind=wait.kind, since=wait.since, until=wait.until, name=name, message=wait.message, choices=choices
    )


def _running_child(state: StepState | StepSnapshot) -> WaitingFor | None:
    """Return the wait of a step or an item for its sub-workflow."""
    if (flow := state.flow) is None or flow.child_since is None or state.status is not StepStatus.RUNNING:
        return None
    return WaitingFor(kind=WaitKind.WORKFLOW, since=flow.child_since, workflow_id=flow.child)


def _reused_from(state: StepState | StepSnapshot) -> ReusedFrom | None:
    if (flow := state.flow) is None or (reused := flow.reused) is None:
        return None
    return ReusedFrom(reused.workflow_id, reused.task_id)


def _saved(state: StepState | StepSnapshot) -> Money | None:
    return None if state.flow is None or state.flow.reused is None else state.flow.reused.saved


def _signal_name(definition: Any) -> str:
    """Return the name of the signal that the step of the type SIGNAL waits for."""
    config = definition.config
    name = _read_signal(config).name if isinstance(config, Raw) else config.get("name")
    return definition.id if name is None else str(name)


def item_to_public(record: ItemRecord, *, repeats: bool) -> ItemPublic:
    """Return the item. *repeats*: its step has `repeat`."""
    state, attempts = record.state, record.attempts
    return ItemPublic(
        item=state.item_key.item,
        value=Raw(state.value),
        status=state.status,
        waiting_for=_running_child(state),
        task_id=None if state.task_id is None else str(state.task_id),
        provider=attempts.provider,
        model=attempts.model or None,
        cost=attempts.cost,
        reused_from=_reused_from(state),
        saved=_saved(state),
        result=_raw(state.result),
        given_by=None if state.flow is None else state.flow.given_by,
        error_message=state.error_message,
        next_attempt_at=state.next_attempt_at,
        started_at=state.started_at,
        completed_at=state.completed_at,
        retry_count=state.retry_count,
        runs=None if not repeats else 0 if state.flow is None else state.flow.run,
    )


async def workflow_to_public(record: WorkflowRecord, warnings: Sequence[DefinitionWarning] = ()) -> WorkflowPublic:
    """Return the workflow. *warnings* are those of its definition, in the response of create."""
    state, summary, link = record.state, record.summary, record.parent
    convert = partial(step_to_public, results=record.results)
    steps = UNSET if record.steps is None else await encode_in_slices(record.steps, convert)
    return WorkflowPublic(
        id=state.id,
        name=state.name,
        description=state.description,
        status=state.status,
        total_steps=record.total_steps,
        completed_steps=state.completed_steps,
        progress=progress(state, summary, record.total_steps),
        current_step=summary.current_step,
        waits_for=summary.waits_for,
        pause_reason="budget" if state.pauses_for_budget else None,
        definition=record.definition,
        final_step_id=summary.final_step_id,
        final_step_result=_raw(summary.final_step_result) if record.results else UNSET,
        canvas_task_id=None if state.execution_id is None else str(state.execution_id),
        config=record.config,
        suppress_subtask_events=record.suppress_subtask_events,
        origin_instance=record.origin_instance,
        origin_zone=record.origin_zone,
        origin_tenant_id=record.tenant,
        origin_reference=record.origin_reference,
        derived_from=None if record.reuse is None else record.reuse.from_,
        parent=None if link is None else ParentWorkflow(link.workflow_id, link.step_id, link.item),
        webhook_url=state.webhook_url,
        labels=record.labels,
        error_message=summary.error_message,
        errors=list(summary.errors),
        cost=summary.cost,
        started_at=state.started_at,
        completed_at=state.completed_at,
        created_by=record.created_by,
        created_at=record.created_at,
        updated_at=state.updated_at or record.created_at,
        is_deleted=state.deleted_at is not None,
        deleted_at=state.deleted_at,
        warnings=list(warnings) or UNSET,
        steps=steps,
    )


async def page_to_public(page: WorkflowPage, skip: int, limit: int) -> WorkflowListResponse:
    workflows = [await workflow_to_public(record) for record in page.workflows or ()]
    return WorkflowListResponse(workflows, page.total, skip, limit)


def task_to_public(record: TaskRecord) -> TaskPublic:
    task = record.task
    return TaskPublic(
        id=task.id,
        workflow_id=record.workflow_id,
        step_id=record.step_id,
        item=None if task.item_key is None else task.item_key.item,
        task_type=record.task_type,
        attempt=task.attempt,
        provider=task.provider,
        status=task.status,
        phase=task.phase,
        seed=task.seed,
        remote_id=task.remote_id,
        outcome_unknown=task.outcome_unknown,
        cancel_receipt=task.cancel_receipt,
        model=None if task.sent is None else task.sent.model or None,
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


def progress(state: WorkflowState, summary: Summary, total: int) -> float:
    """Return the percentage of the steps that are done, with two decimals. All of a COMPLETED workflow are."""
    if state.status is WorkflowStatus.COMPLETED:
        return 100.0
    done = state.completed_steps + summary.done_without_result + summary.items_done
    return round(100 * done / total, 2)


async def encode_in_slices(steps: Sequence[A], convert: Callable[[A], B]) -> list[B]:
    """Return the JSON of the converted *steps*, instead of the list: msgspec inserts it into the response unchanged.

    There may be a million steps, so they are converted and encoded in slices, between which the event loop runs others.
    """
    slices: list[bytes] = []
    for begin in range(0, len(steps), _SLICE):
        if begin:
            await asyncio.sleep(0)
        slices.append(json.encode([convert(step) for step in steps[begin : begin + _SLICE]])[1:-1])
    return cast("list[B]", Raw(b"[" + b",".join(slices) + b"]"))


def _or_none(member: A | UnsetType) -> A | None:
    return None if member is UNSET else member


def _raw(stored: bytes | None) -> Raw | None:
    return None if stored is None else Raw(stored)
