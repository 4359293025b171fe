"""The waits of a workflow for decisions, signals and times: what begins and ends them, and the results of their steps.

    wait     RUNNING, `flow.wait` ─ decided, signalled, or its time is over ─► COMPLETED
                                  ─ rejected, or nobody answered in time ────► FAILED

What must hold:
- A wait ends once. At its `until` it is over, even if that isn't recorded yet.
- What is shown of a wait, and a signal that no step has taken, are stored exactly as long as they are needed.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from msgspec import Raw, Struct, json

from stepwell.basics.errors import NotWaiting
from stepwell.contract.enums import EventType, StepStatus, WaitKind
from stepwell.contract.task_configs import FAIL, REJECT
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import WakeAt
from stepwell.lifecycle.inputs import SERVICE, Decide, Signal, WaitTerms
from stepwell.lifecycle.model import FlowState, StepState, StoredSignal, Wait
from stepwell.lifecycle.units import Units

# The beginnings of the errors of steps that were rejected, or whose time for a decision was up.
REJECTED = "rejected by "
TIMED_OUT = f"no {WaitKind.DECISION} within "
# The most bytes of the signals of a workflow that no step has taken, together: they are in memory whenever it is.
EARLY_SIGNALS_MAX_BYTES = 1024 * 1024


class WaitEnd(Struct, frozen=True):
    """The end of a wait: the result of its step, or the error with which the step fails; and who has ended it."""

    result: bytes | None = None
    error: str | None = None
    actor: str = SERVICE


class Waits:
    """The open waits of a workflow, by position, and the signals that came before a step waited for them, by name."""

    def __init__(self, units: Units, signals: Mapping[str, StoredSignal]) -> None:
        self._units, self.signals = units, dict(signals)
        self.open: dict[int, Wait] = {}
        flows = ((resolved.position, resolved.flow) for resolved in units.resolved_steps if resolved.flow is not None)
        self._names = {position: flow.signal for position, flow in flows if flow.signal is not None}
        self._positions = {name: position for position, name in reversed(self._names.items())}
        self.rebuild()

    def rebuild(self) -> None:
        """Compute the open waits from the statuses of the steps, after `Units` has its own sets."""
        self.open.clear()
        for step in self._units.steps:
            if step.status is StepStatus.RUNNING and step.flow is not None and step.flow.wait is not None:
                self._units.ready.discard(step.position)
                self.open[step.position] = step.flow.wait

    def begin(
        self, decision: Decision, step: StepState, kind: WaitKind, terms: WaitTerms, now: datetime
    ) -> WaitEnd | None:
        """Begin the wait of a step. Return its end if its signal is here already, or its time is over."""
        until = terms.until if terms.timeout_s is None else now + timedelta(seconds=terms.timeout_s)
        message = terms.shown.message
        shown = fingerprint_of(terms) if kind is WaitKind.DECISION else None
        wait = Wait(terms.id, kind, now, until, terms.choices, terms.on_timeout, terms.rejects, message, shown)
        self.open[step.position] = wait
        step.flow, step.status = FlowState(wait), StepStatus.RUNNING
        step.started_at = self._units.begin_of_attempt(self._units.resolved_steps[step.position], now)
        decision.record(step, now)
        decision.waits[step.position] = terms.shown
        data: dict[str, Any] = {"waits_for": kind, "until": until, "wait_id": wait.id}
        self._units.emit(decision, now, EventType.STEP_WAITING, step, **data)
        name = self._names.get(step.position)
        if name is not None and (signal := self.signals.pop(name, None)) is not None:
            decision.signals[name] = None
            return WaitEnd(_signal_result(signal), actor=signal.by)
        return self.end_if_over(decision, step.position, now)

    def end_if_over(self, decision: Decision, position: int, now: datetime) -> WaitEnd | None:
        """Return the end of the wait at the position if its time is over. Otherwise set its timer, and return None."""
        wait = self.open[position]
        if not is_over(wait, now):
            if wait.until is not None:
                decision.effects.append(WakeAt(position, wait.until))
            return None
        if wait.kind is WaitKind.DELAY:
            return WaitEnd(json.encode({"until": wait.until}))
        if wait.on_timeout == FAIL or (wait.on_timeout == REJECT and wait.rejects):
            return WaitEnd(error=_timeout_error(wait))
        if wait.kind is WaitKind.SIGNAL:
            return WaitEnd(json.encode({"data": None, "by": None, "at": now}))
        return _decided(wait, Decide(SERVICE, position, wait.on_timeout), now)

    def decide(self, input_: Decide, now: datetime) -> WaitEnd:
        """Return the end of the wait by a person's decision. Raises `NotWaiting` if the decision can't end it."""
        step = self._units.steps[input_.position]
        return _decided(_decidable(step.status, self.open.get(input_.position), input_, now), input_, now)

    def signal(self, decision: Decision, input_: Signal, now: datetime) -> tuple[StepState, WaitEnd] | None:
        """Return the step whose wait the signal ends, and the end. If it doesn't wait yet, store the signal.

        Raises `NotWaiting` if no step waits for the signal any more, or ever.
        """
        if (position := self._positions.get(input_.name)) is None:
            raise NotWaiting(f"No step waits for a signal '{input_.name}'.")
        step, signal = self._units.steps[position], StoredSignal(input_.data, input_.actor, now)
        wait = self.open.get(position)
        _check_signal(step.status, wait, self.signals, input_, now)
        if wait is not None:
            return step, WaitEnd(_signal_result(signal), actor=input_.actor)
        self.signals[input_.name] = decision.signals[input_.name] = signal
        data = {"name": input_.name}
        decision.emit(self._units.state, now, EventType.WORKFLOW_SIGNALED, input_.actor, data=data)
        return None

    def over(self, now: datetime) -> list[int]:
        """Return the positions of the waits whose time is over."""
        return sorted(position for position, wait in self.open.items() if is_over(wait, now))

    def end(self, decision: Decision, step: StepState, end: WaitEnd) -> None:
        """Remove the wait of the step. What people saw who have decided is kept, so that a later run may reuse it."""
        wait = self.open.get(step.position)
        self.remove(decision, step)
        if wait is not None and end.result is not None and end.actor != SERVICE:
            step.flow = None if wait.fingerprint is None else FlowState(decision=wait.fingerprint)

    def remove(self, decision: Decision, step: StepState) -> None:
        """Remove the wait of the step, if it has one."""
        if self.open.pop(step.position, None) is not None:
            step.flow, decision.has_flow_steps = None, True
            if decision.waits.pop(step.position, None) is None:  # otherwise it began in this decision, too
                decision.waits[step.position] = None

    def set_timers(self, decision: Decision) -> None:
        for position, wait in sorted(self.open.items()):
            if wait.until is not None:
                decision.effects.append(WakeAt(position, wait.until))


def fingerprint_of(terms: WaitTerms) -> str:
    """Return the fingerprint of what a person sees who decides."""
    return sha256(json.encode([terms.shown.message, terms.choices, Raw(terms.shown.inputs)])).hexdigest()


def is_over(wait: Wait, now: datetime) -> bool:
    """Return whether the time of the wait has passed. Then nothing else can end it, whatever is recorded."""
    return wait.until is not None and now >= wait.until


def _decidable(status: StepStatus, wait: Wait | None, decide: Decide, now: datetime) -> Wait:
    """Return the *wait* of a step in that *status*. Raises `NotWaiting` if the decision can't end it."""
    if wait is None:
        raise NotWaiting(f"The step is {status}, and doesn't wait for a decision.")
    if wait.kind is not WaitKind.DECISION:
        raise NotWaiting(f"The step waits for a {wait.kind}, and not for a decision.")
    if decide.wait_id not in (None, wait.id):
        raise NotWaiting("The step now waits for another decision.")
    if is_over(wait, now):
        raise NotWaiting("The time for the decision has passed.")
    if decide.choice not in wait.choices:
        raise NotWaiting(f"The choices are {', '.join(wait.choices)}.")
    return wait


