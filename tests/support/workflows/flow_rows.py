"""The rows of a simulated workflow: what its decisions have recorded, and what a process loads."""

from collections.abc import Sequence
from copy import copy
from typing import Any
from uuid import UUID

from msgspec import json
from msgspec.structs import replace

from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import StepStatus, TaskStatus, WorkflowStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import HistoryEvent, ItemState, ShownWait, StepState, StoredSignal, Task, WorkflowState
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.lifecycle.units import unit_position
from support.workflows.flow_specs import StepSpec, resolved_step_of


class FlowRows:
    """The rows of one workflow. Those of items are by the positions of the items."""

    def __init__(self, specs: Sequence[StepSpec], config: WorkflowConfig) -> None:
        self.specs, self.config = list(specs), config
        self.resolved_steps = [resolved_step_of(position, spec) for position, spec in enumerate(specs)]
        self.workflow = WorkflowState(UUID(int=7), WorkflowStatus.PENDING, "a workflow")
        self.step_rows = [StepState(resolved.position) for resolved in self.resolved_steps]
        self.item_rows: dict[int, ItemState] = {}
        self.task_rows: dict[UUID, Task] = {}
        self.signal_rows: dict[str, StoredSignal] = {}
        self.shown_rows: dict[int, ShownWait] = {}
        self.events: list[HistoryEvent] = []

    @property
    def status(self) -> WorkflowStatus:
        return self.workflow.status

    @property
    def statuses(self) -> list[StepStatus]:
        return [step.status for step in self.step_rows]

    def row(self, position: int) -> StepState:
        return self.step_rows[position] if position < len(self.resolved_steps) else self.item_rows[position]

    def spec_of(self, position: int) -> tuple[StepSpec, int | None]:
        """Return the spec of the step, and the number of the item at the position; None for the step itself."""
        row = self.row(position)
        return (
            (self.specs[row.item_key.step], row.item_key.item)
            if isinstance(row, ItemState)
            else (self.specs[position], None)
        )

    def run_number(self, position: int) -> int:
        flow = self.row(position).flow
        return 0 if flow is None else flow.run

    def waiting_rows(self) -> list[int]:
        return [step.position for step in self.step_rows if step.flow is not None and step.flow.wait is not None]

    def child_rows(self) -> list[Task]:
        """Return the attempts that wait for their sub-workflow."""
        rows = self.task_rows.values()
        return [task for task in rows if task.status is TaskStatus.RUNNING and task.remote_id is not None]

    def result(self, position: int) -> Any:
        return json.decode(self.step_rows[position].result or b"null")

    def load(self) -> Run:
        wanted = (t for t in self.task_rows.values() if t.status is TaskStatus.RUNNING or t.follow_up_until)
        stored = StoredRun(
            copy(self.workflow),
            self.config,
            self.resolved_steps,
            [replace(row, result=None) for row in self.step_rows],
            open_tasks=[copy(t) for t in wanted],
            signals=self.signal_rows,
            items=[replace(row, position=-1, result=None) for row in self.item_rows.values()],
            result_bytes=sum(len(row.result or b"") for row in (*self.step_rows, *self.item_rows.values())),
        )
        run = Run(stored)
        assert run.parking is not None
        return run

    def unit(self, task: Task) -> int:
        return task.position if task.item_key is None else unit_position(len(self.resolved_steps), task.item_key)

    def commit(self, decision: Decision) -> None:
        assert (decision.owner, decision.epoch) == (self.workflow.owner, self.workflow.epoch)
        assert decision.last_event == self.workflow.last_event
        numbers = [event.id for event in decision.events]
        assert numbers == list(range(decision.last_event + 1, decision.last_event + 1 + len(numbers)))
        if not decision.has_rows:
            assert not (decision.steps)
            assert not (decision.signals)
            assert not decision.waits
            return
        self.workflow = copy(decision.workflow)
        for item in decision.new_items:
            assert item.position not in self.item_rows, "items are stored once"
            self.item_rows[item.position] = item
        for position, step in decision.steps.items():
            kept = self.row(position).result if step.flow is not None else None  # the best run so far
            row = replace(step, result=step.result or kept)
            if isinstance(row, ItemState):
                self.item_rows[position] = row
            else:
                self.step_rows[position] = row
        for task in decision.tasks.values():  # a row of a task has the position of its step
            position = task.position if task.item_key is None else task.item_key.step
            self.task_rows[task.id] = replace(task, position=position)
        _store(self.signal_rows, decision.signals)
        _store(self.shown_rows, decision.waits)
        self.events += decision.events


def _store(rows: dict[Any, Any], changes: dict[Any, Any]) -> None:
    """Store the changed rows, and delete those that are None."""
    for key, row in changes.items():
        if row is None:
            del rows[key]
        else:
            rows[key] = row
