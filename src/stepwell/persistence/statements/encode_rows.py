"""Encodes structs as the parameters of the statements in `engine_statements`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

from msgspec import UNSET, Struct, json

from stepwell.basics.artifacts import named_tasks
from stepwell.lifecycle.decision import CleanupChange, Decision
from stepwell.lifecycle.model import ItemState, StepState
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.tables import tasks
from stepwell.persistence.tables.deliveries import DELIVERY
from stepwell.persistence.tables.events import EVENT
from stepwell.persistence.tables.idempotency_keys import KEY
from stepwell.persistence.tables.steps import ITEM, NEW_STEP, PLAIN_STEP, STEP, stored_definition
from stepwell.persistence.tables.tasks import PLAIN_TASK
from stepwell.persistence.tables.waits import SIGNAL, WAIT
from stepwell.persistence.tables.workflows import NEW_WORKFLOW, PLAIN_WORKFLOW, WORKFLOW
from stepwell.rules.costs import exact

Rows = list[bytes]


_PLAIN: Final = (PLAIN_WORKFLOW.encode, PLAIN_STEP.encode, PLAIN_TASK.encode)
_FLOW: Final = (WORKFLOW.encode, STEP.encode, tasks.encode_task)


def checkpoint_rows(batch: Sequence[Decision], *, flow: bool = False) -> tuple[Rows, Rows, Rows, Rows]:
    """Return the parameters of `engine_statements.CHECKPOINT`: rows of workflows, steps, tasks and events.

    *flow*: return those of `CHECKPOINT_AND_FLOW`.
    """
    encode_workflow, encode_step, encode_task = _FLOW if flow else _PLAIN
    encode_event = EVENT.encode
    workflows: Rows = []
    steps: Rows = []
    tasks: Rows = []
    events: Rows = []
    for decision in batch:
        state = decision.workflow
        workflow_id = state.id.bytes
        workflows.append(encode_workflow(decision, state))
        for step in decision.steps.values():  # hot path: most have one row of each, and a comprehension costs a call
            if not flow or type(step) is StepState:
                steps.append(encode_step(workflow_id, step))
        for task in decision.tasks.values():
            tasks.append(encode_task(workflow_id, task))
        for event in decision.events:
            events.append(encode_event(workflow_id, event))
    return workflows, steps, tasks, events


class MoreRows(Struct):
    """The rows that `engine_statements.CHECKPOINT` doesn't write, but `CHECKPOINT_AND_MORE` does.

    `begun` and `ended` are the ids of workflows whose cleanup has begun, or ended, and `labelled` of those whose labels
    change. `labels` are the ids of workflows, and beside each a label. `costs`: the rows of tasks have costs.
    `commands` has the ids of commands, their workflows and their outcomes, each in a list. `flow` has the rows of
    waits, signals and items that `CHECKPOINT_AND_FLOW` writes; None if the batch doesn't need it. `budgets` has
    those of `CHECKPOINT_AND_BUDGETS`.
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
    budgets: tuple[list[Any], ...] | None = None

    def parameters(self, owner: UUID) -> tuple[object, ...]:
        """Return the rows in the order of the statement's parameters. *owner* is the process that sends webhooks."""
        commands = self.commands or (() if self.flow is None else ([], [], []))
        more = (*commands, *(self.flow or ()), *(self.budgets or ()))
        return self.deliveries, owner, self.keys, self.begun, self.ended, self.labelled, *self.labels, *more


def more_rows(batch: Sequence[Decision], *, child_ended: bool = False) -> MoreRows | None:
    """Return the rows of *batch* that `engine_statements.CHECKPOINT` doesn't write; None if there are none.

    *child_ended*: return those of `CHECKPOINT_AND_CHILD_ENDED`.
    """
    if not child_ended and not [each for each in batch if not each.is_plain]:
        return None  # hot path
    deliveries = [
        DELIVERY.encode(decision.workflow.id.bytes, delivery.at, delivery)
        for decision in batch
        for delivery in decision.deliveries
    ]
    keys = [KEY.encode(decision.workflow.id.bytes, claim) for decision in batch for claim in decision.key_claims]
    begun = [decision.workflow.id for decision in batch if decision.cleanup is CleanupChange.BEGUN]
    ended = [decision.workflow.id for decision in batch if decision.cleanup is CleanupChange.ENDED]
    changed = {decision.workflow.id: decision.labels or {} for decision in batch if decision.labels is not UNSET}
    costs = any(decision.has_costs for decision in batch)
    budgets = _budget_rows(batch)
    has_flow = child_ended or budgets is not None or any(decision.has_flow for decision in batch)
    flow = _flow_rows(batch) if has_flow else None
    commands = _command_rows(batch)
    return MoreRows(deliveries, keys, begun, ended, list(changed), _label_rows(changed), costs, commands, flow, budgets)


