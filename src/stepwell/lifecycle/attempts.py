"""The attempts at steps and items: how they start and end, and whether another one follows."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from stepwell.contract.enums import CancelReceipt, EventType, RunIf, StepStatus, TaskPhase, TaskStatus
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.decision import Decision, copy_of
from stepwell.lifecycle.effects import StartAttempt, WakeAt
from stepwell.lifecycle.inputs import (
    SERVICE,
    AttemptFailed,
    AttemptInput,
    Computed,
    Dispatched,
    Diverted,
    FollowUpEnded,
    HeldBack,
    RemoteInput,
    RunVerdict,
    Submitted,
    Succeeded,
)
from stepwell.lifecycle.model import NO_FLOW, ItemState, Outage, StepState, Task
from stepwell.lifecycle.remote_transitions import RemoteTransitions
from stepwell.lifecycle.repeats import end_of_run
from stepwell.lifecycle.retry import RetryDecision, backoff_s, decide_retry, outage_pause_s, uncount_attempt
from stepwell.lifecycle.step_transitions import FlowParts, StepTransitions
from stepwell.lifecycle.steps import RepeatRule, ResolvedStep
from stepwell.lifecycle.units import Units

# Hot path: an attribute of an enum costs 0.1 µs in Python 3.11.
_ALL_COMPLETED, _STEP_RUNNING, _STEP_STARTED = RunIf.ALL_COMPLETED, StepStatus.RUNNING, EventType.STEP_STARTED
_TASK_COMPLETED, _TASK_STORED = TaskStatus.COMPLETED, TaskPhase.STORED


class Attempts:
    """The part of a `Run` that starts and ends attempts."""

    def __init__(self, units: Units, remote: RemoteTransitions, steps: StepTransitions, parts: FlowParts) -> None:
        self._units, self._remote, self._steps = units, remote, steps
        self._items, self._children = parts.items, parts.children

    def dispatch(self, decision: Decision, input_: Dispatched, now: datetime) -> None:
        """Start the next attempt of a ready unit, or continue one of an earlier process.

        An item fails instead if the workflow's results have no room for another one.
        """
        units, position = self._units, input_.position
        if position not in units.ready:
            return
        unit, resolved = units.units[position], units.resolved_units[position]
        if (task := units.running.get(position)) is None:
            if not units.may_start:
                return
            if self._items is not None and not self._may_begin(decision, unit, now):
                return
            task = self._begin(unit, resolved, input_.task_id, input_.seed, now)
            if self._items is not None and isinstance(unit, ItemState):
                task.item_key = unit.item_key
            if self._children is not None:
                self._children.begin(unit, task.id)
            unit.status = _STEP_RUNNING
            decision.record(unit, now, task)
            units.emit(decision, now, _STEP_STARTED, unit, attempt=unit.attempt, provider=task.provider)
        elif unit.next_attempt_at is not None:  # its provider was away
            unit.next_attempt_at = None
            decision.record(unit, now, task)
        units.attach(position, task, in_process=input_.in_process)
        decision.effects.append(StartAttempt(copy_of(task)))

    def _begin(self, unit: StepState, resolved: ResolvedStep, task_id: UUID, seed: int | None, now: datetime) -> Task:
        provider = resolved.fallback if unit.on_fallback else resolved.provider
        unit.attempt += 1
        unit.provider_attempts += 1
        unit.retry_count += unit.provider_attempts > 1
        began = now if resolved.run_if is _ALL_COMPLETED else self._units.begin_of_attempt(resolved, now)
        unit.task_id, unit.next_attempt_at, unit.started_at = task_id, None, unit.started_at or began
        return Task(task_id, unit.position, unit.attempt, provider, seed=seed, started_at=began)

    def compute(self, decision: Decision, input_: Computed, now: datetime) -> None:
        """Begin and complete the attempt of a ready step. The same as to dispatch it, and to let it succeed then."""
        units, position = self._units, input_.position
        if position not in units.ready or position in units.running or not units.may_start:
            return
        unit, resolved = units.units[position], units.resolved_units[position]
        task = self._begin(unit, resolved, input_.task_id, None, now)
        data = {"attempt": unit.attempt, "provider": task.provider}
        decision.emit(units.state, now, _STEP_STARTED, SERVICE, step_id=resolved.step_id, task_id=task.id, data=data)
        if (refusal := units.output_budget.add(input_.result)) is not None:
            units.attach(position, task, in_process=True)
            self._refuse(decision, task, refusal, None, now)
            return
        units.detach(position)
        task.status, task.phase, task.completed_at = _TASK_COMPLETED, _TASK_STORED, now
        self._steps.complete(decision, unit, input_.result, now, task)

    def _refuse(self, decision: Decision, task: Task, refusal: str, cost: Cost | None, now: datetime) -> None:
        """Let the attempt fail, because the workflow's results have no room for another one."""
        failed = AttemptFailed(
            task.position, task.id, refusal, retryable=False, provider_fault=False, jitter=0.0, cost=cost
        )
        self.fail(decision, failed, now)

    def _may_begin(self, decision: Decision, unit: StepState, now: datetime) -> bool:
        """Count an item that begins. Return False if it fails instead."""
        if isinstance(unit, ItemState) and unit.status is StepStatus.PENDING:
            assert self._items is not None
            self._items.groups[unit.item_key.step].begin()
            if self._units.output_budget.is_used_up:
                self._steps.fail_without_room(decision, unit, now)
                return False
        return True

    def divert(self, decision: Decision, input_: Diverted, now: datetime) -> None:
        """Let a ready unit use its fallback provider."""
        unit, resolved = self._units.units[input_.position], self._units.resolved_units[input_.position]
        if not self._units.wants_new_attempt(input_.position) or resolved.fallback is None or unit.on_fallback:
            return
        unit.on_fallback, unit.provider_attempts = True, 0
        decision.record(unit, now)
        data = {"from": input_.provider, "model": input_.model, "to": resolved.fallback, "reason": "breaker_open"}
        self._units.emit(decision, now, EventType.STEP_DIVERTED, unit, **data)
        self._steps.want_slots_or_checks(decision, [input_.position])

    def apply_remote(self, decision: Decision, input_: RemoteInput, now: datetime) -> None:
        """Apply an input about the attempt's work at its provider."""
        position, task, children = input_.position, self.present(input_), self._children
        runs_workflow = children is not None and self._units.resolved_units[position].runs_workflow
        if children is not None and runs_workflow and task is not None and isinstance(input_, Submitted):
            children.created(decision, task, input_, now)
            return
        self._remote.apply(decision, input_, task, now)
        if children is not None and isinstance(input_, FollowUpEnded):
            children.stopped(decision, position)

    def present(self, input_: AttemptInput) -> Task | None:
        """Return the attempt that the input is about; None if it is not the present one of its unit."""
        task = self._units.running.get(input_.position)
        return None if task is None or task.id != input_.task_id else task

    # Ends of attempts

    def succeed(self, decision: Decision, input_: Succeeded, now: datetime) -> None:
        """Complete the unit, or repeat it. It fails if the workflow's results would become too large together."""
        if (task := self.present(input_)) is None:
            return
        if (refusal := self._units.output_budget.add(input_.result)) is not None:
            self._refuse(decision, task, refusal, input_.cost, now)
            return
        self._end(task, _TASK_COMPLETED, now)
        unit, flow = self._units.units[task.position], self._units.resolved_units[task.position].flow
        task.phase, task.outputs, task.cost = _TASK_STORED, input_.outputs, input_.cost
        if task.sent is not None:
            decision.settle(task)
        if flow is None or flow.repeat is None:
            self._steps.complete(decision, unit, input_.result, now, task)
        else:
            self._end_run(decision, unit, task, input_, flow.repeat, now)

    def _end(self, task: Task, status: TaskStatus, now: datetime) -> None:
        self._units.detach(task.position)
        if self._children is not None:
            self._children.end(task.position)
        task.status, task.completed_at = status, now

    def _end_run(
        self, decision: Decision, unit: StepState, task: Task, input_: Succeeded, rule: RepeatRule, now: datetime
    ) -> None:
        """End one run of a unit that repeats."""
        verdict = input_.verdict or RunVerdict(done=True)
        end = end_of_run(rule, unit.flow or NO_FLOW, verdict, len(input_.result))
        self._units.output_budget.release(end.unstored_bytes)
        unit.flow, result = end.flow, input_.result if end.stores else None
        if end.repeats:
            self._repeat(decision, unit, task, result, now)
        else:
            self._steps.complete(decision, unit, result, now, task)

    def _repeat(self, decision: Decision, unit: StepState, task: Task, result: bytes | None, now: datetime) -> None:
        """Store *result* unless it is None. Begin the next run: at once, or after resume if nothing may start."""
        if self._children is not None:
            self._children.forget(unit)
        flow, units = unit.flow or NO_FLOW, self._units
        unit.provider_attempts, unit.on_fallback, unit.error_message = 0, False, None
        data: dict[str, Any] = {"run": flow.run, "best": flow.best}
        if units.may_start:
            unit.next_attempt_at = now
            units.backoff.add(unit.position)
            decision.ready.append(unit.position)
        else:
            unit.status, data["held_back"] = StepStatus.PENDING, True
        units.ready.add(unit.position)
        unit.result = result
        decision.record(unit, now, task)
        unit.result = None  # only the row has it
        units.emit(decision, now, EventType.STEP_REPEATING, unit, **data)
        self._steps.hold_back_item(decision, unit, now)

    def fail(self, decision: Decision, input_: AttemptFailed, now: datetime) -> None:
        """End the attempt. `decide_retry` decides what follows, and `backoff_s` returns the time before a retry."""
        if (task := self.present(input_)) is None:
            return
        unit, resolved = self._units.units[task.position], self._units.resolved_units[task.position]
        if input_.provider_away and self._try_again(decision, input_, unit, task, now):
            return
        if input_.child_lost and self._children is not None:
            self._children.forget(unit)
        self._end(task, TaskStatus.FAILED, now)
        task.error = unit.error_message = self._units.output_budget.shorten(input_.error)
        task.cost = input_.cost
        retry_decision = decide_retry(resolved, unit, retryable=input_.retryable, provider_fault=input_.provider_fault)
        abandoned = task.sent is not None and (input_.timed_out or input_.broken)
        if abandoned and not self._remote.abandon_failed(decision, input_, task, now):
            retry_decision = RetryDecision.FAIL
        if task.follow_up_until is None:
            decision.settle(task)
        if retry_decision is RetryDecision.FAIL:
            self._fail_unit(decision, unit, task, now)
            return
        delay = backoff_s(self._units.config.retry, unit.provider_attempts, input_.jitter, input_.retry_after_s)
        if retry_decision is RetryDecision.FALLBACK:
            unit.on_fallback, unit.provider_attempts, delay = True, 0, 0.0
        self._retry_later(decision, unit, task, now, now + timedelta(seconds=delay))

    def _try_again(self, decision: Decision, input_: AttemptFailed, unit: StepState, task: Task, now: datetime) -> bool:
        """Let the attempt of which nothing was sent be tried again later. Return False if it counts as a failure.

        If nothing may start, the attempt ends without being counted.
        """
        flow = unit.flow or NO_FLOW
        outage = flow.outage or Outage(now, now + timedelta(seconds=self._units.config.retry.outage_s))
        at = _next_try_at(outage, input_, now)
        if at is None or self._units.resolved_units[task.position].fallback is not None:
            return False
        unit.error_message = self._units.output_budget.shorten(input_.error)
        unit.flow, task.sent = replace(flow, outage=outage), None
        if self._steps.may_continue(unit):
            self._units.pause_attempt(task.position)
            unit.next_attempt_at = at
            decision.record(unit, now, task)
            decision.effects.append(WakeAt(unit.position, at))
            return True
        self._end(task, TaskStatus.FAILED, now)
        task.error = unit.error_message
        uncount_attempt(unit)
        self._retry_later(decision, unit, task, now, at)
        return True

    def _fail_unit(self, decision: Decision, unit: StepState, task: Task, now: datetime) -> None:
        if unit.flow is not None and unit.flow.candidate_bytes is not None:
            unit.flow = replace(unit.flow, run=unit.flow.run + 1)
            self._steps.complete(decision, unit, None, now, task)  # the best run before this one counts
        else:
            self._steps.fail(decision, unit, now, task)

    def _retry_later(self, decision: Decision, unit: StepState, task: Task, now: datetime, at: datetime | None) -> None:
        """Schedule another attempt: at the time *at* or, without one or if nothing may start, after resume."""
        data: dict[str, Any] = {"attempt": unit.attempt, "error": task.error}
        if at is not None and self._steps.may_continue(unit):
            unit.next_attempt_at = data["next_attempt_at"] = at
            self._units.backoff.add(unit.position)
            decision.effects.append(WakeAt(unit.position, at))
        else:
            unit.status, data["held_back"] = StepStatus.PENDING, True
            self._units.ready.add(unit.position)
        decision.record(unit, now, task)
        self._units.emit(decision, now, EventType.STEP_RETRYING, unit, **data)
        self._steps.hold_back_item(decision, unit, now)

    def hold_back(self, decision: Decision, input_: HeldBack, now: datetime) -> None:
        """End an attempt that has sent nothing. It doesn't count. The unit tries again at the time *until*, or after
        resume.
        """
        if (task := self.present(input_)) is None:
            return
        unit = self._units.units[task.position]
        self._end(task, TaskStatus.CANCELLED, now)
        task.error, task.cancel_receipt = input_.why, CancelReceipt.NEVER_STARTED
        uncount_attempt(unit)
        if input_.until is not None:
            unit.error_message = input_.why  # explain shows it while the unit waits
        self._retry_later(decision, unit, task, now, input_.until)

    def retry(self, decision: Decision, position: int, now: datetime) -> None:
        """Let the next attempt of a unit begin whose time has come."""
        units = self._units
        if position in units.ready or position not in units.backoff:
            return
        if (at := units.units[position].next_attempt_at) is not None and now < at:
            decision.effects.append(WakeAt(position, at))  # the timer fired a little early
        else:
            self._steps.want_slots_or_checks(decision, [position])

    def is_last(self, input_: AttemptFailed, now: datetime) -> bool:
        """Return whether the unit makes no further attempt at this provider after this failure.

        The first try of an attempt at a provider that is away counts as if it were a failure, the next ones don't.
        """
        unit, resolved = self._units.units[input_.position], self._units.resolved_units[input_.position]
        outage = unit.flow.outage if unit.flow is not None else None
        if input_.provider_away and outage is not None and _next_try_at(outage, input_, now) is not None:
            return False
        retry_decision = decide_retry(resolved, unit, retryable=input_.retryable, provider_fault=input_.provider_fault)
        return retry_decision is not RetryDecision.RETRY


def _next_try_at(outage: Outage, input_: AttemptFailed, now: datetime) -> datetime | None:
    """Return when an attempt at a provider that is away is tried again; None if its failure counts."""
    pause = outage_pause_s((now - outage.since).total_seconds(), input_.jitter, input_.retry_after_s)
    at = now + timedelta(seconds=pause)
    return at if input_.retryable and at <= outage.until else None
