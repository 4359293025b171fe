"""The sub-workflows of a workflow's attempts.

    attempt  INTENT ─► INTENT, sent ─► SUBMITTED: the sub-workflow exists ─► it has ended: COMPLETED or FAILED

An attempt treats its sub-workflow as a job at a provider. The id is chosen before the sub-workflow is created. It is
the same in all attempts at one run of a step or item, so that the sub-workflow is created once. An attempt needs no
process while its sub-workflow runs.

What must hold:
- A sub-workflow is paused and resumed with its parent, also after a crash. The parent has an owner until that is done.
  One that somebody else has paused since its parent was started or resumed stays paused.
- An abandoned attempt is followed up until its sub-workflow has stopped. No other attempt begins before that.
- Only a CANCELLED parent cancels its sub-workflows. A FAILED one fails them, so that resume continues them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from stepwell.contract.enums import EventType, TaskPhase, WaitKind, WorkflowStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import PauseOrResumeChild
from stepwell.lifecycle.inputs import ChildPausedOrResumed, Submitted
from stepwell.lifecycle.model import NO_FLOW, StepState, Task
from stepwell.lifecycle.remote_transitions import RemoteTransitions
from stepwell.lifecycle.units import Units


class Children:
    """The sub-workflows of a workflow. `open` are the positions of those that exist and have not ended."""

    def __init__(self, units: Units, remote: RemoteTransitions) -> None:
        self._units, self._remote = units, remote
        self.open: set[int] = set()
        self._to_pause_or_resume: set[int] = set()  # with this workflow
        self._stopping: set[int] = set()  # positions that begin again once their last sub-workflow has stopped
        self.rebuild()

    def rebuild(self) -> None:
        """Compute the sets from the open attempts, after those of steps and items."""
        units = self._units
        self._stopping.clear()
        self.open.clear()
        self.hold(list(units.ready))
        for position, task in units.running.items():
            if units.resolved_units[position].runs_workflow and task.phase is TaskPhase.SUBMITTED:
                units.ready.discard(position)
                self.open.add(position)
        self._to_pause_or_resume &= self.open

    @property
    def need_process(self) -> bool:
        """True while an attempt does more than wait, or a sub-workflow is yet to be paused or resumed."""
        return len(self._units.running) > len(self.open) or bool(self._to_pause_or_resume)

    # Attempts at sub-workflows

    def begin(self, step: StepState, task_id: UUID) -> None:
        """Choose the id of the sub-workflow for an attempt that begins."""
        if self._units.resolved_units[step.position].runs_workflow:
            flow = step.flow or NO_FLOW
            step.flow = replace(flow, child=flow.child or task_id, child_since=None)

    def forget(self, step: StepState) -> None:
        """Let the next attempt at the step have a new sub-workflow."""
        step.flow = replace(step.flow or NO_FLOW, child=None, child_since=None)

    def created(self, decision: Decision, task: Task, input_: Submitted, now: datetime) -> None:
        """Record that the sub-workflow of the attempt exists. The attempt needs no process any more."""
        units, position = self._units, task.position
        step = units.units[position]
        self._remote.record_job(task, input_)
        units.attached.discard(position)
        self.open.add(position)
        step.flow = replace(step.flow or NO_FLOW, child_since=now)
        decision.record(step, now, task)
        data = {"waits_for": WaitKind.WORKFLOW, "workflow_id": input_.remote_id}
        units.emit(decision, now, EventType.STEP_WAITING, step, **data)
        if units.state.status is WorkflowStatus.PAUSED:
            self._pause_or_resume(decision, position)

    def end(self, position: int) -> None:
        """Record that the attempt at the position has ended."""
        self.open.discard(position)
        self._to_pause_or_resume.discard(position)

    # Attempts that have to wait for the end of an earlier one

    def hold(self, positions: Sequence[int]) -> Sequence[int]:
        """Hold back those of the *positions* whose last sub-workflow is still being stopped. Return the others."""
        if not self._remote.followed_up:
            return positions
        units = self._units.resolved_units
        stopping = {task.position for task in self._remote.followed_up.values() if units[task.position].runs_workflow}
        held = stopping.intersection(positions)
        self._stopping |= held
        self._units.ready -= held
        return [position for position in positions if position not in held]

    def stopped(self, decision: Decision, position: int) -> None:
        """Let the position begin again that waited for the end of its last sub-workflow."""
        if position in self._stopping:
            self._stopping.discard(position)
            self._units.ready.add(position)
            if self._units.may_start:
                decision.ready.append(position)

    def forget_stopping(self, positions: Iterable[int]) -> None:
        """Let the *positions* not begin again by themselves, because their step is failing."""
        self._stopping.difference_update(positions)

    # Pause and resume

    def pause_or_resume(self, decision: Decision) -> None:
        """Pause all sub-workflows if this workflow is PAUSED, and resume them otherwise."""
        if self._units.state.owner is not None:
            for position in sorted(self.open):
                self._pause_or_resume(decision, position)

    def _pause_or_resume(self, decision: Decision, position: int) -> None:
        task = self._units.running[position]
        assert task.remote_id is not None
        self._to_pause_or_resume.add(position)
        paused = self._units.state.status is WorkflowStatus.PAUSED
        decision.effects.append(PauseOrResumeChild(position, task.id, UUID(task.remote_id), paused))

    def paused_or_resumed(self, input_: ChildPausedOrResumed) -> bool:
        """Record that a sub-workflow is paused or resumed. Return False if the input is about an earlier change."""
        task = self._units.running.get(input_.position)
        paused = self._units.state.status is WorkflowStatus.PAUSED
        if task is None or task.id != input_.task_id or paused != input_.paused:
            return False
        self._to_pause_or_resume.discard(input_.position)
        return True

    def note_handled_ends(self, number: int) -> None:
        """Record that this run knows of the first *number* ends of sub-workflows that are counted.

        Nothing is recorded while an attempt needs a process: the status of its sub-workflow may not be read yet.
        """
        if not self.need_process:
            self._units.state.child_ended_seen = max(self._units.state.child_ended_seen, number)
