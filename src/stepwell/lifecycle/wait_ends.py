"""Says what has become of a step that a late decision or signal is for."""

from datetime import datetime
from typing import Final

from msgspec import DecodeError, Struct, json

from stepwell.contract.enums import StepStatus
from stepwell.contract.task_configs import REJECT
from stepwell.lifecycle.records import StepRecord
from stepwell.lifecycle.waits import REJECTED, TIMED_OUT


class _Result(Struct):
    """The members of a decision's or a signal's result that say who has sent it, and when."""

    at: datetime
    by: str | None = None
    choice: str | None = None


LINK_ACTOR: Final = "link"  # decides by a decision link
_read_result = json.Decoder(_Result).decode
# Deciders that aren't users. `by` is None if the time of a SIGNAL was up.
_DECIDERS = {LINK_ACTOR: "somebody with the decision link", None: "stepwell, because the time was up,"}


def describe_end(step: StepRecord) -> str:
    """Return why *step* doesn't wait: who has decided and when, or its status. A sentence."""
    state = step.state
    if state.status is StepStatus.COMPLETED and state.result is not None:
        try:
            result = _read_result(state.result)
        except DecodeError:
            return "The step has completed."
        by, at = _DECIDERS.get(result.by, result.by), _moment(result.at)
        return f"{by} decided '{result.choice}' at {at}." if result.choice else f"{by} sent the signal at {at}."
    if state.status is StepStatus.FAILED:
        at = "" if state.completed_at is None else f" at {_moment(state.completed_at)}"
        return f"The step has failed{at}: {state.error_message}."
    if state.status in (StepStatus.PENDING, StepStatus.RUNNING):
        return "The step doesn't wait for this yet, or it waits again after a resume."
    return f"The step is {state.status}."


def describe_end_to_anyone(step: StepRecord) -> str:
    """Return why *step* doesn't wait for a decision, without names, notes, and errors that are about other steps."""
    state = step.state
    if state.status is StepStatus.COMPLETED and state.result is not None:
        try:
            result = _read_result(state.result)
        except DecodeError:
            return "The step has completed."
        return f"'{result.choice}' was decided at {_moment(result.at)}."
    if state.status is not StepStatus.FAILED:
        return describe_end(step)
    at = "" if state.completed_at is None else f" at {_moment(state.completed_at)}"
    if (error := state.error_message or "").startswith(REJECTED):
        return f"'{REJECT}' was decided{at}."
    if error.startswith(TIMED_OUT):
        return f"Nobody decided in time: the wait ended{at}."
    return "The step has ended without a decision."


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