def _budget_rows(batch: Sequence[Decision]) -> tuple[list[Any], ...] | None:
    """Return the parameters of `budget_statements.SETTLE` and `ASSIGN_CONFIG`; None if the batch changes no budget."""
    changes = [(decision.workflow.id, decision.budget) for decision in batch if decision.budget is not UNSET]
    if not changes:
        return None
    settled = [(workflow_id, each) for workflow_id, rows in changes for each in rows.settlements]
    costs = [each.cost for _, each in settled]
    new = [(workflow_id, rows.budget) for workflow_id, rows in changes if rows.budget is not None]
    return (
        [each.task_id for _, each in settled],
        [workflow_id for workflow_id, _ in settled],
        [each.kept for _, each in settled],
        [each.counts for _, each in settled],
        [None if cost is None else cost.currency for cost in costs],
        [None if cost is None else exact(cost.amount) for cost in costs],
        [workflow_id for workflow_id, _ in new],
        [json.encode(budget).decode() for _, budget in new],
    )


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


def _flow_rows(batch: Sequence[Decision]) -> tuple[list[Any], ...]:
    """Return the parameters of `flow_statements.WRITE_WAITS` and `flow_statements.WRITE_ITEMS`."""
    waits, ended, signals, taken, named = list[Any](), list[Any](), list[Any](), list[Any](), list[tuple[str, UUID]]()
    for decision in batch:
        workflow_id = decision.workflow.id
        for position, shown in decision.waits.items():
            flow = decision.steps[position].flow
            if shown is None or flow is None or flow.wait is None:
                ended.append((workflow_id, position))
                continue
            waits.append(WAIT.encode(workflow_id.bytes, position, shown, flow.wait))
        for name, signal in decision.signals.items():
            if signal is None:
                taken.append((workflow_id, name))
            else:
                signals.append(SIGNAL.encode(workflow_id.bytes, name, signal))
        named += [(file_id, workflow_id) for file_id in sorted(decision.named_files)]
    return (
        waits,
        [row[0] for row in ended],
        [row[1] for row in ended],
        signals,
        [row[0] for row in taken],
        [row[1] for row in taken],
        [UUID(file_id) for file_id, _ in named],
        [workflow_id for _, workflow_id in named],
        [row for decision in batch for row in _item_rows(decision)],
    )


def _item_rows(decision: Decision) -> Iterator[bytes]:
    """Yield the rows of the items as the decision leaves them. Those of new items have their values."""
    items = {step.position: step for step in decision.steps.values() if isinstance(step, ItemState)}
    values = {item.position: item.value for item in decision.new_items}
    for position, item in ({item.position: item for item in decision.new_items} | items).items():
        yield ITEM.encode(decision.workflow.id.bytes, *item.item_key, values.get(position), item)


class InsertRows(Struct):
    """The parameters of `engine_statements.INSERT` for one workflow.

    `named` are the ids of the tasks and uploads whose files the workflow names. `size` is the length of its JSON.
    `labels` has a workflow's id, a label and the workflow's time of creation, each in a list.
    """

    workflows: Rows
    steps: Rows
    events: Rows
    named: set[str]
    size: int
    labels: tuple[list[UUID], list[str], list[datetime]]
    workflow_id: UUID
    tenant: str | None

    def parameters(self) -> tuple[Rows, Rows, Rows]:
        return self.workflows, self.steps, self.events


_NO_LABELS: tuple[list[UUID], list[str], list[datetime]] = ([], [], [])


def insert_rows(new: NewWorkflow) -> InsertRows:
    record, stored = new.record, new.inputs
    state, labels, steps = record.state, record.labels, record.steps or []
    config = json.encode(record.config)
    definitions = [json.encode(stored_definition(step)) for step in steps]
    items = [json.encode(each) for step in steps if (each := step.definition.for_each) is not UNSET]
    texts = [text for text in (config, stored.inputs, new.named, *definitions, *items) if text is not None]
    encode_step, workflow_id = NEW_STEP.encode, state.id.bytes
    return InsertRows(
        [NEW_WORKFLOW.encode(config, new, stored, record, state)],
        [
            encode_step(workflow_id, definition, step.definition, step, step.resolved)
            for step, definition in zip(steps, definitions, strict=True)
        ],
        [EVENT.encode(workflow_id, event) for event in new.events],
        named_tasks(*texts),
        sum(map(len, texts)),
        (*_label_rows({state.id: labels}), [record.created_at] * len(labels)) if labels else _NO_LABELS,
        state.id,
        record.tenant,
    )


def references(naming: Sequence[InsertRows]) -> tuple[list[str], list[UUID], list[str | None]]:
    """Return the parameters of `engine_statements.REFER`: named ids, and beside each the workflow and its tenant."""
    named = [(file_id, rows.workflow_id, rows.tenant) for rows in naming for file_id in sorted(rows.named)]
    return [row[0] for row in named], [row[1] for row in named], [row[2] for row in named]
