"""Every change of status there is.

                          ┌──────── resume ─────────┐
                          ▼                         │
    create ──► PENDING ──start──► RUNNING ──pause──► PAUSED
                  │                 │  │ ▲             │ nothing runs any more:
                  │                 │  │ └─ resume ──┐  ├─ all steps done ──► COMPLETED
                  │          cancel │  │             │  └─ a step failed ───► FAILED
                  └─ cancel ─┐      │  ├─ all steps COMPLETED ──► COMPLETED
                             ▼      ▼  └─ a step failed for good, and nothing runs;
                            CANCELLED     or timed out ────► FAILED ─ resume ─► RUNNING

    step     PENDING ─admitted─► RUNNING ─succeeded─► COMPLETED (for ever)
                ▲  ▲                │ ▲ └─failed─┬─ retry, fallback: RUNNING, `next_attempt_at`
                │  └─ held back ────┘ └──────────┘─ for good: FAILED ─ dependants (on_failure = continue): SKIPPED
                └──── resume ─── FAILED, SKIPPED, CANCELLED

    cleanup, from every state but RUNNING, marks the workflow deleted; PENDING and PAUSED become CANCELLED first.

"Held back": while a workflow starts nothing (PAUSED, or draining after a failure) a step between two attempts goes
back to PENDING, so that RUNNING always means an attempt under way or a timer that will start one.

A `Run` is one workflow in memory. `apply` decides and returns; it does nothing else. Inputs about an attempt that
is no longer the step's own (it was cancelled meanwhile) change nothing.
"""

from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from msgspec import UNSET

from stepwell.domain.errors import InvalidTransition
from stepwell.domain.lifecycle.decision import Decision, copied
from stepwell.domain.lifecycle.inputs import (
    SERVICE,
    Admitted,
    AttemptFailed,
    Cancel,
    Cleanup,
    Created,
    DeadlineAt,
    DeadlinePassed,
    Diverted,
    FollowUp,
    FollowUpEnded,
    GiveUp,
    Input,
    OutcomeLost,
    Pause,
    Progressed,
    RemoteEnded,
    Resume,
    RetryDue,
    Sending,
    Start,
    StartAttempt,
    Submitted,
    Succeeded,
    Update,
    WakeAt,
)
from stepwell.domain.lifecycle.remote_transitions import RemoteTransitions
from stepwell.domain.lifecycle.retry import RetryDecision, backoff_s, judge
from stepwell.domain.model import (
    EventType,
    OnFailure,
    StepState,
    StepStatus,
    Task,
    TaskPhase,
    TaskStatus,
    WorkflowStatus,
)

ALLOWED_FROM = {
    "start": (WorkflowStatus.PENDING,),
    "pause": (WorkflowStatus.RUNNING,),
    "resume": (WorkflowStatus.FAILED, WorkflowStatus.PAUSED),
    "cancel": (WorkflowStatus.PENDING, WorkflowStatus.RUNNING),
    "cleanup": tuple(s for s in WorkflowStatus if s is not WorkflowStatus.RUNNING),
    "update": tuple(WorkflowStatus),
}
_RESET_BY_RESUME = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED, StepStatus.PENDING)


