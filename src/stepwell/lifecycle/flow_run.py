"""The state machine of a workflow with conditions, repetitions and waits.

    step     PENDING ─dependencies permit it─► evaluation: effect `Evaluate` ─► input `Evaluated`
                │                                        │ the condition isn't true ──► SKIPPED
                │                                        │ an expression failed ──────► FAILED
                │                                        ├─ the step waits ───────────► RUNNING, `flow.wait`
                └─ no condition, no wait ────────────────┴─ otherwise ─► wants a slot, as in `Run`

    repeat   an attempt has succeeded, and `until` isn't true ──► RUNNING, wants a slot again with a fresh retry budget

    wait     ─ decided, signalled, or its time is over ─► COMPLETED
             ─ rejected, or nobody answered in time ────► FAILED

What must hold, besides what `Run` guarantees:
- Of a result, only a wait is stored. So an evaluation whose result was lost is requested again.
- Evaluations are requested only while new steps may start. A result that comes when nothing may start is ignored.
- A run of a repetition whose success is recorded is never repeated.
- A wait ends once. At its `until` it is over, even if that isn't recorded yet.
- A workflow is parked only if it waits: no attempt runs, nothing may start, and no time comes soon.
- A parked workflow has a cause that wakes it: a time in `wake_at`, or something from outside.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from msgspec.structs import replace

from stepwell.basics.errors import NotWaiting
from stepwell.contract.enums import EventType, OnFailure, SkipReason, StepStatus, WaitKind, WorkflowStatus
from stepwell.contract.task_configs import FAIL, REJECT
from stepwell.lifecycle.allowed_verbs import check_allowed
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import Evaluate, WakeAt
from stepwell.lifecycle.inputs import (
    SERVICE,
    ChildPausedOrResumed,
    Decide,
    Evaluated,
    FlowInput,
    Park,
    Resume,
    RetryDue,
    RunVerdict,
    Signal,
    Succeeded,
    Unpark,
    WaitTerms,
)
from stepwell.lifecycle.model import NEVER, NO_FLOW, FlowState, StepState, StoredSignal, Task, Wait
from stepwell.lifecycle.repeats import end_of_run
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.lifecycle.waits import (
    REJECTED,
    check_signal,
    decidable_wait,
    decision_result,
    delay_result,
    is_over,
    no_signal_result,
    signal_result,
    timeout_error,
    wait_of,
)

# A workflow whose next time comes sooner stays in memory.
PARKED_FROM = timedelta(seconds=30)


class FlowRun(Run):
    """One workflow with conditions, repetitions and waits in memory."""

    def __init__(self, stored: StoredRun) -> None:
        super().__init__(stored)
        self.signals = dict(stored.signals)
        self._waits: dict[int, Wait] = {}
        self._to_evaluate: set[int] = set()  # steps that need an evaluation, and none is requested
        self._evaluations: dict[int, int] = {}  # the number of the evaluation, by position
        self._evaluation_count = 0
        self._place_flow()

    @property
    def waits(self) -> Mapping[int, Wait]:
        """The waits for decisions, signals and times, by position."""
        return self._waits

    @property
    def evaluations(self) -> Mapping[int, int]:
        """The numbers of the evaluations that have no result yet, by position."""
        return self._evaluations

    @property
    def _is_under_way(self) -> bool:
        return bool(self._tracker.running or self._waits)

    @property
    def has_children(self) -> bool:
        """True while a sub-workflow runs. A process takes such a parked workflow first, if a verb may reach that."""
        return False

    @property
    def _may_be_taken(self) -> bool:
        """True if a process may take the workflow while nobody owns it."""
        return self.state.status is WorkflowStatus.RUNNING

    @property
    def _has_attempts(self) -> bool:
        """True while an attempt needs a process."""
        return bool(self._tracker.running)

    @property
    def _has_waits(self) -> bool:
        """True while the workflow waits for something that needs no process: a wait of a step, or a sub-workflow."""
        return bool(self._waits)

    def next_due(self) -> datetime | None:
        """Return the next time at which the workflow needs a process; None without one."""
        times = [wait.until for wait in self._waits.values()]
        times += [self.units[position].next_attempt_at for position in self._tracker.backoff]
        times.append(self.state.deadline_at)
        return min((at for at in times if at is not None), default=None)

    def may_park(self, now: datetime) -> bool:
        """Return whether the workflow only waits, and for long enough."""
        state, tracker = self.state, self._tracker
        if state.status is not WorkflowStatus.RUNNING or state.owner is None:
            return False
        if self._has_attempts or self._remote.followed_up or tracker.ready & tracker.backoff:
            return False
        if self.may_start and (tracker.ready or self._to_evaluate or self._evaluations):
            return False
        due = self.next_due()
        return due is None or due - now >= PARKED_FROM

    def pending_work(self) -> Decision:
        decision = super().pending_work()
        self._set_wait_timers(decision)
        if self.may_start:
            self._to_evaluate.update(self._evaluations)  # a new workflow was started before anybody could evaluate
            self._request_evaluations(decision)
        return decision

    def _flow_input(self, decision: Decision, input_: FlowInput, now: datetime) -> None:
        match input_:
            case Evaluated():
                self._evaluated(decision, input_, now)
            case Decide():
                self._decide(decision, input_, now)
            case Signal():
                self._signal(decision, input_, now)
            case Unpark():
                self._unpark(decision, input_.owner, now)
            case Park():
                if self.may_park(now):
                    self.state.owner, self.state.wake_at = None, self.next_due() or NEVER
                    decision.parking_changes = True
            case ChildPausedOrResumed():  # `SubworkflowRun` handles it
                pass
            case _:
                assert_never(input_)
        self._finish_if_open(decision, now)

    def _finish_if_open(self, decision: Decision, now: datetime) -> None:
        if self.state.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED):
            self._finish_if_done(decision, now)

    # Evaluations

    def _needs_evaluation(self, position: int) -> bool:
        flow = self.plans[position].flow
        return flow is not None and (flow.has_condition or flow.waits_for is not None)

    def _open(self, decision: Decision, positions: list[int]) -> None:
        waiting = {position for position in positions if self._needs_evaluation(position)}
        self._tracker.ready -= waiting
        self._to_evaluate |= waiting
        super()._open(decision, [position for position in positions if position not in waiting])

    def _request_evaluations(self, decision: Decision) -> None:
        for position in sorted(self._to_evaluate):
            self._evaluation_count += 1
            self._evaluations[position] = self._evaluation_count
            decision.effects.append(self._evaluation(position, self._evaluation_count))
        self._to_evaluate.clear()

    def _evaluation(self, position: int, number: int) -> Evaluate:
        return Evaluate(position, number)

    def _evaluated(self, decision: Decision, input_: Evaluated, now: datetime) -> None:
        position = input_.position
        if self._evaluations.get(position) != input_.number:  # none is requested while nothing may start
            return
        del self._evaluations[position]
        step = self.steps[position]
        if input_.error is not None:
            self._fail_unstarted(decision, step, input_.error, now)
        elif not input_.runs:
            self._skip(decision, step, SkipReason.WHEN, now)
            self._end_without_success(decision, position, now)
        else:
            self._begin(decision, step, input_, now)

    def _begin(self, decision: Decision, step: StepState, input_: Evaluated, now: datetime) -> None:
        """Begin a step whose condition is true."""
        flow = self.plans[step.position].flow
        if flow is not None and flow.waits_for is not None:
            assert input_.terms is not None
            self._begin_wait(decision, step, flow.waits_for, input_.terms, now)
        else:
            self._want_slots(decision, [step.position])

    def _want_slots(self, decision: Decision, positions: list[int]) -> None:
        self._tracker.ready.update(positions)
        decision.ready += positions

    def _fail_unstarted(
        self, decision: Decision, step: StepState, error: str, now: datetime, actor: str = SERVICE
    ) -> None:
        step.error_message = self.output_budget.shorten(error)
        self._fail_step(decision, step, now, actor=actor)

    def _fail_step(
        self, decision: Decision, step: StepState, now: datetime, task: Task | None = None, actor: str = SERVICE
    ) -> None:
        super()._fail_step(decision, step, now, task, actor)
        if self._tracker.failures and self.config.on_failure is OnFailure.DRAIN:
            self._cancel_waits(decision, now)

    # Repetitions

    def _record_success(
        self, decision: Decision, step: StepState, task: Task, input_: Succeeded, now: datetime
    ) -> None:
        flow = self.unit_plans[step.position].flow
        if flow is None or flow.repeat is None:
            super()._record_success(decision, step, task, input_, now)
            return
        verdict = input_.verdict or RunVerdict(done=True)
        end = end_of_run(flow.repeat, step.flow or NO_FLOW, verdict, len(input_.result))
        self.output_budget.release(end.unstored_bytes)
        step.flow, result = end.flow, input_.result if end.stores else None
        if end.repeats:
            self._run_again(decision, step, task, result, now)
        else:
            self._complete_step(decision, step, result, now, task)

    def _run_again(self, decision: Decision, step: StepState, task: Task, result: bytes | None, now: datetime) -> None:
        """Store *result* unless it is None. Begin the next run: at once, or after resume if nothing may start."""
        flow = step.flow or NO_FLOW
        step.provider_attempts, step.on_fallback, step.error_message = 0, False, None
        facts: dict[str, Any] = {"run": flow.run, "best": flow.best}
        if self.may_start:
            step.next_attempt_at = now
            self._tracker.backoff.add(step.position)
            decision.ready.append(step.position)
        else:
            step.status, facts["held_back"] = StepStatus.PENDING, True
        self._tracker.ready.add(step.position)
        step.result = result
        decision.record(step, now, task)
        step.result = None  # only the row has it
        self._emit_step(decision, now, EventType.STEP_REPEATING, step, **facts)

    def _record_failure(self, decision: Decision, step: StepState, task: Task, now: datetime) -> None:
        if step.flow is not None and step.flow.candidate_bytes is not None:
            step.flow = replace(step.flow, run=step.flow.run + 1)
            self._complete_step(decision, step, None, now, task)  # the best run before this one counts
        else:
            super()._record_failure(decision, step, task, now)

    # Waits

    def _begin_wait(self, decision: Decision, step: StepState, kind: WaitKind, terms: WaitTerms, now: datetime) -> None:
        wait = wait_of(kind, terms, now)
        self._waits[step.position] = wait
        step.flow = FlowState(wait)
        step.status = StepStatus.RUNNING
        step.started_at = self._tracker.begin_of_attempt(self.plans[step.position], now)
        decision.record(step, now)
        decision.waits[step.position] = terms.shown
        self._emit_step(decision, now, EventType.STEP_WAITING, step, waits_for=kind, until=wait.until, wait_id=wait.id)
        name = self._signal_name(step.position)
        if name is not None and (signal := self.signals.pop(name, None)) is not None:
            decision.signals[name] = None
            self._end_wait(decision, step, signal_result(signal), now, signal.by)
        elif is_over(wait, now):
            self._time_out(decision, step, wait, now)
        elif wait.until is not None:
            decision.effects.append(WakeAt(step.position, wait.until))

    def _signal_name(self, position: int) -> str | None:
        flow = self.plans[position].flow
        return None if flow is None else flow.signal

    def _end_wait(
        self, decision: Decision, step: StepState, result: bytes, now: datetime, actor: str = SERVICE
    ) -> None:
        """Complete the step. It fails instead if the workflow's results have no room for its result."""
        self._remove_wait(decision, step)
        if (refusal := self.output_budget.refusal(result)) is not None:
            self._fail_unstarted(decision, step, refusal, now)
            return
        self._complete_step(decision, step, result, now, actor=actor)

    def _remove_wait(self, decision: Decision, step: StepState) -> None:
        if self._waits.pop(step.position, None) is not None:
            step.flow, decision.has_flow_steps = None, True
            if decision.waits.pop(step.position, None) is None:  # otherwise it began in this decision, too
                decision.waits[step.position] = None

    def _retry_due(self, decision: Decision, input_: RetryDue, now: datetime) -> None:
        if (wait := self._waits.get(input_.position)) is None:
            super()._retry_due(decision, input_, now)
        elif is_over(wait, now):
            self._time_out(decision, self.steps[input_.position], wait, now)
            self._finish_if_open(decision, now)
        elif wait.until is not None:
            decision.effects.append(WakeAt(input_.position, wait.until))  # the timer fired a little early

    def _time_out(self, decision: Decision, step: StepState, wait: Wait, now: datetime) -> None:
        if wait.kind is WaitKind.DELAY:
            self._end_wait(decision, step, delay_result(wait), now)
        elif wait.on_timeout == FAIL or (wait.on_timeout == REJECT and wait.rejects):
            self._remove_wait(decision, step)
            self._fail_unstarted(decision, step, timeout_error(wait), now)
        elif wait.kind is WaitKind.SIGNAL:
            self._end_wait(decision, step, no_signal_result(now), now)
        else:
            self._decided(decision, step, wait, Decide(SERVICE, step.position, wait.on_timeout), now)

    def _decide(self, decision: Decision, input_: Decide, now: datetime) -> None:
        check_allowed("decide", self.state)
        step = self.steps[input_.position]
        wait = decidable_wait(step.status, self._waits.get(input_.position), input_, now)
        self._decided(decision, step, wait, input_, now)

    def _decided(self, decision: Decision, step: StepState, wait: Wait, input_: Decide, now: datetime) -> None:
        if input_.choice == REJECT and wait.rejects:
            self._remove_wait(decision, step)
            note = f": {input_.note}" if input_.note else ""
            self._fail_unstarted(decision, step, f"{REJECTED}{input_.actor}{note}", now, input_.actor)
        else:
            result = decision_result(input_.choice, input_.note, input_.data, input_.actor, now)
            self._end_wait(decision, step, result, now, input_.actor)

    def _signal(self, decision: Decision, input_: Signal, now: datetime) -> None:
        check_allowed("signal", self.state)
        position = next((step.position for step in self.steps if self._signal_name(step.position) == input_.name), None)
        if position is None:
            raise NotWaiting(f"No step waits for a signal '{input_.name}'.")
        step, signal = self.steps[position], StoredSignal(input_.data, input_.actor, now)
        wait = self._waits.get(position)
        check_signal(step.status, wait, self.signals, input_, now)
        if wait is not None:
            self._end_wait(decision, step, signal_result(signal), now, input_.actor)
        else:
            self.signals[input_.name] = decision.signals[input_.name] = signal
            data = {"name": input_.name}
            decision.emit(self.state, now, EventType.WORKFLOW_SIGNALED, input_.actor, data=data)

    def _set_wait_timers(self, decision: Decision) -> None:
        for position, wait in sorted(self._waits.items()):
            if wait.until is not None:
                decision.effects.append(WakeAt(position, wait.until))

    def _cancel_waits(self, decision: Decision, now: datetime, actor: str = SERVICE) -> None:
        for position in sorted(self._waits):
            self._cancel_step(decision, self.steps[position], actor, now)

    # Parking

    def _unpark(self, decision: Decision, owner: UUID, now: datetime) -> None:
        state = self.state
        if state.owner is not None or not self._may_be_taken:
            return
        waited, timeout = state.waits_for_admission, state.timeout_left_s
        state.owner, state.epoch, state.wake_at, decision.parking_changes = owner, state.epoch + 1, None, True
        if waited and timeout is not None:
            state.timeout_left_s = None
            self._set_deadline(decision, now, timeout)
        work = self.pending_work()
        decision.effects += work.effects
        decision.ready += work.ready

    # The behaviour of `Run`, extended to waits

    def _resume(self, decision: Decision, input_: Resume, now: datetime) -> None:
        super()._resume(decision, input_, now)
        self._set_wait_timers(decision)  # it may have been loaded for this verb

    def _rebuild(self) -> None:
        super()._rebuild()
        self._place_flow()

    def _place_flow(self) -> None:
        """Compute the sets of this class from the statuses of the steps, after the tracker has its own."""
        tracker = self._tracker
        for each in (self._waits, self._to_evaluate, self._evaluations):
            each.clear()
        for step in self.steps:
            if not self._needs_evaluation(step.position):
                continue
            if step.status is StepStatus.PENDING and step.position in tracker.ready:
                tracker.ready.discard(step.position)
                self._to_evaluate.add(step.position)
            elif step.status is StepStatus.RUNNING and step.flow is not None and step.flow.wait is not None:
                tracker.ready.discard(step.position)
                self._waits[step.position] = step.flow.wait

    def _cancel_running(self, decision: Decision, actor: str, now: datetime) -> None:
        super()._cancel_running(decision, actor, now)
        self._cancel_waits(decision, now, actor)

    def _cancel_step(self, decision: Decision, step: StepState, actor: str, now: datetime) -> None:
        self._remove_wait(decision, step)
        super()._cancel_step(decision, step, actor, now)

    def _close_decision(self, decision: Decision, now: datetime) -> Decision:
        if not self.may_start:
            self._evaluations.clear()  # resume requests them again
        elif self._to_evaluate:
            self._request_evaluations(decision)
        state, updated_at = self.state, self.state.updated_at
        if decision.has_rows and (wake_at := self._wake_at()) != state.wake_at:
            state.wake_at, decision.parking_changes = wake_at, True
        super()._close_decision(decision, now)
        if decision.has_rows and not decision.events and not decision.tasks:  # answers show no difference
            state.updated_at = decision.workflow.updated_at = updated_at
        return decision

    def _wake_at(self) -> datetime | None:
        """Return `wake_at` as it must be after a change of the workflow: a parked one stays parked if it only waits."""
        state, tracker = self.state, self._tracker
        if state.status is WorkflowStatus.RUNNING:
            starts = self._to_evaluate or tracker.ready
            waits = self._has_waits or tracker.backoff
            parked = state.owner is None and state.wake_at is not None and waits and not starts
        else:
            parked = state.status is WorkflowStatus.PAUSED and self._has_waits
        return (self.next_due() or NEVER) if parked and not self.active else None
