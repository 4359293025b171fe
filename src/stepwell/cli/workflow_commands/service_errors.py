"""The exit code and the message of each error of the client."""

from stepwell.basics.setting_names import TOKEN
from stepwell.cli.errors import FAILED, NOT_FOUND, REFUSED, UNAVAILABLE
from stepwell.cli.outcome import fault_line
from stepwell.client import (
    ConnectionFailed,
    Invalid,
    NotFound,
    RequestRefused,
    StepwellError,
    Unauthorized,
    UnexpectedAnswer,
)
from stepwell.client.errors import UNKNOWN_PROBLEM

_SERVER_ERROR = 500
_WITHOUT_ROUTE = frozenset({404, 405, 501})  # how other servers refuse the paths and methods of the API


def exit_code(error: StepwellError) -> int:
    """Return the exit code for an error of the client."""
    if _is_of_another_server(error):
        return UNAVAILABLE
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, ConnectionFailed) or (error.status or 0) >= _SERVER_ERROR:
        return UNAVAILABLE
    return REFUSED if isinstance(error, RequestRefused) else FAILED


def _is_of_another_server(error: StepwellError) -> bool:
    """Return whether the answer isn't one of Stepwell's API, so that the address may be wrong."""
    if isinstance(error, UnexpectedAnswer):
        return True
    problem = error.problem
    return problem is not None and problem.type == UNKNOWN_PROBLEM and problem.status in _WITHOUT_ROUTE


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
    if _is_of_another_server(error):
        lines.append(f"is {url} the address of a Stepwell service, and of this version?")
    return lines
