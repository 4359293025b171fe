"""The state machine of a workflow. The package describes its states."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import asdict

from stepwell.basics.errors import NotWaiting
from stepwell.contract.enums import (
    EventType,
    OnFailure,
    ProviderType,
    RunIf,
    SkipReason,
    StepStatus,
    TaskPhase,
    TaskStatus,
    WorkflowStatus,
)
from stepwell.lifecycle.allowed_verbs import check_allowed
from stepwell.lifecycle.decision import CleanupChange, Decision, copy_of
from stepwell.lifecycle.effects import CancelAttempt, DeadlineAt, FollowUp, StartAttempt, WakeAt
from stepwell.lifecycle.inputs import (
    SERVICE,
    Admitted,
    AttemptFailed,
    Cancel,
    Cleanup,
    Created,
    DeadlinePassed,
    Decide,
    Diverted,
    FilesDeleted,
    FlowInput,
    GiveUp,
    Input,
    Pause,
    RemoteInput,
    Resume,
    RetryDue,
    Signal,
    Start,
    Succeeded,
    TrialBegun,
    Update,
)
from stepwell.lifecycle.kept_results import KeptResults
from stepwell.lifecycle.model import StepState, Task
from stepwell.lifecycle.output_budget import OutputBudget
from stepwell.lifecycle.remote_transitions import RemoteTransitions
from stepwell.lifecycle.resume import kept_steps, report_of_kept, reset
from stepwell.lifecycle.retry import RetryDecision, backoff_s, decide_retry
from stepwell.lifecycle.run_if import skip_reason
from stepwell.lifecycle.step_tracker import StepTracker
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.lifecycle.webhook_deliveries import deliveries

# Hot path: an attribute of an enum costs 0.1 µs in Python 3.11.
_RUNNING, _CONTINUE, _ALL_COMPLETED = WorkflowStatus.RUNNING, OnFailure.CONTINUE, RunIf.ALL_COMPLETED
_STEP_RUNNING, _STEP_COMPLETED = StepStatus.RUNNING, StepStatus.COMPLETED
_TASK_COMPLETED, _TASK_STORED = TaskStatus.COMPLETED, TaskPhase.STORED
_STEP_STARTED, _COMPLETED_EVENT = EventType.STEP_STARTED, EventType.STEP_COMPLETED


class Run:
    """One workflow in memory.

    `apply` takes one input, changes the state and returns a `Decision`; it does no I/O. An input about an attempt
    that is no longer the step's current one (a cancel came first) changes nothing.

    `units` are all that can have an attempt, by position: here the steps, in an `ItemRun` also the items.
    """

    def __init__(self, stored: StoredRun) -> None:
        state, plans, steps, open_tasks = stored.state, stored.plans, stored.steps, stored.open_tasks
        self.state, self.config, self.plans, self.steps = state, stored.config, plans, steps
        self.unit_plans: Sequence[ResolvedStep] | Mapping[int, ResolvedStep] = plans
        self.units: Sequence[StepState] | Mapping[int, StepState] = steps
        self.output_budget = OutputBudget(stored.result_bytes, (step.error_message for step in steps))
        self._step_webhooks, self._tenant = not stored.suppress_subtask_events, stored.tenant
        self._remote = RemoteTransitions(state, plans, open_tasks)
        running = [task for task in open_tasks if task.follow_up_until is None]
        sources = stored.sources or [()] * len(steps)
        self._tracker = StepTracker(plans, steps, running, sources, stored.in_process, self.config.on_failure)

    @property
    def may_start(self) -> bool:
        """True if new attempts may start."""
        state = self.state  # hot path, as in `active`: a property for the condition would cost a call
        if state.status is not _RUNNING or state.owner is None:
            return False
        return not self._tracker.failures or self.config.on_failure is _CONTINUE

    @property
    def _will_start(self) -> bool:
        """True if new attempts may start as soon as the workflow has an owner. One that is parked has none."""
        stopped = self._tracker.failures and self.config.on_failure is not OnFailure.CONTINUE
        return self.state.status is WorkflowStatus.RUNNING and not stopped

    @property
    def active(self) -> bool:
        """True if the workflow needs a process."""
        state = self.state
        runs = state.status is _RUNNING and state.owner is not None
        return runs or bool(self._tracker.running or self._remote.followed_up)

    def has_attempt(self, position: int) -> bool:
        """Return whether the step has an attempt, of this process or of an earlier one."""
        return position in self._tracker.running

    def open_task(self, position: int) -> Task | None:
        """Return the step's present attempt, or None."""
        return self._tracker.running.get(position)

    def wants_slot(self, position: int) -> bool:
        """Return whether the step would start an attempt if it got a slot, or continue one of an earlier process."""
        return position in self._tracker.ready and (self.may_start or self.has_attempt(position))

    def wants_new_attempt(self, position: int) -> bool:
        """Return whether the step would start a new attempt if it got a slot."""
        return self.may_start and position in self._tracker.ready and not self.has_attempt(position)

    def is_last_attempt(self, input_: AttemptFailed) -> bool:
        """Return whether the step makes no further attempt at this provider after this failure."""
        step, plan = self.units[input_.position], self.unit_plans[input_.position]
        retry_decision = decide_retry(plan, step, retryable=input_.retryable, provider_fault=input_.provider_fault)
        return retry_decision is not RetryDecision.RETRY

    def orphans(self) -> list[int]:
        """Return the positions of steps whose attempt an earlier process began and this one has yet to continue."""
        return self._tracker.orphans()

    def followed_up_task(self, task_id: UUID) -> Task | None:
        """Return the task if it is followed up, otherwise None."""
        return self._remote.followed_up.get(task_id)

    def open_tasks(self) -> list[Task]:
        """Return copies of the present attempts, and of those that are followed up."""
        return [copy_of(task) for task in (*self._tracker.running.values(), *self._remote.followed_up.values())]

    @property
    def kept_results(self) -> KeptResults:
        return self._tracker.kept_results

    def pending_work(self) -> Decision:
        """Return the decision with which a process starts to run the workflow. It has no rows.

        Its effects set the timers and begin the follow-ups. `ready` has the steps that want a slot.
        """
        decision = Decision.of(self.state)
        for position in sorted(self._tracker.backoff):
            if (at := self.units[position].next_attempt_at) is not None:
                decision.effects.append(WakeAt(position, at))
        if self.state.deadline_at is not None:
            decision.effects.append(DeadlineAt(self.state.deadline_at))
        decision.effects += [FollowUp(task.position, task.id) for task in self._remote.followed_up.values()]
        decision.ready += self._tracker.startable(starting=self.may_start)
        return decision

    def apply(self, input_: Input, now: datetime) -> Decision:  # noqa: C901, PLR0912 - one case for each input
        """Apply one input, and return the changes. Costs O(edges that it newly decides).

        A verb that is not allowed in the present status raises `InvalidTransition` and changes nothing.
        """
        decision = Decision.of(self.state)
        # Cases are tried in this order. Every step has these two inputs, so they come first.
        match input_:
            case Admitted():
                self._admitted(decision, input_, now)
            case Succeeded():
                self._succeeded(decision, input_, now)
            case Created():
                decision.emit(self.state, now, EventType.WORKFLOW_CREATED, input_.actor)
            case Start():
                self._start(decision, input_, now)
            case Pause():
                self._pause(decision, input_, now)
            case Resume():
                self._resume(decision, input_, now)
            case Cancel():
                check_allowed("cancel", self.state, "Cleanup cancels a PAUSED workflow without running anything.")
                self._cancel_all(decision, input_.actor, now)
            case Cleanup():
                self._cleanup(decision, input_, now)
            case FilesDeleted():
                decision.emit(self.state, now, EventType.WORKFLOW_FILES_DELETED, SERVICE, data=asdict(input_))
                decision.cleanup = CleanupChange.ENDED
            case Update():
                self._update(decision, input_, now)
            case Diverted():
                self._diverted(decision, input_, now)
            case AttemptFailed():
                self._failed(decision, input_, now)
            case _ if isinstance(input_, RemoteInput):
                self._remote_input(decision, input_, now)
            case RetryDue():
                self._retry_due(decision, input_, now)
            case DeadlinePassed():
                self._deadline_passed(decision, now)
            case TrialBegun():
                self.state.crashes, decision.parking_changes = input_.deaths, True
            case GiveUp(_, True) if self.state.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED):
                self._cancel_all(decision, SERVICE, now)
            case GiveUp():
                self._fail_workflow(decision, input_.reason, now)
            case _:
                self._flow_input(decision, input_, now)
        return self._close_decision(decision, now)

    def _flow_input(self, decision: Decision, input_: FlowInput, now: datetime) -> None:  # noqa: ARG002 - of `FlowRun`
        """Apply an input about waits and conditions. No step has any here: see `FlowRun`."""
        if isinstance(input_, Decide | Signal):
            check_allowed("decide" if isinstance(input_, Decide) else "signal", self.state)
            raise NotWaiting("No step of the workflow waits for that.")

    # Verbs

    def _start(self, decision: Decision, input_: Start, now: datetime) -> None:
        check_allowed("start", self.state)
        self._take_ownership(input_.owner, input_.execution_id)
        self.state.started_at = now
        decision.emit(self.state, now, EventType.WORKFLOW_STARTED, input_.actor)
        self._set_deadline(decision, now, self.config.workflow_timeout_s)
        decision.ready += self._tracker.startable(starting=self.may_start)

    def _pause(self, decision: Decision, input_: Pause, now: datetime) -> None:
        check_allowed("pause", self.state)
        state = self.state
        state.status = WorkflowStatus.PAUSED
        if state.deadline_at is not None:
            state.timeout_left_s = max((state.deadline_at - now).total_seconds(), 0.0)
        self._set_deadline(decision, now, None)
        held = self._hold_back(decision, now)
        decision.emit(state, now, EventType.WORKFLOW_PAUSED, input_.actor, data=held)
        self._finish_if_done(decision, now)

    def _resume(self, decision: Decision, input_: Resume, now: datetime) -> None:
        check_allowed("resume", self.state)
        state = self.state
        from_paused = state.status is WorkflowStatus.PAUSED
        timeout = state.timeout_left_s if from_paused else self.config.workflow_timeout_s
        self._take_ownership(input_.owner, input_.execution_id)
        state.failure = state.completed_at = state.timeout_left_s = None
        kept = self._reset(decision, now, from_paused=from_paused)
        self._rebuild()
        decision.emit(state, now, EventType.WORKFLOW_RESUMED, input_.actor, data=kept)
        self._set_deadline(decision, now, timeout)
        decision.ready += self._tracker.startable(starting=self.may_start)

    def _reset(self, decision: Decision, now: datetime, *, from_paused: bool) -> dict[str, Any]:
        """Put the steps that resume runs again back to PENDING, and renew the retry budget of the others.

        Return the data of the event that reports it: the ids of the steps that stay as they are.
        """
        tracker, kept = self._tracker, set[int]()
        if tracker.skipped or tracker.tolerated:
            kept = kept_steps(self.plans, self.steps, tracker.dependants, from_paused=from_paused)
        for step in self.steps:
            if step.position not in kept and reset(step):
                decision.record(step, now)
        return report_of_kept(self.plans, self.steps, kept)

    def _cleanup(self, decision: Decision, input_: Cleanup, now: datetime) -> None:
        if self.state.deleted_at is not None:
            return
        check_allowed("cleanup", self.state)
        if self.state.status in (WorkflowStatus.PENDING, WorkflowStatus.PAUSED):
            self._cancel_all(decision, input_.actor, now)
        self.state.deleted_at = now
        data = {"cleanup_tasks": input_.cleanup_tasks}
        decision.emit(self.state, now, EventType.WORKFLOW_CLEANED, input_.actor, data=data)
        if input_.cleanup_tasks:
            decision.cleanup = CleanupChange.BEGUN

    def _update(self, decision: Decision, input_: Update, now: datetime) -> None:
        check_allowed("update", self.state)
        changed = []
        for name in ("name", "description", "webhook_url", "labels"):
            if (value := getattr(input_.changes, name)) is not UNSET:
                setattr(decision if name == "labels" else self.state, name, value)
                changed.append(name)
        decision.emit(self.state, now, EventType.WORKFLOW_UPDATED, input_.actor, data={"changed": changed})

    def _take_ownership(self, owner: UUID | None, execution_id: UUID) -> None:
        if owner not in (None, self.state.owner):
            self.state.owner, self.state.epoch = owner, self.state.epoch + 1
        self.state.execution_id, self.state.status = execution_id, WorkflowStatus.RUNNING

    # Attempts

    def _admitted(self, decision: Decision, input_: Admitted, now: datetime) -> None:
        """Start the step's next attempt, or continue one of an earlier process."""
        position = input_.position
        if position not in self._tracker.ready:
            return
        step, plan = self.units[position], self.unit_plans[position]
        if (task := self._tracker.running.get(position)) is None:
            if not self.may_start:
                return
            provider = plan.fallback if step.on_fallback else plan.provider
            step.attempt += 1
            step.provider_attempts += 1
            step.retry_count += step.provider_attempts > 1
            began = now  # hot path, so without a call for most steps
            if plan.run_if is not _ALL_COMPLETED:
                began = self._tracker.begin_of_attempt(plan, now)
            task = self._new_task(input_, step, provider, began)
            step.status, step.task_id, step.next_attempt_at = _STEP_RUNNING, task.id, None
            step.started_at = step.started_at or began
            decision.record(step, now, task)
            self._emit_step(decision, now, _STEP_STARTED, step, attempt=step.attempt, provider=provider)
        self._tracker.attach(position, task, in_process=input_.in_process)
        decision.effects.append(StartAttempt(copy_of(task)))

    def _new_task(self, input_: Admitted, step: StepState, provider: ProviderType | None, began: datetime) -> Task:
        return Task(input_.task_id, step.position, step.attempt, provider, seed=input_.seed, started_at=began)

    def _remote_input(self, decision: Decision, input_: RemoteInput, now: datetime) -> None:
        self._remote.apply(decision, input_, self._tracker.running.get(input_.position), now)

    def _diverted(self, decision: Decision, input_: Diverted, now: datetime) -> None:
        step, plan = self.units[input_.position], self.unit_plans[input_.position]
        if not self.wants_new_attempt(input_.position) or plan.fallback is None or step.on_fallback:
            return
        step.on_fallback, step.provider_attempts = True, 0
        decision.record(step, now)
        facts = {"from": input_.provider, "model": input_.model, "to": plan.fallback, "reason": "breaker_open"}
        self._emit_step(decision, now, EventType.STEP_DIVERTED, step, **facts)
        decision.ready.append(input_.position)

    def _succeeded(self, decision: Decision, input_: Succeeded, now: datetime) -> None:
        """Complete the step. It fails instead if the workflow's results would become too large together."""
        task = self._tracker.running.get(input_.position)
        if task is not None and task.id == input_.task_id and (refusal := self.output_budget.refusal(input_.result)):
            failed = AttemptFailed(
                input_.position, task.id, refusal, retryable=False, provider_fault=False, jitter=0.0, cost=input_.cost
            )
            self._failed(decision, failed, now)
            return
        if (task := self._close_task(input_.position, input_.task_id, _TASK_COMPLETED, now)) is None:
            return
        step = self.units[input_.position]
        task.phase, task.outputs, task.cost = _TASK_STORED, input_.outputs, input_.cost
        self._record_success(decision, step, task, input_, now)
        self._finish_if_done(decision, now)

    def _record_success(
        self, decision: Decision, step: StepState, task: Task, input_: Succeeded, now: datetime
    ) -> None:
        """Record the end of a successful attempt. Here that completes its step."""
        self._complete_step(decision, step, input_.result, now, task)

    def _complete_step(
        self,
        decision: Decision,
        step: StepState,
        result: bytes | None,
        now: datetime,
        task: Task | None = None,
        actor: str = SERVICE,
    ) -> None:
        step.status, step.result, step.completed_at = _STEP_COMPLETED, result, now
        step.error_message = step.next_attempt_at = None
        self.state.completed_steps += 1
        decision.record(step, now, task)
        self._emit_step(decision, now, _COMPLETED_EVENT, step, actor)
        self._open(decision, self._tracker.complete(step.position))

    def _open(self, decision: Decision, positions: list[int]) -> None:
        """Let steps begin whose dependencies permit it. Here they want a slot."""
        if self.may_start:
            decision.ready += positions

    def _failed(self, decision: Decision, input_: AttemptFailed, now: datetime) -> None:
        """End the attempt. `decide_retry` decides what follows, and `backoff_s` returns the time before a retry."""
        if (task := self._close_task(input_.position, input_.task_id, TaskStatus.FAILED, now)) is None:
            return
        step, plan = self.units[input_.position], self.unit_plans[input_.position]
        task.error = step.error_message = self.output_budget.shorten(input_.error)
        task.cost = input_.cost
        retry_decision = decide_retry(plan, step, retryable=input_.retryable, provider_fault=input_.provider_fault)
        abandoned = task.sent is not None and (input_.timed_out or input_.broken)
        if abandoned and not self._remote.abandon_failed(decision, input_, task, now):
            retry_decision = RetryDecision.FAIL
        if retry_decision is RetryDecision.FAIL:
            self._record_failure(decision, step, task, now)
        else:
            delay = backoff_s(self.config.retry, step.provider_attempts, input_.jitter, input_.retry_after_s)
            if retry_decision is RetryDecision.FALLBACK:
                step.on_fallback, step.provider_attempts, delay = True, 0, 0.0
            self._retry_later(decision, step, task, now, now + timedelta(seconds=delay))
        self._finish_if_done(decision, now)

    def _record_failure(self, decision: Decision, step: StepState, task: Task, now: datetime) -> None:
        """Record the end of a failed attempt after which no other follows. Here that fails its step."""
        self._fail_step(decision, step, now, task)

    def _fail_step(
        self, decision: Decision, step: StepState, now: datetime, task: Task | None = None, actor: str = SERVICE
    ) -> None:
        """End the step as FAILED, for the reason in its `error_message`."""
        step.status, step.completed_at = StepStatus.FAILED, now
        optional = self.unit_plans[step.position].optional
        self._tracker.count_failure(self.unit_plans[step.position])
        decision.record(step, now, task)
        facts = {} if self._will_start else self._hold_back(decision, now)
        if optional:
            facts["optional"] = True
        self._emit_step(decision, now, EventType.STEP_FAILED, step, actor, error=step.error_message, **facts)
        if optional or self.config.on_failure is OnFailure.CONTINUE:
            self._end_without_success(decision, step.position, now)
        elif self.config.on_failure is OnFailure.CANCEL:
            self._cancel_running(decision, SERVICE, now)

    def _may_continue(self, step: StepState) -> bool:  # noqa: ARG002 - of `ItemRun`
        """Return whether another attempt at the step may start, if it has begun."""
        return self.may_start

    def _retry_later(self, decision: Decision, step: StepState, task: Task, now: datetime, at: datetime) -> None:
        """Schedule another attempt: at the time *at* or, if nothing may start, after resume."""
        facts: dict[str, Any] = {"attempt": step.attempt, "error": step.error_message}
        if self._may_continue(step):
            step.next_attempt_at = facts["next_attempt_at"] = at
            self._tracker.backoff.add(step.position)
            decision.effects.append(WakeAt(step.position, at))
        else:
            step.status, facts["held_back"] = StepStatus.PENDING, True
            self._tracker.ready.add(step.position)
        decision.record(step, now, task)
        self._emit_step(decision, now, EventType.STEP_RETRYING, step, **facts)

    def _retry_due(self, decision: Decision, input_: RetryDue, now: datetime) -> None:
        position = input_.position
        if position in self._tracker.ready or position not in self._tracker.backoff:
            return
        if (at := self.units[position].next_attempt_at) is not None and now < at:
            decision.effects.append(WakeAt(position, at))  # the timer fired a little early
        else:
            self._tracker.ready.add(position)
            decision.ready.append(position)

    def _close_task(self, position: int, task_id: UUID, status: TaskStatus, now: datetime) -> Task | None:
        """End the step's present attempt and return it; None if the input is about an earlier one."""
        task = self._tracker.running.get(position)
        if task is None or task.id != task_id:
            return None
        self._tracker.end(position)
        task.status, task.completed_at = status, now
        return task

    # The end of a workflow

    def _finish_if_done(self, decision: Decision, now: datetime) -> None:
        """End the workflow if no step is left to wait for."""
        tracker = self._tracker
        left = len(self.steps) - self.state.completed_steps - tracker.skipped - tracker.tolerated
        if not left:
            self._finish(decision, WorkflowStatus.COMPLETED, EventType.WORKFLOW_COMPLETED, SERVICE, now)
        elif tracker.failures and not self._is_under_way and (left == tracker.failures or not self._will_start):
            self._finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    @property
    def _is_under_way(self) -> bool:
        """True while a step is RUNNING that goes on although nothing new starts."""
        return bool(self._tracker.running)

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
            self._fail_workflow(decision, f"workflow: timed out after {limit} s", now)

    def _fail_workflow(self, decision: Decision, reason: str, now: datetime) -> None:
        """End the workflow as FAILED for a *reason* that is no step's. Steps that have ended stay as they are."""
        if self.state.status not in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED):
            return
        self.state.failure = reason
        self._cancel_running(decision, SERVICE, now)
        for position in sorted(self._tracker.backoff):
            self._tracker.ready.discard(position)
            self._cancel_step(decision, self.units[position], SERVICE, now)
        self._tracker.backoff.clear()
        self._finish(decision, WorkflowStatus.FAILED, EventType.WORKFLOW_FAILED, SERVICE, now)

    def _cancel_all(self, decision: Decision, actor: str, now: datetime) -> None:
        self._cancel_running(decision, actor, now)
        for step in self.steps:
            if step.status not in (StepStatus.COMPLETED, StepStatus.CANCELLED):
                self._cancel_step(decision, step, actor, now)
        self._rebuild()
        self._finish(decision, WorkflowStatus.CANCELLED, EventType.WORKFLOW_CANCELLED, actor, now)

    def _cancel_running(self, decision: Decision, actor: str, now: datetime) -> None:
        for position in sorted(self._tracker.running):
            self._cancel_unit(decision, position, actor, now)

    def _cancel_unit(self, decision: Decision, position: int, actor: str, now: datetime) -> None:
        """Cancel the attempt at the position."""
        task = self._tracker.running[position]
        if position in self._tracker.attached:
            decision.effects.append(CancelAttempt(position, task.id))
        self._remote.cancel(decision, task, now, in_process=position in self._tracker.in_process)
        self._tracker.end(position)
        self._cancel_step(decision, self.units[position], actor, now)

    # Shared parts

    def _rebuild(self) -> None:
        self._tracker.rebuild()

    def _cancel_step(self, decision: Decision, step: StepState, actor: str, now: datetime) -> None:
        step.status, step.completed_at = StepStatus.CANCELLED, now
        step.next_attempt_at = step.skip_reason = None
        decision.record(step, now)
        self._emit_step(decision, now, EventType.STEP_CANCELLED, step, actor=actor)

    def _hold_back(self, decision: Decision, now: datetime) -> dict[str, Any]:
        """Put steps between two attempts back to PENDING. Return the data of the event that reports it."""
        held = sorted(self._tracker.backoff)
        for position in held:
            self.steps[position].status, self.steps[position].next_attempt_at = StepStatus.PENDING, None
            decision.record(self.steps[position], now)
        self._tracker.ready.update(held)
        self._tracker.backoff.clear()
        return {"held_back": [self.plans[position].step_id for position in held]} if held else {}

    def _end_without_success(self, decision: Decision, position: int, now: datetime) -> None:
        """Decide what the end of a step without success means further down: some are skipped, others may begin."""
        newly, causes = list[int](), [self.steps[position]]
        while causes:
            cause = causes.pop()
            for dependant in self._tracker.end_without_success(cause.position):
                step = self.steps[dependant]
                if (reason := skip_reason(self.plans[dependant], self.steps, cause)) is None:
                    newly.append(dependant)
                else:
                    self._skip(decision, step, reason, now)
                    causes.append(step)
        self._tracker.ready.update(newly)
        self._open(decision, sorted(newly))

    def _skip(self, decision: Decision, step: StepState, reason: SkipReason, now: datetime) -> None:
        step.status, step.completed_at, step.skip_reason = StepStatus.SKIPPED, now, reason
        self._tracker.skipped += 1
        decision.record(step, now)
        self._emit_step(decision, now, EventType.STEP_SKIPPED, step, reason=reason)

    def _set_deadline(self, decision: Decision, now: datetime, seconds: float | None) -> None:
        if self.state.waits_for_admission:
            self.state.timeout_left_s, seconds = seconds, None  # it counts from the admission
        at = None if seconds is None else now + timedelta(seconds=seconds)
        if at != self.state.deadline_at:
            self.state.deadline_at = at
            decision.effects.append(DeadlineAt(at))

    def _emit_step(
        self, decision: Decision, now: datetime, kind: EventType, step: StepState, actor: str = SERVICE, **data: Any
    ) -> None:
        step_id = self.unit_plans[step.position].step_id
        decision.emit(self.state, now, kind, actor, step_id=step_id, task_id=step.task_id, data=data)

    def _close_decision(self, decision: Decision, now: datetime) -> Decision:
        if decision.has_rows:
            if decision.events or decision.tasks:  # parking changes nothing that a client sees
                self.state.updated_at = now
            if decision.tasks:  # a verb alone proves nothing about the attempts
                self.state.crashes = 0
            if not self.active:
                self.state.owner = None
            decision.workflow = copy_of(self.state)
            if self.state.webhook_url is not None:
                decision.deliveries = deliveries(
                    decision.events, self.state.webhook_url, self._tenant, steps=self._step_webhooks
                )
        return decision
