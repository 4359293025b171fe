"""The rules of waits: when a wait ends by itself, and what the results of decisions, signals and delays are."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Raw, json

from stepwell.contract.enums import WaitKind
from stepwell.contract.task_configs import REJECT
from stepwell.domain.lifecycle.inputs import WaitTerms
from stepwell.domain.model import StoredSignal, Wait

# The beginnings of the errors of steps that were rejected, or whose time for a decision was up.
REJECTED = "rejected by "
TIMED_OUT = f"no {WaitKind.DECISION} within "


def wait_of(kind: WaitKind, terms: WaitTerms, now: datetime) -> Wait:
    """Return the wait that begins now."""
    until = terms.until if terms.timeout_s is None else now + timedelta(seconds=terms.timeout_s)
    return Wait(terms.id, kind, now, until, terms.choices, terms.on_timeout, terms.rejects, terms.shown.message)


def is_over(wait: Wait, now: datetime) -> bool:
    """Return whether the time of the wait has passed. Then nothing else can end it, whatever is recorded."""
    return wait.until is not None and now >= wait.until


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
