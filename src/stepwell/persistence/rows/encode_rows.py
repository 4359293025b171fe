"""Encodes structs of the domain as rows of the composite types in `engine_statements.TYPES`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, json, structs

from stepwell.basics.artifacts import named_tasks
from stepwell.contract.definition import WorkflowStepDefinition
from stepwell.contract.enums import RunIf
from stepwell.lifecycle.decision import CleanupChange, Decision
from stepwell.lifecycle.model import StepState, Task
from stepwell.lifecycle.records import NO_INPUTS, NewWorkflow, StepRecord
from stepwell.persistence.rows.engine_statements import CHILD_ENDS_SEEN, STATE, TYPES, WAKE_AT
from stepwell.persistence.rows.flow_rows import flow_rows
from stepwell.rules.list_records import TaskPlace

Rows = list[tuple[Any, ...]]


def checkpoint_rows(batch: Sequence[Decision], *, flow: bool = False) -> tuple[Rows, Rows, Rows, Rows]:
    """Return the parameters of `engine_statements.CHECKPOINT`: rows of workflows, steps, tasks and events.

    *flow*: return those of `CHECKPOINT_AND_FLOW`.
    """
    encode_workflow, encode_step, encode_task = _FLOW if flow else _PLAIN
    workflows: Rows = []
    steps: Rows = []
    tasks: Rows = []
    events: Rows = []
    for decision in batch:
        state = decision.workflow
        workflow_id = state.id
        fence = (workflow_id, decision.owner, decision.epoch, decision.last_event)
        workflows.append(fence + encode_workflow(workflow_id, state))
        own = [step for step in decision.steps.values() if type(step) is StepState] if flow else decision.steps.values()
        steps += [encode_step(workflow_id, step) for step in own]
        tasks += [encode_task(workflow_id, task) for task in decision.tasks.values()]
        events += [_encode_event(workflow_id, event) for event in decision.events]
    return workflows, steps, tasks, events


class MoreRows(Struct):
    """The rows that `engine_statements.CHECKPOINT` doesn't write, but `CHECKPOINT_AND_MORE` does.

    `begun` and `ended` are the ids of workflows whose cleanup has begun, or ended, and `labelled` of those whose labels
    change. `labels` are the ids of workflows, and beside each a label. `costs`: the rows of tasks have costs.
    `commands` has the ids of commands, their workflows and their outcomes, each in a list. `flow` has the rows of
    waits, signals and items that `CHECKPOINT_AND_FLOW` writes; None if the batch doesn't need it.
    """

    deliveries: Rows
    keys: Rows
    begun: list[UUID]
    ended: list[UUID]
    labelled: list[UUID]
    labels: tuple[list[UUID], list[str]]
    costs: bool
    commands: tuple[list[UUID], list[UUID], list[str]] | None
    flow: tuple[list[Any], ...] | None = None

    def parameters(self, owner: UUID) -> tuple[object, ...]:
        """Return the rows in the order of the statement's parameters. *owner* is the process that sends webhooks."""
        commands = self.commands or (() if self.flow is None else ([], [], []))
        flow = self.flow or ()
        return self.deliveries, owner, self.keys, self.begun, self.ended, self.labelled, *self.labels, *commands, *flow


def more_rows(batch: Sequence[Decision], *, child_ends: bool = False) -> MoreRows | None:
    """Return the rows of *batch* that `engine_statements.CHECKPOINT` doesn't write; None if there are none.

    *child_ends*: return those of `CHECKPOINT_AND_CHILD_ENDS`.
    """
    if not child_ends and not [each for each in batch if each.has_side_rows or each.has_costs or each.has_flow]:
        return None  # hot path
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
    begun = [decision.workflow.id for decision in batch if decision.cleanup is CleanupChange.BEGUN]
    ended = [decision.workflow.id for decision in batch if decision.cleanup is CleanupChange.ENDED]
    changed = {decision.workflow.id: decision.labels or {} for decision in batch if decision.labels is not UNSET}
    costs = any(decision.has_costs for decision in batch)
    flow = flow_rows(batch) if child_ends or any(decision.has_flow for decision in batch) else None
    commands = _command_rows(batch)
    return MoreRows(deliveries, keys, begun, ended, list(changed), _label_rows(changed), costs, commands, flow)


def _command_rows(batch: Sequence[Decision]) -> tuple[list[UUID], list[UUID], list[str]] | None:
    marks = [(decision.workflow.id, mark) for decision in batch for mark in decision.commands]
    if not marks:
        return None
    outcomes = [json.encode(mark.outcome).decode() for _, mark in marks]
    return [mark.id for _, mark in marks], [workflow_id for workflow_id, _ in marks], outcomes


def _label_rows(labels: Mapping[UUID, Mapping[str, str]]) -> tuple[list[UUID], list[str]]:
    if not labels:  # hot path: most workflows have none
        return [], []
    texts = {workflow_id: [f"{key}:{value}" for key, value in each.items()] for workflow_id, each in labels.items()}
    ids = [workflow_id for workflow_id, own in texts.items() for _ in own]
    return ids, list(chain.from_iterable(texts.values()))