def _check_signal(
    status: StepStatus, wait: Wait | None, early: Mapping[str, StoredSignal], signal: Signal, now: datetime
) -> None:
    """Raise `NotWaiting` unless the signal ends the *wait* of its step, or may be stored until the step waits.

    *early* are the signals that are stored so, by name.
    """
    if status in (StepStatus.COMPLETED, StepStatus.SKIPPED):
        raise NotWaiting("The step doesn't wait for the signal any more.")
    if wait is not None:
        if is_over(wait, now):
            raise NotWaiting("The time for the signal has passed.")
    elif signal.name in early:
        raise NotWaiting("A signal of this name has arrived already, and the step hasn't taken it yet.")
    elif sum(len(each.data) for each in early.values()) + len(signal.data) > EARLY_SIGNALS_MAX_BYTES:
        raise NotWaiting(
            f"The signals that wait for their steps would be over {EARLY_SIGNALS_MAX_BYTES:,} bytes together: "
            "send this one once its step waits."
        )


def _decided(wait: Wait, decide: Decide, now: datetime) -> WaitEnd:
    rejected = decide.choice == REJECT
    if rejected and wait.rejects:
        note = f": {decide.note}" if decide.note else ""
        return WaitEnd(error=f"{REJECTED}{decide.actor}{note}", actor=decide.actor)
    result: dict[str, Any] = {"choice": decide.choice, "approved": not rejected, "note": decide.note}
    result |= {"data": Raw(decide.data), "by": decide.actor, "at": now}
    return WaitEnd(json.encode(result), actor=decide.actor)


def _signal_result(signal: StoredSignal) -> bytes:
    return json.encode({"data": Raw(signal.data), "by": signal.by, "at": signal.at})


def _timeout_error(wait: Wait) -> str:
    seconds = 0.0 if wait.until is None else (wait.until - wait.since).total_seconds()
    return f"no {wait.kind} within {seconds:.12g} s"
