"""Encodes structs of the domain as rows of the composite types in `journal_sql.TYPES`."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

from msgspec import Struct, json

from stepwell.domain.artifacts import named_tasks
from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.model import HistoryEvent, StepState, Task
from stepwell.domain.records import NewWorkflow, StepRecord
from stepwell.persistence.rows.journal_sql import WORKFLOW_COLUMNS

Rows = list[tuple[Any, ...]]


def checkpoint_rows(batch: Sequence[Decision]) -> tuple[Rows, Rows, Rows, Rows]:
    """The parameters of `journal_sql.CHECKPOINT`."""
    workflows: Rows = []
    steps: Rows = []
    tasks: Rows = []
    events: Rows = []
    for decision in batch:
        state = decision.workflow
        workflow_id = state.id
        fence = (workflow_id, decision.owner, decision.epoch, decision.last_event)
        workflows.append(fence + _workflow_values(state))
        steps += [(workflow_id, step.position, *_step_values(step)) for step in decision.steps.values()]
        tasks += [_task_values(workflow_id, task) for task in decision.tasks.values()]
        events += [_event(workflow_id, event) for event in decision.events]
    return workflows, steps, tasks, events


def more_rows(batch: Sequence[Decision]) -> tuple[Rows, Rows]:
    """The rows that only `journal_sql.CHECKPOINT_AND_MORE` writes: webhooks to send, and idempotency keys."""
    deliveries = [
        (decision.workflow.id, delivery.event_id, delivery.type, delivery.lane, delivery.at)
        for decision in batch
        for delivery in decision.deliveries
    ]
    keys = [
        (decision.workflow.id, reserved.scope, reserved.key, reserved.token)
        for decision in batch
        for reserved in decision.reservations
    ]
    return deliveries, keys


_workflow_values = attrgetter(*WORKFLOW_COLUMNS)


def _step_values(step: StepState) -> tuple[Any, ...]:
    return (
        step.status,
        step.task_id,
        step.attempt,
        step.provider_attempts,
        step.retry_count,
        step.on_fallback,
        step.next_attempt_at,
        None if step.result is None else step.result.decode(),
        step.error_message,
        step.started_at,
        step.completed_at,
        step.updated_at,
    )


def _task_values(workflow_id: UUID, task: Task) -> tuple[Any, ...]:
    return (
        task.id,
        workflow_id,
        task.position,
        task.attempt,
        task.provider,
        task.seed,
        task.started_at,
        task.status,
        task.phase,
        task.remote_id,
        task.outcome_unknown,
        task.cancel_receipt,
        json.encode(task.outputs).decode() if task.outputs else "[]",
        task.error,
        task.completed_at,
        _json(task.sent),
        _json(task.urls),
        task.follow_up_until,
        _json(task.cost),
    )


def _json(value: Any) -> str | None:
    return None if value is None else json.encode(value).decode()


def _event(workflow_id: UUID, event: HistoryEvent) -> tuple[Any, ...]:
    data = json.encode(event.data).decode() if event.data else "{}"
    return (workflow_id, event.id, event.type, event.at, event.step_id, event.task_id, event.actor, data)


class InsertRows(Struct):
    """The parameters of `journal_sql.INSERT` for one workflow.

    `named` are the ids of the tasks whose files the workflow names. `size` is the length of its JSON in characters.
    """

    workflows: Rows
    steps: Rows
    events: Rows
    named: set[str]
    size: int

    def parameters(self) -> tuple[Rows, Rows, Rows]:
        return self.workflows, self.steps, self.events


def insert_rows(new: NewWorkflow) -> InsertRows:
    workflow_id, config = new.record.state.id, json.encode(new.record.config).decode()
    definitions = [json.encode(step.definition).decode() for step in new.record.steps or []]
    return InsertRows(
        [_new_workflow(new, config)],
        [
            _new_step(workflow_id, step, definition)
            for step, definition in zip(new.record.steps or [], definitions, strict=True)
        ],
        [_event(workflow_id, event) for event in new.events],
        named_tasks(config).union(*map(named_tasks, definitions)),
        len(config) + sum(map(len, definitions)),
    )


def references(naming: Sequence[InsertRows]) -> tuple[list[str], list[UUID]]:
    """The parameters of `journal_sql.REFER`."""
    task_ids = [task_id for rows in naming for task_id in rows.named]
    return task_ids, [rows.workflows[0][0] for rows in naming for _ in rows.named]


def _new_workflow(new: NewWorkflow, config: str) -> tuple[Any, ...]:
    record = new.record
    return (
        record.state.id,
        record.tenant,
        record.origin_instance,
        record.origin_zone,
        record.origin_reference,
        config,
        record.suppress_subtask_events,
        record.total_steps,
        new.final_position,
        record.created_at,
        *_workflow_values(record.state),
    )


def _new_step(workflow_id: UUID, step: StepRecord, definition: str) -> tuple[Any, ...]:
    plan = step.plan
    return (
        workflow_id,
        step.created_at,
        plan.position,
        step.id,
        plan.step_id,
        plan.task_type,
        definition,
        plan.depends_on,
        plan.max_retries,
        plan.timeout_s,
        plan.provider,
        plan.fallback,
    )
