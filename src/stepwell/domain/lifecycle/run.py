"""The state machine of a workflow: every change of status that a workflow, a step or a task can make.

    workflow
                          ┌──────── resume ─────────┐
                          ▼                         │
    create ──► PENDING ──start──► RUNNING ──pause──► PAUSED
                  │                 │  │ ▲             │ no step runs any more:
                  │                 │  │ └─ resume ──┐  ├─ all steps COMPLETED ──► COMPLETED
                  │          cancel │  │             │  └─ a step FAILED ───────► FAILED
                  └─ cancel ─┐      │  ├─ all steps COMPLETED ──► COMPLETED
                             ▼      ▼  └─ a step FAILED and no step runs;
                            CANCELLED     or timed out ────► FAILED ─ resume ─► RUNNING

    step     PENDING ─admitted─► RUNNING ─succeeded─► COMPLETED (never runs again)
                ▲  ▲                │ ▲ └─failed─┬─ retry, fallback: RUNNING, `next_attempt_at`
                │  └─ held back ────┘ └──────────┘─ for good: FAILED ─ dependants (on_failure = continue): SKIPPED
                └──── resume ─── FAILED, SKIPPED, CANCELLED

    task     INTENT ──► INTENT, sent ──┬──► SUBMITTED ──► REMOTE_DONE ──► STORED (the step is COMPLETED)
                                       └──► outcome_unknown ──► SUBMITTED, or the task FAILED

Cleanup marks the workflow deleted. It is allowed in every status except RUNNING; PENDING and PAUSED become CANCELLED
first.

Held back: while a workflow starts nothing (PAUSED, or draining after a failure), a step between two attempts goes back
to PENDING. So RUNNING always means that an attempt runs or that a timer will start one.

Followed up: an attempt was abandoned (cancelled or timed out) after a request had been sent to a provider. The engine
ends the job there, and the task's `cancel_receipt` says what came of that. Until the job's end is seen, the receipt is
`unknown` and the workflow needs a process, whatever its status.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from msgspec import UNSET

from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import (
    CancelReceipt,
    EventType,
    OnFailure,
    StepStatus,
    TaskPhase,
    TaskStatus,
    WorkflowStatus,
)
from stepwell.domain.errors import InvalidTransition
from stepwell.domain.lifecycle.decision import Decision, copy_of
from stepwell.domain.lifecycle.effects import CancelAttempt, DeadlineAt, FollowUp, StartAttempt, WakeAt
from stepwell.domain.lifecycle.inputs import (
    SERVICE,
    Admitted,
    AttemptFailed,
    Cancel,
    Cleanup,
    Created,
    DeadlinePassed,
    Diverted,
    FollowUpEnded,
    GiveUp,
    Input,
    OutcomeLost,
    Pause,
    Progressed,
    RemoteEnded,
    RemoteInput,
    Resume,
    RetryDue,
    Sending,
    Start,
    Submitted,
    Succeeded,
    Update,
)
from stepwell.domain.lifecycle.retry import RetryDecision, backoff_s, decide_retry
from stepwell.domain.lifecycle.step_tracker import StepTracker
from stepwell.domain.model import StepState, Task, WorkflowState
from stepwell.domain.steps import ResolvedStep
from stepwell.domain.webhooks.delivery import deliveries

ALLOWED_FROM = {
    "start": (WorkflowStatus.PENDING,),
    "pause": (WorkflowStatus.RUNNING,),
    "resume": (WorkflowStatus.FAILED, WorkflowStatus.PAUSED),
    "cancel": (WorkflowStatus.PENDING, WorkflowStatus.RUNNING),
    "cleanup": tuple(s for s in WorkflowStatus if s is not WorkflowStatus.RUNNING),
    "update": tuple(WorkflowStatus),
}
_RESET_BY_RESUME = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED, StepStatus.PENDING)
# How long Stepwell waits for the end of a job whose result nobody needs any more.
_FOLLOW_UP_FOR = timedelta(hours=1)


class Run:
    """One workflow in memory.

    `apply` takes one input, changes the state and returns a `Decision`; it does no I/O. An input about an attempt
    that is no longer the step's current one (a cancel came first) changes nothing.

    *steps* and *plans* are in the order of the definition. *open_tasks* are the attempts of RUNNING steps, and those
    that are followed up. *sources* lists for each step the positions that its mappings read from. *in_process* are the
    positions whose open attempt worked in its process.
    """

    def __init__(
        self,
        state: WorkflowState,
        config: WorkflowConfig,
        plans: Sequence[ResolvedStep],
        steps: Sequence[StepState],
        open_tasks: Sequence[Task] = (),
        sources: Sequence[Sequence[int]] | None = None,
        in_process: Collection[int] = (),
        *,
        suppress_subtask_events: bool = True,
        tenant: str | None = None,
    ) -> None:
        self.state, self.config, self.plans, self.steps = state, config, plans, steps
        self._tells_steps, self._tenant = not suppress_subtask_events, tenant
        self._followed_up = {task.id: task for task in open_tasks if task.follow_up_until is not None}
        under_way = [task for task in open_tasks if task.follow_up_until is None]
        self._frontier = StepTracker(plans, steps, under_way, sources or [()] * len(steps), in_process)

    @property
    def starting(self) -> bool:
        """Whether new steps may start."""
        draining = self._frontier.failures and self.config.on_failure is not OnFailure.CONTINUE
        return self.state.status is WorkflowStatus.RUNNING and not draining

    @property
    def active(self) -> bool:
        """Whether it needs a process at all."""
        return self.state.status is WorkflowStatus.RUNNING or bool(self._frontier.running or self._followed_up)

    def under_way(self, position: int) -> bool:
        """Whether the step has an attempt, in this process or begun by an earlier one."""
        return position in self._frontier.running

    def open_task(self, position: int) -> Task | None:
        """The step's attempt that is under way."""
        return self._frontier.running.get(position)

    def wants_slot(self, position: int) -> bool:
        """Return whether the step would start an attempt if it got a slot, or continue one of an earlier process."""
        return position in self._frontier.ready and (self.starting or self.under_way(position))

    def waits(self, position: int) -> bool:
        """Whether the step wants a slot for an attempt that has not begun."""
        return self.starting and position in self._frontier.ready and not self.under_way(position)

    def gives_up(self, given: AttemptFailed) -> bool:
        """Whether the step makes no more attempts at this provider once it has heard of this one."""
        step, plan = self.steps[given.position], self.plans[given.position]
        verdict = decide_retry(plan, step, retryable=given.retryable, provider_fault=given.provider_fault)
        return verdict is not RetryDecision.RETRY

    def orphans(self) -> list[int]:
        """Positions whose attempt, begun by an earlier process, waits to be taken up again."""
        return self._frontier.orphans()

    def followed_up(self, task_id: UUID) -> Task | None:
        """The task, while what has become of its job is not known for good."""
        return self._followed_up.get(task_id)

    def open_tasks(self) -> list[Task]:
        """Copies of the attempts that are under way, and of those that are followed up."""
        return [copy_of(task) for task in (*self._frontier.running.values(), *self._followed_up.values())]

    def wanted_results(self) -> list[int]:
        """Positions of COMPLETED steps whose stored result must be put into `steps` before it runs."""
        return self._frontier.results_to_load()

    def pending_work(self) -> Decision:
        """What a process that takes the workflow over takes up: timers, the deadline, steps that want a slot."""
        decision = Decision.of(self.state)
        for position in sorted(self._frontier.backoff):
            if (at := self.steps[position].next_attempt_at) is not None:
                decision.effects.append(WakeAt(position, at))
        if self.state.deadline_at is not None:
            decision.effects.append(DeadlineAt(self.state.deadline_at))
        decision.effects += [FollowUp(task.position, task.id) for task in self._followed_up.values()]
        decision.ready += self._frontier.startable(starting=self.starting)
        return decision

    def apply(self, given: Input, now: datetime) -> Decision:  # noqa: C901, PLR0912 - one case an input, that is all
        """Take one input and return what it changes. Costs O(edges that it newly decides).

        A verb that is not allowed in the present status raises `InvalidTransition` and changes nothing.
        """
        decision = Decision.of(self.state)
        # Cases are tried in this order. Every step has these two inputs, so they come first.
        match given:
            case Admitted():
                self._admitted(decision, given, now)
            case Succeeded():
                self._succeeded(decision, given, now)
            case Created():
                decision.emit(self.state, now, EventType.WORKFLOW_CREATED, given.actor)
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
        decision.emit(self.state, now, EventType.WORKFLOW_STARTED, given.actor)
        self._set_deadline(decision, now, self.config.workflow_timeout_s)
        decision.ready += self._frontier.startable(starting=self.starting)

    def _pause(self, decision: Decision, given: Pause, now: datetime) -> None:
        self._check("pause")
        state = self.state
        state.status = WorkflowStatus.PAUSED
        if state.deadline_at is not None:
            state.timeout_left_s = max((state.deadline_at - now).total_seconds(), 0.0)
        self._set_deadline(decision, now, None)
        held = self._hold_back(decision, now)
        decision.emit(state, now, EventType.WORKFLOW_PAUSED, given.actor, data=held)
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
        decision.emit(state, now, EventType.WORKFLOW_RESUMED, given.actor)
        self._set_deadline(decision, now, timeout)
        decision.ready += self._frontier.startable(starting=self.starting)

    def _cleanup(self, decision: Decision, given: Cleanup, now: datetime) -> None:
        if self.state.deleted_at is not None:
            return
        self._check("cleanup")
        if self.state.status in (WorkflowStatus.PENDING, WorkflowStatus.PAUSED):
            self._cancel_all(decision, given.actor, now)
        self.state.deleted_at = now
        data = {"cleanup_tasks": given.cleanup_tasks}
        decision.emit(self.state, now, EventType.WORKFLOW_CLEANED, given.actor, data=data)

    def _update(self, decision: Decision, given: Update, now: datetime) -> None:
        self._check("update")
        changed = []
        for name in ("name", "description", "webhook_url"):
            if (value := getattr(given.changes, name)) is not UNSET:
                setattr(self.state, name, value)
                changed.append(name)
        decision.emit(self.state, now, EventType.WORKFLOW_UPDATED, given.actor, data={"changed": changed})

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

    # Attempts

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
        self._frontier.attach(position, task, in_process=given.in_process)
        decision.effects.append(StartAttempt(copy_of(task)))

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
        verdict = decide_retry(plan, step, retryable=given.retryable, provider_fault=given.provider_fault)
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

    def _close_task(self, position: int, task_id: UUID, status: TaskStatus, now: datetime) -> Task | None:
        """The step's own attempt, ended; None if the input tells of another, which a cancel has overtaken."""
        task = self._frontier.running.get(position)
        if task is None or task.id != task_id:
            return None
        self._frontier.end(position)
        task.status, task.completed_at = status, now
        return task

    # Attempts whose work is done at a provider

    def _progress(self, decision: Decision, given: RemoteInput, now: datetime) -> None:
        if isinstance(given, FollowUpEnded):
            self._settled(decision, given, now)
        elif (task := self._frontier.running.get(given.position)) is not None and task.id == given.task_id:
            self._advance(decision, task, given, now)
        elif isinstance(given, Submitted) and (late := self._followed_up.get(given.task_id)) is not None:
            self._note_job(late, given)
            decision.record_task(late)

    def _advance(self, decision: Decision, task: Task, given: RemoteInput, now: datetime) -> None:
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

    def _note_job(self, task: Task, given: Submitted) -> None:
        task.phase, task.outcome_unknown = TaskPhase.SUBMITTED, False
        task.remote_id, task.urls = given.remote_id, given.urls

    def _given_up(self, decision: Decision, given: AttemptFailed, task: Task, now: datetime) -> bool:
        """What of a failed attempt goes on elsewhere is ended there. Whether another may start all the same: not where
        nobody knows what goes on, or it can't be ended, nor where the work is done and only its result isn't here.
        """
        if task.phase is TaskPhase.REMOTE_DONE:
            return False
        task.outcome_unknown = task.remote_id is None
        self._follow_up(decision, task, now)
        return given.timed_out and given.endable and not task.outcome_unknown

    def _follow_up(self, decision: Decision, task: Task, now: datetime) -> None:
        """The attempt is given up, with a job at a provider, or perhaps with one."""
        task.cancel_receipt, task.follow_up_until = CancelReceipt.UNKNOWN, now + _FOLLOW_UP_FOR
        self._followed_up[task.id] = task
        decision.effects.append(FollowUp(task.position, task.id))

    def _settled(self, decision: Decision, given: FollowUpEnded, now: datetime) -> None:
        if (task := self._followed_up.pop(given.task_id, None)) is None:
            return
        task.cancel_receipt, task.follow_up_until = given.receipt, None
        task.cost = given.cost or task.cost
        decision.record_task(task)
        decision.emit(
            self.state,
            now,
            EventType.STEP_CANCEL_SETTLED,
            SERVICE,
            step_id=self.plans[task.position].step_id,
            task_id=task.id,
            data={"receipt": given.receipt},
        )

    # How a workflow ends

    def _settle(self, decision: Decision, now: datetime) -> None:
        """Turn the status where nothing is left to wait for."""
        left = len(self.steps) - self.state.completed_steps
        if not left:
            self._finish(decision, WorkflowStatus.COMPLETED, EventType.WORKFLOW_COMPLETED, SERVICE, now)
        elif self._frontier.failures and not self._frontier.running:
            all_decided = left == self._frontier.failures + self._frontier.skipped
            if all_decided or not self.starting:
                self._finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    def _finish(self, decision: Decision, status: WorkflowStatus, kind: EventType, actor: str, now: datetime) -> None:
        state = self.state
        state.status, state.completed_at, state.timeout_left_s = status, now, None
        self._set_deadline(decision, now, None)
        reason = {"reason": state.failure} if state.failure else {}
        decision.emit(state, now, kind, actor, data=reason)

    def _deadline_passed(self, decision: Decision, now: datetime) -> None:
        at = self.state.deadline_at
        if at is not None and now < at:
            decision.effects.append(DeadlineAt(at))
        elif at is not None:
            limit = f"{self.config.workflow_timeout_s:.12g}"
            self._end_running(decision, f"workflow: timed out after {limit} s", now)

    def _end_running(self, decision: Decision, reason: str, now: datetime) -> None:
        """FAILED for a reason that is no step's; what has ended already stays as it is."""
        if self.state.status is not WorkflowStatus.RUNNING and not self._frontier.running:
            return
        self.state.failure = reason
        self._cancel_running(decision, SERVICE, now)
        for position in sorted(self._frontier.backoff):
            self._frontier.ready.discard(position)
            self._cancel_step(decision, self.steps[position], SERVICE, now)
        self._frontier.backoff.clear()
        self._finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    def _cancel_all(self, decision: Decision, actor: str, now: datetime) -> None:
        self._cancel_running(decision, actor, now)
        for step in self.steps:
            if step.status not in (StepStatus.COMPLETED, StepStatus.CANCELLED):
                self._cancel_step(decision, step, actor, now)
        self._frontier.rebuild()
        self._finish(decision, WorkflowStatus.CANCELLED, EventType.WORKFLOW_CANCELLED, actor, now)

    def _cancel_running(self, decision: Decision, actor: str, now: datetime) -> None:
        for position, task in sorted(self._frontier.running.items()):
            if position in self._frontier.attached:
                decision.effects.append(CancelAttempt(position, task.id))
            task.status, task.completed_at = TaskStatus.CANCELLED, now
            if task.sent is not None:
                self._follow_up(decision, task, now)
            elif position not in self._frontier.in_process:
                task.cancel_receipt = CancelReceipt.NEVER_STARTED
            decision.record_task(task)
            self._frontier.end(position)
            self._cancel_step(decision, self.steps[position], actor, now)

    # What these are made of

    def _cancel_step(self, decision: Decision, step: StepState, actor: str, now: datetime) -> None:
        step.status, step.next_attempt_at, step.completed_at = StepStatus.CANCELLED, None, now
        decision.record(step, now)
        self._tell_step(decision, now, EventType.STEP_CANCELLED, step, actor=actor)

    def _hold_back(self, decision: Decision, now: datetime) -> dict[str, Any]:
        """What the event that tells of it says."""
        held = sorted(self._frontier.backoff)
        for position in held:
            self.steps[position].status, self.steps[position].next_attempt_at = StepStatus.PENDING, None
            decision.record(self.steps[position], now)
        self._frontier.ready.update(held)
        self._frontier.backoff.clear()
        return {"held_back": [self.plans[position].step_id for position in held]} if held else {}

    def _skip_dependants(self, decision: Decision, position: int, now: datetime) -> None:
        stack = list(self._frontier.dependants(position))
        while stack:
            step = self.steps[stack.pop()]
            if step.status is StepStatus.PENDING:
                step.status, step.completed_at = StepStatus.SKIPPED, now
                self._frontier.skipped += 1
                decision.record(step, now)
                self._tell_step(decision, now, EventType.STEP_SKIPPED, step)
                stack += self._frontier.dependants(step.position)

    def _set_deadline(self, decision: Decision, now: datetime, seconds: float | None) -> None:
        at = None if seconds is None else now + timedelta(seconds=seconds)
        if at != self.state.deadline_at:
            self.state.deadline_at = at
            decision.effects.append(DeadlineAt(at))

    def _tell_step(
        self,
        decision: Decision,
        now: datetime,
        kind: EventType,
        step: StepState,
        actor: str = SERVICE,
        **data: Any,
    ) -> None:
        step_id = self.plans[step.position].step_id
        decision.emit(self.state, now, kind, actor, step_id=step_id, task_id=step.task_id, data=data)

    def _close_decision(self, decision: Decision, now: datetime) -> Decision:
        if decision.has_rows:
            self.state.updated_at = now
            if not self.active:
                self.state.owner = None
            decision.workflow = copy_of(self.state)
            if self.state.webhook_url is not None:
                decision.deliveries = deliveries(
                    decision.events, self.state.webhook_url, self._tenant, steps=self._tells_steps
                )
        return decision
