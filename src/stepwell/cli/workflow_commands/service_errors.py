"""The exit code and the message of each error of the client."""

from stepwell.cli.errors import FAILED, NOT_FOUND, REFUSED, UNAVAILABLE
from stepwell.cli.outcome import fault_line
from stepwell.client import ConnectionFailed, Invalid, NotFound, RequestRefused, StepwellError, Unauthorized
from stepwell.domain.setting_names import TOKEN

_SERVER_ERROR = 500


def exit_code(error: StepwellError) -> int:
    """Return the exit code for an error of the client."""
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, ConnectionFailed) or (error.status or 0) >= _SERVER_ERROR:
        return UNAVAILABLE
    return REFUSED if isinstance(error, RequestRefused) else FAILED


def error_lines(error: StepwellError, url: str, *, has_token: bool) -> list[str]:
    """Return the message of an error of the client. *url* is the address of the service."""
    if isinstance(error, Invalid) and error.faults:
        return ["the service refuses this:", *map(fault_line, error.faults)]
    if isinstance(error, RequestRefused) and error.problem is not None:
        lines = [f"{error.problem.title}: {error.problem.detail}".rstrip(": ")]
    else:
        lines = [str(error)]
    if isinstance(error, Unauthorized) and not has_token:
        lines.append(f"no token was sent to {url}: use --token, {TOKEN} or `stepwell login {url}`")
    return lines