def _encoder(
    columns: Iterable[tuple[str, str]], **encoders: Callable[[Any], Any]
) -> Callable[[UUID, Any], tuple[Any, ...]]:
    """Return a function that reads these columns from a struct into a row, given the id of its workflow.

    *encoders* convert the fields whose value can't be written as it is. Hot path (see `stepwell.persistence`): the
    function is generated as source, because `operator.attrgetter` takes twice as long.
    """
    values = ", ".join(
        name if name == "workflow_id" else f"{name}(it.{name})" if name in encoders else f"it.{name}"
        for name, _ in columns
    )
    encode: Callable[[UUID, Any], tuple[Any, ...]] = eval(f"lambda workflow_id, it: ({values},)", encoders)  # noqa: S307
    return encode


def _decode(text: bytes | None) -> str | None:
    return None if text is None else text.decode()


def _json(value: Any) -> str | None:
    return None if value is None else json.encode(value).decode()


def _json_if_set(member: Struct | UnsetType) -> str | None:
    return None if member is UNSET else _json(member)


_encode_workflow = _encoder(STATE)
_encode_step = _encoder(TYPES["checkpoint_step"], result=_decode)
_encode_task = _encoder(
    TYPES["checkpoint_task"],
    outputs=lambda outputs: json.encode(outputs).decode() if outputs else "[]",
    sent=_json,
    urls=_json,
    cost=_json,
)
_PLAIN = (_encode_workflow, _encode_step, _encode_task)


def _encode_flow_task(workflow_id: UUID, task: Task) -> tuple[Any, ...]:
    if task.place is None:
        return (*_encode_task(workflow_id, task), None)
    position, attempt = TaskPlace.of(task)
    row = _encode_task(workflow_id, structs.replace(task, position=position, attempt=attempt))
    return (*row, task.place.item)


_FLOW = (
    _encoder((*STATE, WAKE_AT, CHILD_ENDS_SEEN)),
    _encoder(TYPES["checkpoint_flow_step"], result=_decode, flow=_json),
    _encode_flow_task,
)
_encode_event = _encoder(TYPES["checkpoint_event"], data=lambda data: json.encode(data).decode() if data else "{}")


class InsertRows(Struct):
    """The parameters of `engine_statements.INSERT` for one workflow.

    `named` are the ids of the tasks and uploads whose files the workflow names. `size` is the length of its JSON in
    characters.
    `labels` has a workflow's id, a label and the workflow's time of creation, each in a list.
    """

    workflows: Rows
    steps: Rows
    events: Rows
    named: set[str]
    size: int
    labels: tuple[list[UUID], list[str], list[datetime]]

    def parameters(self) -> tuple[Rows, Rows, Rows]:
        """Return the rows in the order of the statement's parameters."""
        return self.workflows, self.steps, self.events


_NO_LABELS: tuple[list[UUID], list[str], list[datetime]] = ([], [], [])


def insert_rows(new: NewWorkflow) -> InsertRows:
    """Return the rows of a new workflow, its steps and its events."""
    workflow_id, config = new.record.state.id, json.encode(new.record.config).decode()
    labels = new.record.labels
    steps = new.record.steps or []
    definitions = [json.encode(_stored_definition(step)).decode() for step in steps]
    items = [json.encode(each).decode() for step in steps if (each := step.definition.for_each) is not UNSET]
    inputs = "" if new.inputs.inputs is None else new.inputs.inputs.decode()
    return InsertRows(
        [_new_workflow(new, config)],
        [_new_step(workflow_id, step, definition) for step, definition in zip(steps, definitions, strict=True)],
        [_encode_event(workflow_id, event) for event in new.events],
        named_tasks(config).union(named_tasks(inputs), *map(named_tasks, chain(definitions, items))),
        len(config) + len(inputs) + sum(map(len, chain(definitions, items))),
        (*_label_rows({workflow_id: labels}), [new.record.created_at] * len(labels)) if labels else _NO_LABELS,
    )


def references(naming: Sequence[InsertRows]) -> tuple[list[str], list[UUID], list[str | None]]:
    """Return the parameters of `engine_statements.REFER`: named ids, and beside each the workflow and its tenant."""
    named = [(file_id, *rows.workflows[0][:2]) for rows in naming for file_id in sorted(rows.named)]
    return [row[0] for row in named], [row[1] for row in named], [row[2] for row in named]


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
        new.definition_bytes,
        new.feature_level,
        *_inputs(new),
        new.has_flow,
        record.created_at,
        *_encode_workflow(record.state.id, record.state),
    )


def _stored_definition(step: StepRecord) -> WorkflowStepDefinition:
    """Return the definition without the members that have columns of their own."""
    definition = step.definition
    if definition.run_if is UNSET and definition.optional is UNSET and step.plan.flow is None:  # hot path
        return definition
    return structs.replace(definition, run_if=UNSET, optional=UNSET, when=UNSET, repeat=UNSET, for_each=UNSET)


def _inputs(new: NewWorkflow) -> tuple[str | None, str | None, bool]:
    stored = new.inputs
    if stored is NO_INPUTS:  # hot path: most workflows have none
        return None, None, False
    inputs, schema = (None if text is None else text.decode() for text in (stored.inputs, stored.inputs_schema))
    return inputs, schema, stored.evaluates


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
        None if plan.run_if is _ALL_COMPLETED else plan.run_if,
        plan.optional,
        *(_NO_FLOW if plan.flow is None else _flow_members(step.definition)),
    )


_NO_FLOW = (None, None, None)
_ALL_COMPLETED = RunIf.ALL_COMPLETED  # hot path: an attribute of an enum costs 0.1 µs in Python 3.11


def _flow_members(definition: WorkflowStepDefinition) -> tuple[str | None, str | None, str | None]:
    return definition.condition, _json_if_set(definition.repeat), _json_if_set(definition.for_each)
