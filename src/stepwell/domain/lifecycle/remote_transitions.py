"""The transitions of an attempt whose work is done elsewhere: what is committed before and after it leaves, and what
becomes of it when nobody waits for it any more.

    INTENT ──► INTENT, sent ──┬──► SUBMITTED ──► REMOTE_DONE ──► STORED (the step is COMPLETED)
                              └──► outcome_unknown ──► SUBMITTED, or the attempt FAILED

An attempt that was given up (cancelled, or its time was up) after something had left for a provider is followed up:
the job is ended there, and the task's `cancel_receipt` says what came of that. It is `unknown` until the job's end is
seen. While it is, the workflow needs a process, whatever its status.
"""

from datetime import datetime
from uuid import UUID

from stepwell.domain.lifecycle.decision import Decision
from stepwell.domain.lifecycle.inputs import (
    SERVICE,
    AttemptFailed,
    FollowUpEnded,
    OutcomeLost,
    Progress,
    Progressed,
    RemoteEnded,
    Sending,
    Submitted,
)
from stepwell.domain.lifecycle.transitions import Transitions
from stepwell.domain.model import EventType, Task, TaskPhase


class RemoteTransitions(Transitions):
    """A workflow in memory, and what its attempts have elsewhere."""

    def followed_up(self, task_id: UUID) -> Task | None:
        """The task, while what has become of its job is not known for good."""
        return self._followed_up.get(task_id)

    def _progress(self, decision: Decision, given: Progress, now: datetime) -> None:
        if isinstance(given, FollowUpEnded):
            self._settled(decision, given, now)
        elif (task := self._frontier.running.get(given.position)) is not None and task.id == given.task_id:
            self._advance(decision, task, given, now)
        elif isinstance(given, Submitted) and (late := self._followed_up.get(given.task_id)) is not None:
            self._note_job(late, given)
            decision.record_task(late)

    def _advance(self, decision: Decision, task: Task, given: Progress, now: datetime) -> None:
        step = self.steps[given.position]
        match given:
            case Sending():
                task.sent = given.sent
            case OutcomeLost():
                task.outcome_unknown = True
                self._tell_step(decision, now, EventType.STEP_OUTCOME_UNKNOWN, step, error=given.error)
            case Submitted():
                self._note_job(task, given)
                told = EventType.STEP_SUBMITTED
                self._tell_step(decision, now, told, step, provider=task.provider, remote_id=given.remote_id)
            case Progressed():
                told, share = EventType.STEP_PROGRESS, round(given.share, 3)
                self._tell_step(decision, now, told, step, progress=share, word=given.word)
                return  # the task's row doesn't change
            case RemoteEnded():
                task.phase = TaskPhase.REMOTE_DONE
        decision.record_task(task)

    def _given_up(self, decision: Decision, given: AttemptFailed, task: Task, now: datetime) -> bool:
        """What of a failed attempt goes on elsewhere is ended there. Whether another may start all the same: not where
        nobody knows what goes on, or it can't be ended, nor where the work is done and only its result isn't here.
        """
        if task.phase is TaskPhase.REMOTE_DONE:
            return False
        task.outcome_unknown = task.remote_id is None
        self._follow_up(decision, task, now)
        return given.timed_out and given.endable and not task.outcome_unknown

    def _note_job(self, task: Task, given: Submitted) -> None:
        task.phase, task.outcome_unknown = TaskPhase.SUBMITTED, False
        task.remote_id, task.urls = given.remote_id, given.urls

    def _settled(self, decision: Decision, given: FollowUpEnded, now: datetime) -> None:
        if (task := self._followed_up.pop(given.task_id, None)) is None:
            return
        task.cancel_receipt, task.follow_up_until = given.receipt, None
        task.cost = given.cost or task.cost
        decision.record_task(task)
        decision.tell(
            self.state,
            now,
            EventType.STEP_CANCEL_SETTLED,
            SERVICE,
            step_id=self.plans[task.position].step_id,
            task_id=task.id,
            data={"receipt": given.receipt},
        )
