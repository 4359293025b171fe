"""Computes steps that need nothing outside this process: those of PASSTHROUGH in a plain run.

What must hold:
- A step is computed once the decision that lets it start is being written. A later commit has its begin and its end
  together. So a chain of such steps takes a commit for each of them.
- Nothing of it is written before. If the process dies, the step is computed again, which costs nothing.
- A step that needs more than the event loop may do at once becomes an attempt like any other, whose INTENT is written
  first. So recovery knows what ran when a process died.
- The step has its slot from the moment at which it could start. The slot is given back, whatever becomes of the step.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from stepwell.engine.attempts.input_resolver import PreparedAttempt
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.dispatch.step_queue import Slot, StepQueue
from stepwell.engine.execution.active_workflow import ActiveWorkflow, RunningAttempt
from stepwell.engine.execution.checkpointer import Checkpointer
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import ComputeStep, StartAttempt
from stepwell.lifecycle.inputs import AttemptFailed, Computed, Dispatched, Succeeded
from stepwell.lifecycle.model import Task

_STEPS = 125  # at most, after one decision, so that nothing holds up the event loop


class StepComputer:
    """Computes steps. *apply* applies the end of one, and *submit* queues a decision. *ended* gives its slot back."""

    def __init__(
        self,
        runner: AttemptRunner,
        step_queue: StepQueue,
        checkpointer: Checkpointer,
        apply: Callable[[ActiveWorkflow, Computed | Succeeded | AttemptFailed, datetime], None],
        submit: Callable[[ActiveWorkflow, Decision], object],
        ended: Callable[[ActiveWorkflow, UUID], None],
    ) -> None:
        self._runner, self._step_queue, self._checkpointer = runner, step_queue, checkpointer
        self._apply, self._submit, self._ended = apply, submit, ended

    def decision_before(self, workflow: ActiveWorkflow) -> Decision | None:
        """Return the decision after which a step of the workflow can be computed: the last one, if it is queued."""
        if not workflow.run.is_plain:
            return None
        return self._checkpointer.last_queued(workflow.workflow_id, 0, 0)

    def compute_after(self, decision: Decision, workflow: ActiveWorkflow, slot: Slot, task_id: UUID) -> None:
        """Compute a step that has no attempt, as its attempt *task_id*, once *decision* is being written. Hot path."""
        workflow.attempts[task_id] = RunningAttempt(slot)
        decision.effects.append(ComputeStep(slot.position, task_id))

    def end(
        self, workflow: ActiveWorkflow, task_id: UUID, end: Computed | Succeeded | AttemptFailed, now: datetime
    ) -> None:
        """End an attempt that has nothing to wait for."""
        self._ended(workflow, task_id)
        self._apply(workflow, end, now)

    def work_ahead(self, workflow: ActiveWorkflow, decision: Decision, now: datetime) -> bool:
        """Do what needs nothing outside this process while *decision* is being written. Return whether that was any.

        Attempts whose INTENT is in *decision* may end. Their ends are in a later commit.
        """
        done = self.compute_steps(workflow, decision, now)
        if decision.effects:
            effects, decision.effects = decision.effects, []
            for effect in effects:
                if not (isinstance(effect, StartAttempt) and self._end_at_once(workflow, effect.task, now)):
                    decision.effects.append(effect)
            done += len(effects) - len(decision.effects)
        return done > 0

    def _end_at_once(self, workflow: ActiveWorkflow, task: Task, now: datetime) -> bool:
        """End the attempt if it has no provider and nothing to wait for. Otherwise keep what it was prepared with."""
        attempt = workflow.attempts[task.id]
        if task.provider is not None or attempt.prepared is not None:
            return False
        prepared = self._runner.prepare(workflow, task)
        if isinstance(prepared, PreparedAttempt):
            attempt.prepared = prepared
            return False
        self.end(workflow, task.id, prepared, now)
        return True

    def compute_steps(self, workflow: ActiveWorkflow, decision: Decision, now: datetime) -> int:
        """Compute the steps that *decision* has let start. Return how many of its effects this has removed.

        Those that are too many at once are computed after the next decision of the workflow.
        """
        effects, decision.effects = decision.effects, []
        left, last_queued = _STEPS, self._checkpointer.last_queued
        may_start = not (self._step_queue.closed or workflow.on_hold or workflow.dequeued)
        for effect in effects:
            if type(effect) is not ComputeStep:
                decision.effects.append(effect)
            elif not may_start:
                self._ended(workflow, effect.task_id)
            elif left > 0 or (later := last_queued(workflow.workflow_id, 0, 0)) is None:
                self._compute(workflow, effect.position, effect.task_id, now)
                left -= 1
            else:
                later.effects.append(effect)
        return len(effects) - len(decision.effects)

    def _compute(self, workflow: ActiveWorkflow, position: int, task_id: UUID, now: datetime) -> None:
        """Compute a step. One that fails, or has to wait for something, becomes an attempt like any other."""
        outcome = self._runner.prepare(workflow, Task(task_id, position, 0, None))
        if isinstance(outcome, Succeeded):
            self.end(workflow, task_id, Computed(position, task_id, outcome.result), now)
            return
        if not workflow.run.wants_new_attempt(position):
            self._ended(workflow, task_id)
            return
        decision = workflow.run.apply(Dispatched(position, task_id, None, in_process=True), now)
        if isinstance(outcome, PreparedAttempt):
            workflow.attempts[task_id].prepared = outcome
        else:
            decision.effects.clear()  # it has failed already
        self._submit(workflow, decision)
        if isinstance(outcome, AttemptFailed):
            self.end(workflow, task_id, outcome, now)
