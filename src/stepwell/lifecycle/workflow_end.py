"""The end of a workflow, its pause, and the time at which it ends at the latest.

What must hold when the budget of the workflow at the top has no room for an attempt:
- The attempt has sent nothing. It doesn't count, and its unit is PENDING again.
- Nothing more starts: the workflow is PAUSED, or it fails once nothing of it runs any more. What was sent goes on.
- A workflow that is PAUSED for its budget, or is RUNNING and fails for it, has a `failure`: the next process knows it.
"""

from datetime import datetime, timedelta
from typing import Any

from stepwell.contract.enums import EventType, WorkflowStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import DeadlineAt
from stepwell.lifecycle.inputs import SERVICE, ExceedBudget, HeldBack
from stepwell.lifecycle.step_transitions import StepTransitions
from stepwell.lifecycle.units import Units
from stepwell.lifecycle.waits import Waits


class WorkflowEnd:
    """The part of a `Run` that ends or pauses the workflow. It keeps the deadline. *waits* is None if no step waits."""

    def __init__(self, units: Units, steps: StepTransitions, waits: Waits | None) -> None:
        self._units, self._state, self._steps, self._waits = units, units.state, steps, waits

    def finish_if_open(self, decision: Decision, now: datetime) -> None:
        """End the workflow if it is RUNNING or PAUSED, and no step is left to wait for."""
        if self._is_open:
            self.finish_if_done(decision, now)

    def finish_if_done(self, decision: Decision, now: datetime) -> None:
        """End the workflow if no step is left to wait for. After a failure, steps that will not start aren't."""
        units = self._units
        left = len(units.steps) - self._state.completed_steps - units.skipped - units.tolerated
        if not left and (self._state.failure is None or self._state.status is WorkflowStatus.PAUSED):
            self._state.failure = None  # somebody has ended the steps by hand that the budget had no room for
            self.finish(decision, WorkflowStatus.COMPLETED, EventType.WORKFLOW_COMPLETED, SERVICE, now)
        elif units.failures and (left == units.failures or not units.will_start):
            goes_on = units.running or (self._waits is not None and self._waits.open)
            if not goes_on:
                self.finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    def finish(self, decision: Decision, status: WorkflowStatus, kind: EventType, actor: str, now: datetime) -> None:
        """End the workflow. Its steps stay as they are."""
        state = self._state
        state.status, state.completed_at, state.timeout_left_s = status, now, None
        self.set_deadline(decision, now, None)
        reason = {"reason": state.failure} if state.failure else {}
        decision.emit(state, now, kind, actor, data=reason)

    def fail(self, decision: Decision, reason: str, now: datetime) -> None:
        """End the workflow as FAILED for a *reason* that is no step's. Steps that have ended stay as they are."""
        if not self._is_open:
            return
        self._state.failure = reason
        self._steps.cancel_running(decision, SERVICE, now)
        self._steps.cancel_backoff(decision, SERVICE, now)
        self.finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    @property
    def _is_open(self) -> bool:
        return self._state.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED)

    def pause(self, decision: Decision, actor: str, now: datetime, data: dict[str, Any] | None = None) -> None:
        """Pause the workflow, which is RUNNING. *data* is more data of the event."""
        state = self._state
        state.status = WorkflowStatus.PAUSED
        if state.deadline_at is not None:
            state.timeout_left_s = max((state.deadline_at - now).total_seconds(), 0.0)
        self.set_deadline(decision, now, None)
        held = self._steps.hold_back(decision, now)
        decision.emit(state, now, EventType.WORKFLOW_PAUSED, actor, data=(data or {}) | held)

    def stop_for_budget(self, decision: Decision, input_: HeldBack | ExceedBudget, now: datetime) -> bool:
        """Start nothing more of the workflow. Return False if nothing starts anyway."""
        state = self._state
        if state.status is not WorkflowStatus.RUNNING or state.failure is not None:
            return False
        state.failure = f"budget: {input_.why}"
        if input_.fails:
            decision.parking_changes = True  # there may be no event
            self._units.drain()
            self._steps.hold_back(decision, now)
            self._steps.cancel_waits(decision, SERVICE, now)
        else:
            self.pause(decision, SERVICE, now, {"reason": "budget", "message": input_.why})
        return True

    def set_deadline(self, decision: Decision, now: datetime, seconds: float | None) -> None:
        """Let the workflow fail after so many *seconds*; None: never."""
        state = self._state
        if state.waits_for_admission:
            state.timeout_left_s, seconds = seconds, None  # it counts from the admission
        at = None if seconds is None else now + timedelta(seconds=seconds)
        if at != state.deadline_at:
            state.deadline_at = at
            decision.effects.append(DeadlineAt(at))

    def pass_deadline(self, decision: Decision, now: datetime) -> None:
        """End the workflow if its deadline has passed; otherwise the timer fired a little early."""
        at = self._state.deadline_at
        if at is not None and now < at:
            decision.effects.append(DeadlineAt(at))
        elif at is not None:
            limit = f"{self._units.config.workflow_timeout_s:.12g}"
            self.fail(decision, f"workflow: timed out after {limit} s", now)
