"""The state machine of a workflow with steps that run sub-workflows.

    attempt  INTENT ─► INTENT, sent ─► SUBMITTED: the sub-workflow exists ─► it has ended: COMPLETED or FAILED

An attempt treats its sub-workflow as a job at a provider. The id is chosen before the sub-workflow is created. It is
the same in all attempts at one run of a step or item, so that the sub-workflow is created once. An attempt needs no
process while its sub-workflow runs.

What must hold, besides what `ItemRun` guarantees:
- A sub-workflow is paused and resumed with its parent, also after a crash. The parent has an owner until that is done.
  One that somebody else has paused since its parent was started or resumed stays paused.
- An abandoned attempt is followed up until its sub-workflow has stopped. No other attempt begins before that.
- Only a CANCELLED parent cancels its sub-workflows. A FAILED one fails them, so that resume continues them.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from stepwell.contract.enums import EventType, ProviderType, TaskPhase, TaskStatus, WaitKind, WorkflowStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import PauseOrResumeChild
from stepwell.lifecycle.inputs import (
    Admitted,
    AttemptFailed,
    ChildPausedOrResumed,
    FlowInput,
    FollowUpEnded,
    Pause,
    RemoteInput,
    Resume,
    Submitted,
)
from stepwell.lifecycle.item_group import ItemGroup
from stepwell.lifecycle.item_run import ItemRun
from stepwell.lifecycle.model import NO_FLOW, StepState, Task
from stepwell.lifecycle.stored_run import StoredRun


class SubworkflowRun(ItemRun):
    """One workflow with sub-workflows in memory."""

    def __init__(self, stored: StoredRun) -> None:
        self._children: set[int] = set()  # positions whose sub-workflow exists and has not ended
        self._not_followed: set[int] = set()  # those of them that have yet to be paused or resumed with this workflow
        self._stopping: set[int] = set()  # positions that begin again once their last sub-workflow has stopped
        super().__init__(stored)

    @property
    def active(self) -> bool:
        state = self.state
        runs = state.status is WorkflowStatus.RUNNING and state.owner is not None
        return runs or self._has_attempts or bool(self._remote.followed_up)

    @property
    def has_children(self) -> bool:
        return bool(self._children)

    def note_handled_ends(self, number: int) -> None:
        """Record that this run knows of the first *number* ends of sub-workflows that are counted.

        Nothing is recorded while an attempt needs a process: the status of its sub-workflow may not be read yet.
        """
        if not self._has_attempts:
            self.state.child_ends_seen = max(self.state.child_ends_seen, number)

    @property
    def _has_attempts(self) -> bool:
        return len(self._tracker.running) > len(self._children) or bool(self._not_followed)

    @property
    def _has_waits(self) -> bool:
        return super()._has_waits or bool(self._children)

    @property
    def _may_be_taken(self) -> bool:
        return super()._may_be_taken or (self.state.status is WorkflowStatus.PAUSED and bool(self._children))

    def pending_work(self) -> Decision:
        decision = super().pending_work()
        self._pause_or_resume_children(decision)
        return decision

    # Attempts

    def _new_task(self, input_: Admitted, step: StepState, provider: ProviderType | None, began: datetime) -> Task:
        task, flow = super()._new_task(input_, step, provider, began), step.flow or NO_FLOW
        if self.unit_plans[step.position].runs_workflow:
            step.flow = replace(flow, child=flow.child or input_.task_id, child_since=None)
        return task

    def _remote_input(self, decision: Decision, input_: RemoteInput, now: datetime) -> None:
        position, task = input_.position, self._tracker.running.get(input_.position)
        of_attempt = None if task is None or task.id != input_.task_id else task
        if of_attempt is not None and isinstance(input_, Submitted) and self.unit_plans[position].runs_workflow:
            self._child_created(decision, of_attempt, input_, now)
            return
        super()._remote_input(decision, input_, now)
        if isinstance(input_, FollowUpEnded) and position in self._stopping:
            self._stopping.discard(position)
            self._tracker.ready.add(position)
            if self.may_start:
                decision.ready.append(position)

    def _child_created(self, decision: Decision, task: Task, input_: Submitted, now: datetime) -> None:
        position = task.position
        step = self.units[position]
        self._remote.record_job(task, input_)
        self._tracker.attached.discard(position)
        self._children.add(position)
        step.flow = replace(step.flow or NO_FLOW, child_since=now)
        decision.record(step, now, task)
        kind, facts = EventType.STEP_WAITING, {"waits_for": WaitKind.WORKFLOW, "workflow_id": input_.remote_id}
        self._emit_step(decision, now, kind, step, **facts)
        if self.state.status is WorkflowStatus.PAUSED:
            self._pause_or_resume_child(decision, position)

    def _run_again(self, decision: Decision, step: StepState, task: Task, result: bytes | None, now: datetime) -> None:
        step.flow = replace(step.flow or NO_FLOW, child=None, child_since=None)
        super()._run_again(decision, step, task, result, now)

    def _failed(self, decision: Decision, input_: AttemptFailed, now: datetime) -> None:
        task = self._tracker.running.get(input_.position)
        if input_.child_lost and task is not None and task.id == input_.task_id:
            step = self.units[input_.position]
            step.flow = replace(step.flow or NO_FLOW, child=None, child_since=None)
        super()._failed(decision, input_, now)

    def _close_task(self, position: int, task_id: UUID, status: TaskStatus, now: datetime) -> Task | None:
        task = super()._close_task(position, task_id, status, now)
        self._remove_if_ended(position)
        return task

    def _cancel_unit(self, decision: Decision, position: int, actor: str, now: datetime) -> None:
        super()._cancel_unit(decision, position, actor, now)
        self._remove_if_ended(position)

    def _remove_if_ended(self, position: int) -> None:
        if position not in self._tracker.running:
            self._children.discard(position)
            self._not_followed.discard(position)

    # Attempts that have to wait for the end of an earlier one

    def _open(self, decision: Decision, positions: list[int]) -> None:
        held = self._hold_stopping(position for position in positions if not self._needs_evaluation(position))
        super()._open(decision, [position for position in positions if position not in held])

    def _want_slots(self, decision: Decision, positions: list[int]) -> None:
        held = self._hold_stopping(positions)
        super()._want_slots(decision, [position for position in positions if position not in held])

    def _hold_stopping(self, positions: Iterable[int]) -> set[int]:
        """Hold back the positions whose last sub-workflow is still being stopped. Return these."""
        if not self._remote.followed_up:
            return set()
        stopping = {
            task.position for task in self._remote.followed_up.values() if self.unit_plans[task.position].runs_workflow
        }
        held = stopping.intersection(positions)
        self._stopping |= held
        self._tracker.ready -= held
        return held

    def _hold_items(self, decision: Decision, group: ItemGroup, now: datetime) -> dict[str, Any]:
        held = super()._hold_items(decision, group, now)
        if self._stopping:
            self._stopping -= {item.position for item in group.items} - group.taken
        return held

    # Sub-workflows that follow their parent

    def _pause_or_resume_children(self, decision: Decision) -> None:
        if self.state.owner is not None:
            for position in sorted(self._children):
                self._pause_or_resume_child(decision, position)

    def _pause_or_resume_child(self, decision: Decision, position: int) -> None:
        """Pause a sub-workflow if this workflow is PAUSED, and resume it otherwise."""
        task = self._tracker.running[position]
        assert task.remote_id is not None
        self._not_followed.add(position)
        paused = self.state.status is WorkflowStatus.PAUSED
        decision.effects.append(PauseOrResumeChild(position, task.id, UUID(task.remote_id), paused))

    def _flow_input(self, decision: Decision, input_: FlowInput, now: datetime) -> None:
        if isinstance(input_, ChildPausedOrResumed):
            self._child_paused_or_resumed(decision, input_)
        super()._flow_input(decision, input_, now)

    def _child_paused_or_resumed(self, decision: Decision, input_: ChildPausedOrResumed) -> None:
        task = self._tracker.running.get(input_.position)
        paused = self.state.status is WorkflowStatus.PAUSED
        if task is not None and task.id == input_.task_id and paused == input_.paused:
            self._not_followed.discard(input_.position)
            decision.parking_changes = not self.active and self.state.owner is not None

    def _pause(self, decision: Decision, input_: Pause, now: datetime) -> None:
        super()._pause(decision, input_, now)
        if self.state.status is WorkflowStatus.PAUSED:
            self._pause_or_resume_children(decision)

    def _resume(self, decision: Decision, input_: Resume, now: datetime) -> None:
        super()._resume(decision, input_, now)
        self._pause_or_resume_children(decision)

    def _place_items(self) -> None:
        super()._place_items()
        self._stopping.clear()
        self._children.clear()
        self._hold_stopping(self._tracker.ready)
        for position, task in self._tracker.running.items():
            if self.unit_plans[position].runs_workflow and task.phase is TaskPhase.SUBMITTED:
                self._tracker.ready.discard(position)
                self._children.add(position)
        self._not_followed &= self._children
