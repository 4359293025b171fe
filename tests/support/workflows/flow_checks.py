"""What must hold after every input that a `SimulatedFlow` gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from stepwell.contract.enums import EventType, OnFailure, StepStatus, TaskStatus, WorkflowStatus
from stepwell.lifecycle.items import Items
from stepwell.lifecycle.model import NEVER, HistoryEvent, ItemState
from stepwell.lifecycle.run import Run
from support.workflows.runs import ENDED

if TYPE_CHECKING:
    from support.workflows.flows import SimulatedFlow

_STEP_STATUS = {
    EventType.STEP_STARTED: StepStatus.RUNNING,
    EventType.STEP_RETRYING: StepStatus.RUNNING,
    EventType.STEP_REPEATING: StepStatus.RUNNING,
    EventType.STEP_WAITING: StepStatus.RUNNING,
    EventType.STEP_COMPLETED: StepStatus.COMPLETED,
    EventType.STEP_FAILED: StepStatus.FAILED,
    EventType.STEP_SKIPPED: StepStatus.SKIPPED,
    EventType.STEP_CANCELLED: StepStatus.CANCELLED,
}


def _fold(events: Sequence[HistoryEvent], steps: int) -> list[StepStatus]:
    """Return the statuses at which a reader of the history alone arrives."""
    told = {f"s{position}": StepStatus.PENDING for position in range(steps)}
    for event in events:
        data = event.data
        if data.get("step_held_back") is True and event.step_id is not None:
            told[event.step_id] = StepStatus.PENDING
        elif event.step_id is not None and event.type in _STEP_STATUS and "item" not in data:
            told[event.step_id] = StepStatus.PENDING if data.get("held_back") is True else _STEP_STATUS[event.type]
        if isinstance(held := data.get("held_back"), list):
            told |= dict.fromkeys(held, StepStatus.PENDING)
        if event.type is EventType.WORKFLOW_RESUMED:
            kept = {StepStatus.COMPLETED, StepStatus.RUNNING}
            still = [*data.get("still_skipped", ()), *data.get("still_failed", ())]
            told |= {k: StepStatus.PENDING for k, v in told.items() if v not in kept and k not in still}
    return list(told.values())


def check_flow(sim: SimulatedFlow) -> None:
    run, state = sim.run, sim.run.state
    assert state == sim.workflow
    for step, row in zip(run.steps, sim.step_rows, strict=True):
        assert replace(step, result=None) == replace(row, result=None)
    for position, item in sim.item_rows.items():
        assert replace(run.units[position], result=None) == replace(item, result=None)
    assert _fold(sim.events, len(sim.resolved_steps)) == sim.statuses
    open_tasks = {sim.unit(t): t.id for t in sim.task_rows.values() if t.status is TaskStatus.RUNNING}
    assert open_tasks == {task.position: task.id for task in run.open_tasks() if task.follow_up_until is None}
    assert (state.completed_at is not None) == (state.status in ENDED)
    assert state.completed_steps == sim.statuses.count(StepStatus.COMPLETED)
    _check_waits(sim)
    if run.items is not None:
        check_groups(run, run.items, sim.item_rows, stopping=bool(sim.following))
    _check_ownership(sim)
    _check_children(sim)
    _check_end(sim)
    _check_progress(sim)


def _check_waits(sim: SimulatedFlow) -> None:
    """A failure that drains the workflow has ended all waits. What is shown is stored as long as its wait is."""
    rows = sim.waiting_rows()
    stopped = any(
        step.status is StepStatus.FAILED and not spec.optional
        for step, spec in zip(sim.step_rows, sim.specs, strict=True)
    )
    if stopped and sim.config.on_failure is not OnFailure.CONTINUE:
        assert not rows
    assert all(sim.statuses[position] is StepStatus.RUNNING for position in rows)
    assert sim.shown_rows.keys() == set(rows)


def _check_ownership(sim: SimulatedFlow) -> None:
    state, run = sim.workflow, sim.run
    assert run.parking is not None
    if state.owner is None and state.status is WorkflowStatus.RUNNING:
        assert state.wake_at in (None, run.parking.next_due() or NEVER)
    elif state.owner is None and state.status is WorkflowStatus.PAUSED:
        waits = sim.waiting_rows() or sim.child_rows()
        assert state.wake_at == ((run.parking.next_due() or NEVER) if waits else None)
    else:
        assert state.wake_at is None
    assert (state.owner is not None) == run.active


def _check_children(sim: SimulatedFlow) -> None:
    """The sub-workflows have followed as soon as the workflow needs no process."""
    if sim.workflow.owner is not None:
        return
    wrong = {WorkflowStatus.RUNNING, WorkflowStatus.PAUSED}
    if sim.status not in ENDED:
        wrong = {WorkflowStatus.PAUSED if sim.status is WorkflowStatus.RUNNING else WorkflowStatus.RUNNING}
    assert wrong.isdisjoint(sim.children.statuses.values())


def _check_end(sim: SimulatedFlow) -> None:
    if sim.status not in ENDED:
        return
    assert StepStatus.RUNNING not in sim.statuses
    if sim.status is WorkflowStatus.COMPLETED:
        for step, spec in zip(sim.step_rows, sim.specs, strict=True):
            assert step.status in (StepStatus.COMPLETED, StepStatus.SKIPPED) or (
                step.status is StepStatus.FAILED and spec.optional
            )


def _check_progress(sim: SimulatedFlow) -> None:
    """A workflow that runs has something that moves it."""
    state, run = sim.workflow, sim.run
    if state.status is WorkflowStatus.RUNNING and state.owner is not None:
        moves: list[object] = [sim.live, sim.wake, sim.waiting_rows(), sim.child_rows(), sim.following]
        if run.may_start:
            moves += [sim.startable(), sim.evaluations]
        orphans = [position for position in sim.queue if run.has_attempt(position)]
        assert any(moves) or orphans, "stuck"


def check_groups(run: Run, items: Items, rows: Mapping[int, ItemState], *, stopping: bool) -> None:
    """Check that a run counts its items as their rows do, and that a step with items is RUNNING only while it moves.

    *stopping*: an item may wait for the end of its last sub-workflow.
    """
    assert sum(len(group.items) for group in items.groups.values()) == len(rows)
    for position, group in items.groups.items():
        statuses = [row.status for row in rows.values() if row.item_key.step == position]
        assert group.completed == statuses.count(StepStatus.COMPLETED)
        assert group.failed == statuses.count(StepStatus.FAILED)
        assert group.running == statuses.count(StepStatus.RUNNING) <= group.rule.max_concurrency
        if run.steps[position].status is not StepStatus.RUNNING:
            assert StepStatus.RUNNING not in statuses
        elif not group.running:
            assert run.may_start
            assert stopping or any(map(run.wants_new_attempt, group.taken))
