"""Converts the inputs of a step that waits to the terms of its wait: one function for each kind."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, assert_never
from uuid import UUID

from msgspec import ValidationError, convert, json
from msgspec.structs import fields

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import WaitKind
from stepwell.contract.task_configs import FAIL, MAX_WAIT_S, REJECT, ApprovalConfig, SignalConfig
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.lifecycle.inputs import WaitTerms
from stepwell.lifecycle.model import ShownWait

MAX_SHOWN_BYTES: Final = 64 * 1024
_LONGEST_SHOWN = 100  # characters of a value in a message
_OWN = frozenset(field.name for field in fields(ApprovalConfig))


def wait_terms(kind: WaitKind, inputs: Mapping[str, Any], wait_id: UUID, now: datetime) -> WaitTerms:
    """Return the terms of the wait *wait_id*, which begins about *now*.

    *inputs* are those of the step, with its `timeout_s`; they are valid. Raises `AttemptError`, not retryable, if they
    can't be met.
    """
    match kind:
        case WaitKind.DELAY:
            return _delay_terms(inputs, wait_id, now)
        case WaitKind.DECISION:
            return _decision_terms(inputs, wait_id)
        case WaitKind.SIGNAL:
            return _signal_terms(inputs, wait_id)
        case WaitKind.WORKFLOW:
            raise AssertionError("a sub-workflow has no terms")
        case _:
            assert_never(kind)


def _decision_terms(inputs: Mapping[str, Any], wait_id: UUID) -> WaitTerms:
    config = convert(without_nulls(inputs), ApprovalConfig)
    for name, text in (("message", config.message or ""), *(("choices", choice) for choice in config.choices)):
        _check_text(name, text)
    try:
        shown = json.encode({name: value for name, value in inputs.items() if name not in _OWN})
    except UnicodeEncodeError:
        raise _refused("the inputs to be shown contain a lone surrogate") from None
    if len(shown) > MAX_SHOWN_BYTES:
        raise _refused(f"the inputs to be shown have {len(shown):,} bytes, and at most {MAX_SHOWN_BYTES:,} are allowed")
    _check_choices(config, has_on_reject=inputs.get("on_reject") is not None)
    return WaitTerms(
        wait_id,
        timeout_s=config.timeout_s,
        choices=tuple(config.choices),
        on_timeout=config.on_timeout,
        rejects=config.on_reject == "fail",
        shown=ShownWait(config.message, shown),
    )


def _check_text(name: str, text: str) -> None:
    """Check that the database can store *text*: the literals of expressions may have what request bodies can't."""
    if "\x00" in text:
        raise _refused(f"{name} contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(f"{name} contains a lone surrogate") from None


def _check_choices(config: ApprovalConfig, *, has_on_reject: bool) -> None:
    """Check what `WaitRules` couldn't know at create, because expressions gave it."""
    choices = set(config.choices)
    if FAIL in choices:
        raise _refused('no choice is named "fail", because on_timeout would be ambiguous')
    if len(choices) < len(config.choices):
        raise _refused("the choices must differ")
    if config.on_timeout != FAIL and config.on_timeout not in choices:
        raise _refused(f"on_timeout is no choice: {config.on_timeout[:_LONGEST_SHOWN]}")
    if has_on_reject and REJECT not in choices:
        raise _refused('on_reject needs a choice named "reject"')


def _signal_terms(inputs: Mapping[str, Any], wait_id: UUID) -> WaitTerms:
    config = convert(without_nulls(inputs), SignalConfig)
    return WaitTerms(wait_id, timeout_s=config.timeout_s, on_timeout=config.on_timeout)


def _delay_terms(inputs: Mapping[str, Any], wait_id: UUID, now: datetime) -> WaitTerms:
    if (until := inputs.get("until")) is not None:
        at = _time(until)
    else:
        if (seconds := inputs.get("seconds")) is None:
            raise _refused("a DELAY needs seconds or until")
        at = now + timedelta(seconds=min(float(seconds), 2 * MAX_WAIT_S))
    if at - now > timedelta(seconds=MAX_WAIT_S):
        raise _refused(f"{at.isoformat()} is more than a year ahead")
    return WaitTerms(wait_id, until=at)


def _time(value: Any) -> datetime:
    try:
        at: datetime = convert(value, datetime)
    except (ValidationError, UnicodeEncodeError):
        raise _refused("until is no time, as 2026-11-27T18:00:00Z is") from None
    if at.tzinfo is None:
        raise _refused("until has no time zone: add one, as in 2026-11-27T18:00:00Z")
    return at


def _refused(why: str) -> AttemptError:
    return AttemptError(f"Refused inputs: {why}", retryable=False, provider_fault=False)
