"""Failures of tools as texts for an assistant: what is wrong, where, and what to do."""

from collections.abc import Sequence
from typing import Final

from stepwell.client import (
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotFound,
    StepwellError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from stepwell.client.errors import fault_place
from stepwell.contract.problems import ValidationError

_MAX_FAULTS: Final = 50
_ADVICE: Final[dict[type[StepwellError], str]] = {
    Conflict: "Read the workflow with get_workflow, and choose a tool that its status allows.",
    ConnectionFailed: "The service gives no answer: ask the user whether it runs, and whether its address is right.",
    Forbidden: "The token doesn't allow this. Ask the user for another one.",
    NotFound: "Check the id: list_workflows lists the workflows that you may see.",
    TooManyRequests: "Wait, then call the tool again.",
    Unauthorized: "The token isn't accepted. Ask the user for a new one; `stepwell token` makes it.",
    Unavailable: "Wait, then call the tool again.",
}


def describe_error(error: StepwellError) -> str:
    """Return the text for an error of the client."""
    if isinstance(error, Invalid) and error.faults:
        return describe_faults(error.faults)
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), None)
    lines = [str(error)]
    if isinstance(error, Conflict) and error.allowed_from:
        lines.append(f"Allowed from: {', '.join(error.allowed_from)}.")
    if error.retry_after_s is not None:
        lines.append(f"Retry after {error.retry_after_s:g} s.")
    if advice is not None:
        lines.append(advice)
    return "\n".join(lines)


def describe_faults(faults: Sequence[ValidationError]) -> str:
    """Return a line for each fault, with its place in the arguments as a path like `steps[0].config.prompt`."""
    lines = [f"- {fault_place(fault)}: {fault.msg} ({fault.type})" for fault in faults[:_MAX_FAULTS]]
    if len(faults) > _MAX_FAULTS:
        lines.append(f"- and {len(faults) - _MAX_FAULTS} more")
    noun = "fault" if len(faults) == 1 else "faults"
    return "\n".join([f"The service refuses this: {len(faults)} {noun}. Correct each, then call again.", *lines])