class Run(RemoteTransitions):
    """One workflow in memory, and every input that it knows. For its arguments see `Transitions`."""

    def recover(self) -> Decision:
        """What a process that takes the workflow over takes up: timers, the deadline, steps that want a slot."""
        decision = self._open_decision()
        for position in sorted(self._frontier.backoff):
            if (at := self.steps[position].next_attempt_at) is not None:
                decision.effects.append(WakeAt(position, at))
        if self.state.deadline_at is not None:
            decision.effects.append(DeadlineAt(self.state.deadline_at))
        decision.effects += [FollowUp(task.position, task.id) for task in self._followed_up.values()]
        decision.ready += self._startable()
        return decision

    def apply(self, given: Input, now: datetime) -> Decision:  # noqa: C901, PLR0912 - one case an input, that is all
        """Take one input. Costs O(edges it newly decides). Raises `InvalidTransition`, and changes nothing, where a
        verb is not allowed.
        """
        decision = self._open_decision()
        # Cases are tried in this order. Every step has these two inputs, so they come first.
        match given:
            case Admitted():
                self._admitted(decision, given, now)
            case Succeeded():
                self._succeeded(decision, given, now)
            case Created():
                decision.tell(self.state, now, EventType.WORKFLOW_CREATED, given.actor)
            case Start():
                self._start(decision, given, now)
            case Pause():
                self._pause(decision, given, now)
            case Resume():
                self._resume(decision, given, now)
            case Cancel():
                self._check("cancel", "Cleanup cancels a PAUSED workflow without running anything.")
                self._cancel_all(decision, given.actor, now)
            case Cleanup():
                self._cleanup(decision, given, now)
            case Update():
                self._update(decision, given, now)
            case Diverted():
                self._diverted(decision, given, now)
            case AttemptFailed():
                self._failed(decision, given, now)
            case Sending() | OutcomeLost() | Submitted() | Progressed() | RemoteEnded() | FollowUpEnded():
                self._progress(decision, given, now)
            case RetryDue():
                self._retry_due(decision, given, now)
            case DeadlinePassed():
                self._deadline_passed(decision, now)
            case GiveUp():
                self._end_running(decision, given.reason, now)
            case _:
                assert_never(given)
        return self._close_decision(decision, now)

    # Verbs

    def _start(self, decision: Decision, given: Start, now: datetime) -> None:
        self._check("start")
        self._take(given.owner, given.execution_id)
        self.state.started_at = now
        decision.tell(self.state, now, EventType.WORKFLOW_STARTED, given.actor)
        self._set_deadline(decision, now, self.config.workflow_timeout_s)
        decision.ready += self._startable()

    def _pause(self, decision: Decision, given: Pause, now: datetime) -> None:
        self._check("pause")
        state = self.state
        state.status = WorkflowStatus.PAUSED
        if state.deadline_at is not None:
            state.timeout_left_s = max((state.deadline_at - now).total_seconds(), 0.0)
        self._set_deadline(decision, now, None)
        held = self._hold_back(decision, now)
        decision.tell(state, now, EventType.WORKFLOW_PAUSED, given.actor, data=held)
        self._settle(decision, now)

    def _resume(self, decision: Decision, given: Resume, now: datetime) -> None:
        self._check("resume")
        state = self.state
        timeout = state.timeout_left_s if state.status is WorkflowStatus.PAUSED else self.config.workflow_timeout_s
        self._take(given.owner, given.execution_id)
        state.failure = state.completed_at = state.timeout_left_s = None
        state.crashes = 0
        for step in self.steps:
            if step.status in _RESET_BY_RESUME and (
                step.status is not StepStatus.PENDING or step.error_message is not None
            ):
                step.status, step.on_fallback = StepStatus.PENDING, False
                step.provider_attempts = step.retry_count = 0
                step.started_at = step.completed_at = step.error_message = None
                decision.record(step, now)
            elif step.status is StepStatus.RUNNING and step.retry_count:
                step.retry_count, step.provider_attempts = 0, 1
                decision.record(step, now)
        self._frontier.rebuild()
        decision.tell(state, now, EventType.WORKFLOW_RESUMED, given.actor)
        self._set_deadline(decision, now, timeout)
        decision.ready += self._startable()

    def _cleanup(self, decision: Decision, given: Cleanup, now: datetime) -> None:
        if self.state.deleted_at is not None:
            return
        self._check("cleanup")
        if self.state.status in (WorkflowStatus.PENDING, WorkflowStatus.PAUSED):
            self._cancel_all(decision, given.actor, now)
        self.state.deleted_at = now
        data = {"cleanup_tasks": given.cleanup_tasks}
        decision.tell(self.state, now, EventType.WORKFLOW_CLEANED, given.actor, data=data)

    def _update(self, decision: Decision, given: Update, now: datetime) -> None:
        self._check("update")
        changed = []
        for name in ("name", "description", "webhook_url"):
            if (value := getattr(given.changes, name)) is not UNSET:
                setattr(self.state, name, value)
                changed.append(name)
        decision.tell(self.state, now, EventType.WORKFLOW_UPDATED, given.actor, data={"changed": changed})

    # Attempts

    def gives_up(self, given: AttemptFailed) -> bool:
        """Whether the step makes no more attempts at this provider once it has heard of this one."""
        step, plan = self.steps[given.position], self.plans[given.position]
        verdict = judge(plan, step, retryable=given.retryable, provider_fault=given.provider_fault)
        return verdict is not RetryDecision.RETRY

    def _admitted(self, decision: Decision, given: Admitted, now: datetime) -> None:
        position = given.position
        if position not in self._frontier.ready:
            return
        step, plan = self.steps[position], self.plans[position]
        if (task := self._frontier.running.get(position)) is None:
            if not self.starting:
                return
            provider = plan.fallback if step.on_fallback else plan.provider
            step.attempt += 1
            step.provider_attempts += 1
            step.retry_count += step.provider_attempts > 1
            task = Task(given.task_id, position, step.attempt, provider, seed=given.seed, started_at=now)
            step.status, step.task_id, step.next_attempt_at = StepStatus.RUNNING, task.id, None
            step.started_at = step.started_at or now
            decision.record(step, now, task)
            self._tell_step(decision, now, EventType.STEP_STARTED, step, attempt=step.attempt, provider=provider)
        self._frontier.open(position, task)
        decision.effects.append(StartAttempt(copied(task)))

    def _diverted(self, decision: Decision, given: Diverted, now: datetime) -> None:
        step, plan = self.steps[given.position], self.plans[given.position]
        if not self.waits(given.position) or plan.fallback is None or step.on_fallback:
            return
        step.on_fallback, step.provider_attempts = True, 0
        decision.record(step, now)
        facts = {"from": given.provider, "model": given.model, "to": plan.fallback, "reason": "breaker_open"}
        self._tell_step(decision, now, EventType.STEP_DIVERTED, step, **facts)
        decision.ready.append(given.position)

    def _succeeded(self, decision: Decision, given: Succeeded, now: datetime) -> None:
        if (task := self._close_task(given.position, given.task_id, TaskStatus.COMPLETED, now)) is None:
            return
        step = self.steps[given.position]
        task.phase, task.outputs, task.cost = TaskPhase.STORED, given.outputs, given.cost
        step.status, step.result, step.completed_at = StepStatus.COMPLETED, given.result, now
        step.error_message = step.next_attempt_at = None
        self.state.completed_steps += 1
        self.state.crashes = 0
        decision.record(step, now, task)
        self._tell_step(decision, now, EventType.STEP_COMPLETED, step)
        newly = self._frontier.complete(step.position)
        if self.starting:
            decision.ready += newly
        self._settle(decision, now)

    def _failed(self, decision: Decision, given: AttemptFailed, now: datetime) -> None:
        if (task := self._close_task(given.position, given.task_id, TaskStatus.FAILED, now)) is None:
            return
        step, plan = self.steps[given.position], self.plans[given.position]
        task.error, task.cost = given.error, given.cost
        step.error_message = given.error
        verdict = judge(plan, step, retryable=given.retryable, provider_fault=given.provider_fault)
        left_early = task.sent is not None and (given.timed_out or given.broken)
        if left_early and not self._given_up(decision, given, task, now):
            verdict = RetryDecision.FAIL
        if verdict is RetryDecision.FAIL:
            step.status, step.completed_at = StepStatus.FAILED, now
            self._frontier.failures += 1
            decision.record(step, now, task)
            held = {} if self.starting else self._hold_back(decision, now)
            self._tell_step(decision, now, EventType.STEP_FAILED, step, error=given.error, **held)
            if self.config.on_failure is OnFailure.CANCEL:
                self._cancel_running(decision, SERVICE, now)
            elif self.config.on_failure is OnFailure.CONTINUE:
                self._skip_dependants(decision, step.position, now)
        else:
            delay = backoff_s(self.config.retry, step.provider_attempts, given.jitter, given.retry_after_s)
            if verdict is RetryDecision.FALLBACK:
                step.on_fallback, step.provider_attempts, delay = True, 0, 0.0
            self._try_again(decision, step, task, now, now + timedelta(seconds=delay))
        self._settle(decision, now)

    def _try_again(self, decision: Decision, step: StepState, task: Task, now: datetime, at: datetime) -> None:
        """Another attempt follows: at its time or, where nothing may start, after resume."""
        facts: dict[str, Any] = {"attempt": step.attempt, "error": step.error_message}
        if self.starting:
            step.next_attempt_at = facts["next_attempt_at"] = at
            self._frontier.backoff.add(step.position)
            decision.effects.append(WakeAt(step.position, at))
        else:
            step.status, facts["held_back"] = StepStatus.PENDING, True
            self._frontier.ready.add(step.position)
        decision.record(step, now, task)
        self._tell_step(decision, now, EventType.STEP_RETRYING, step, **facts)

    def _retry_due(self, decision: Decision, given: RetryDue, now: datetime) -> None:
        position = given.position
        if position in self._frontier.ready or position not in self._frontier.backoff:
            return
        if (at := self.steps[position].next_attempt_at) is not None and now < at:
            decision.effects.append(WakeAt(position, at))  # a timer's clock may be a little fast
        else:
            self._frontier.ready.add(position)
            decision.ready.append(position)

    def _deadline_passed(self, decision: Decision, now: datetime) -> None:
        at = self.state.deadline_at
        if at is not None and now < at:
            decision.effects.append(DeadlineAt(at))
        elif at is not None:
            limit = f"{self.config.workflow_timeout_s:.12g}"
            self._end_running(decision, f"workflow: timed out after {limit} s", now)

    def _startable(self) -> list[int]:
        return self._frontier.startable(starting=self.starting)

    def _check(self, verb: str, hint: str = "") -> None:
        status, allowed = self.state.status, ALLOWED_FROM[verb]
        if self.state.deleted_at is not None:
            raise InvalidTransition(verb, status, allowed, deleted=True)
        if status not in allowed:
            raise InvalidTransition(verb, status, allowed, hint if status is WorkflowStatus.PAUSED else "")

    def _take(self, owner: UUID, execution_id: UUID) -> None:
        if self.state.owner != owner:
            self.state.epoch += 1
        self.state.owner, self.state.execution_id = owner, execution_id
        self.state.status = WorkflowStatus.RUNNING
