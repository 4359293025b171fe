"""The rules of waits: what may end a wait and when it ends by itself, and the results of steps that have waited."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw, json

from stepwell.basics.errors import NotWaiting
from stepwell.contract.enums import StepStatus, WaitKind
from stepwell.contract.task_configs import REJECT
from stepwell.lifecycle.inputs import Decide, Signal, WaitTerms
from stepwell.lifecycle.model import StoredSignal, Wait

# The beginnings of the errors of steps that were rejected, or whose time for a decision was up.
REJECTED = "rejected by "
TIMED_OUT = f"no {WaitKind.DECISION} within "
# The most bytes of the signals of a workflow that no step has taken, together: they are in memory whenever it is.
EARLY_SIGNALS_MAX_BYTES = 1024 * 1024


def wait_of(kind: WaitKind, terms: WaitTerms, now: datetime) -> Wait:
    """Return the wait that begins now."""
    until = terms.until if terms.timeout_s is None else now + timedelta(seconds=terms.timeout_s)
    return Wait(terms.id, kind, now, until, terms.choices, terms.on_timeout, terms.rejects, terms.shown.message)


def is_over(wait: Wait, now: datetime) -> bool:
    """Return whether the time of the wait has passed. Then nothing else can end it, whatever is recorded."""
    return wait.until is not None and now >= wait.until


def decidable_wait(status: StepStatus, wait: Wait | None, decide: Decide, now: datetime) -> Wait:
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


def check_signal(
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


def decision_result(choice: str, note: str | None, data: bytes, by: str, at: datetime) -> bytes:
    approved = choice != REJECT
    result: dict[str, Any] = {"choice": choice, "approved": approved, "note": note, "data": Raw(data), "by": by}
    return json.encode(result | {"at": at})


def signal_result(signal: StoredSignal) -> bytes:
    return json.encode({"data": Raw(signal.data), "by": signal.by, "at": signal.at})


def no_signal_result(at: datetime) -> bytes:
    """Return the result of a SIGNAL step that continues after its time-out."""
    return json.encode({"data": None, "by": None, "at": at})


def delay_result(wait: Wait) -> bytes:
    return json.encode({"until": wait.until})


def timeout_error(wait: Wait) -> str:
    seconds = 0.0 if wait.until is None else (wait.until - wait.since).total_seconds()
    return f"no {wait.kind} within {seconds:.12g} s"
