"""The transitions of attempts that work at a provider: their requests, their jobs, and the follow-up of abandoned jobs.

Followed up: an attempt was abandoned (cancelled or timed out) after a request had been sent to a provider. The engine
ends the job there, and the task's `cancel_receipt` says what came of that. Until the job's end is seen, the receipt is
`unknown` and the workflow needs a process, whatever its status.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from stepwell.contract.enums import CancelReceipt, EventType, TaskPhase, TaskStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import FollowUp
from stepwell.lifecycle.inputs import (
    SERVICE,
    AttemptFailed,
    FingerprintComputed,
    FollowUpEnded,
    OutcomeLost,
    Progressed,
    RemoteEnded,
    RemoteInput,
    SeedResolved,
    Sending,
    Submitted,
)
from stepwell.lifecycle.model import Task, WorkflowState
from stepwell.lifecycle.steps import ResolvedStep

# Stepwell waits so long for the end of a job whose result nobody needs any more.
_FOLLOW_UP_FOR = timedelta(hours=1)


class RemoteTransitions:
    """The part of a `Run` that knows of jobs at providers. It changes tasks, and no step.

    `followed_up` are the abandoned tasks whose job has yet to end, by id.
    """

    def __init__(self, state: WorkflowState, steps: Sequence[ResolvedStep], open_tasks: Sequence[Task]) -> None:
        self._state, self._resolved_steps = state, steps
        self.followed_up = {task.id: task for task in open_tasks if task.follow_up_until is not None}

    def apply(self, decision: Decision, input_: RemoteInput, current: Task | None, now: datetime) -> None:
        """Apply an input about an attempt. *current* is the present attempt of its step."""
        if isinstance(input_, FollowUpEnded):
            self._follow_up_ended(decision, input_, now)
        elif current is not None and current.id == input_.task_id:
            self._update_task(decision, current, input_, now)
        elif isinstance(input_, Submitted) and (late := self.followed_up.get(input_.task_id)) is not None:
            self.record_job(late, input_)
            decision.record_task(late)

    def abandon_failed(self, decision: Decision, input_: AttemptFailed, task: Task, now: datetime) -> bool:
        """Follow up a job that a failed attempt may have at a provider. Return whether another attempt may start.

        None may start if the job's state is unknown, if the job can't be ended, or if the job has finished and only its
        result could not be fetched.
        """
        if task.phase is TaskPhase.REMOTE_DONE:
            return False
        task.outcome_unknown = task.remote_id is None
        self.follow_up(decision, task, now)
        return input_.timed_out and input_.endable and not task.outcome_unknown

    def cancel(self, decision: Decision, task: Task, now: datetime, *, in_process: bool) -> None:
        """Cancel an attempt. *in_process*: it works in its process, and not at a provider outside."""
        task.status, task.completed_at = TaskStatus.CANCELLED, now
        if task.sent is not None:
            self.follow_up(decision, task, now)
        elif not in_process:
            task.cancel_receipt = CancelReceipt.NEVER_STARTED
        decision.record_task(task)

    def follow_up(self, decision: Decision, task: Task, now: datetime) -> None:
        """Abandon an attempt that has, or may have, a job at a provider."""
        task.cancel_receipt, task.follow_up_until = CancelReceipt.UNKNOWN, now + _FOLLOW_UP_FOR
        self.followed_up[task.id] = task
        decision.effects.append(FollowUp(task.position, task.id))

    def _update_task(self, decision: Decision, task: Task, input_: RemoteInput, now: datetime) -> None:
        match input_:
            case SeedResolved():
                task.seed = input_.seed
                return  # stored with the request or the end, so that a seed costs no write
            case FingerprintComputed():
                task.fingerprint = input_.fingerprint
                return  # stored so, too
            case Sending():
                task.sent = input_.sent
            case OutcomeLost():
                task.outcome_unknown = True
                self._emit(decision, now, EventType.STEP_OUTCOME_UNKNOWN, task, error=input_.error)
            case Submitted():
                self.record_job(task, input_)
                kind = EventType.STEP_SUBMITTED
                self._emit(decision, now, kind, task, provider=task.provider, remote_id=input_.remote_id)
            case Progressed():
                kind, progress = EventType.STEP_PROGRESS, round(input_.progress, 3)
                self._emit(decision, now, kind, task, progress=progress, word=input_.word)
                return  # the task's row doesn't change
            case RemoteEnded():
                task.phase = TaskPhase.REMOTE_DONE
        decision.record_task(task)

    def record_job(self, task: Task, input_: Submitted) -> None:
        task.phase, task.outcome_unknown = TaskPhase.SUBMITTED, False
        task.remote_id, task.urls = input_.remote_id, input_.urls

    def _follow_up_ended(self, decision: Decision, input_: FollowUpEnded, now: datetime) -> None:
        if (task := self.followed_up.pop(input_.task_id, None)) is None:
            return
        task.cancel_receipt, task.follow_up_until = input_.receipt, None
        task.cost = input_.cost or task.cost
        decision.record_task(task)
        decision.settle(task)
        self._emit(decision, now, EventType.STEP_CANCEL_SETTLED, task, receipt=input_.receipt)

    def _emit(self, decision: Decision, now: datetime, kind: EventType, task: Task, **data: Any) -> None:
        position = task.position
        if task.item_key is not None:
            position, data = task.item_key.step, {"item": task.item_key.item, **data}
        step_id = self._resolved_steps[position].step_id
        decision.emit(self._state, now, kind, SERVICE, step_id=step_id, task_id=task.id, data=data)
