"""The errors of the client. They mirror the problems that the API sends, one class for each status.

What must hold:
- No error contains the token, in its message or in its members.
- Every error of the client is a `StepwellError`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Self

from msgspec import UNSET

from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.problems import HTTPValidationError, Problem, ValidationError, place_text
from stepwell.contract.workflows import WorkflowPublic

UNKNOWN_PROBLEM: Final = "about:blank"  # the type of the problem of a response without a problem document
_MAX_FAULTS = 20  # of an invalid request, in the message of its error


class StepwellError(Exception):
    """The base of all errors of the client.

    `problem` is the problem document of the response, and `status` its status; None if there was no such response.
    `retry_after_s` is the pause that the service asks for; None if it asks for none. `workflow` is set if the
    call had its effect and only the wait for the end failed: it is the workflow as last read.
    """

    workflow: WorkflowPublic | None = None

    def __init__(
        self,
        message: str,
        *,
        problem: Problem | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = problem
        self.status = status
        self.retry_after_s = retry_after_s


class ConnectionFailed(StepwellError):
    """No response came from the service.

    `was_sent` is true if the request may have reached the service and had its effect. `is_temporary` is false if
    another try can't succeed, for instance because the certificate isn't accepted.
    """

    def __init__(self, message: str, *, was_sent: bool = True, is_temporary: bool = True) -> None:
        super().__init__(message)
        self.was_sent, self.is_temporary = was_sent, is_temporary


class UnexpectedResponse(StepwellError):
    """The response isn't one of this API: of another server, of a proxy, or of a later version of the service."""


class WaitTimeout(StepwellError, TimeoutError):
    """The workflow has not ended within the time of the wait. `workflow` is the last state that the client has read."""

    def __init__(self, message: str, workflow: WorkflowPublic) -> None:
        super().__init__(message)
        self.workflow: WorkflowPublic = workflow

    def __reduce__(self) -> tuple[type[Self], tuple[str, WorkflowPublic]]:
        return type(self), (str(self), self.workflow)


class InvalidWebhook(StepwellError):
    """The request isn't a webhook of the service: its signature, its time or its body is wrong."""


class RequestRefused(StepwellError):
    """The service refused the request. Each status of the API has its own class."""

    STATUS: ClassVar[int | None] = None


class Unauthorized(RequestRefused):
    """There is no token, or it isn't accepted."""

    STATUS = 401


class Forbidden(RequestRefused):
    """The token lacks the scope, or names another tenant."""

    STATUS = 403


class NotFound(RequestRefused):
    """The id is unknown, or belongs to another tenant."""

    STATUS = 404


class Conflict(RequestRefused):
    """The workflow's status doesn't allow the request. Nothing has changed."""

    STATUS = 409

    @property
    def allowed_from(self) -> Sequence[WorkflowStatus]:
        """The statuses that allow the verb; empty if no status does, or if the conflict is another one."""
        return () if self.problem is None or self.problem.allowed_from is UNSET else self.problem.allowed_from

    @property
    def current_status(self) -> WorkflowStatus | None:
        """The status of the workflow; None if the conflict is another one."""
        return None if self.problem is None or self.problem.current_status is UNSET else self.problem.current_status

    @property
    def is_deleted(self) -> bool:
        """True if the workflow is deleted."""
        return self.problem is not None and self.problem.is_deleted is True


class PreconditionFailed(RequestRefused):
    """The workflow has changed since its tag, `if_match`, was read. Nothing has changed."""

    STATUS = 412


class TooLarge(RequestRefused):
    """The body is larger than the service accepts."""

    STATUS = 413


class UnsupportedType(RequestRefused):
    """The service doesn't accept files of this type."""

    STATUS = 415


class Invalid(RequestRefused):
    """The request is invalid. `faults` lists every fault with its place."""

    STATUS = 422
    faults: Sequence[ValidationError] = ()


class TooManyRequests(RequestRefused):
    """The tenant has too many requests, streams or workflows."""

    STATUS = 429


class Unavailable(RequestRefused):
    """The service, or a proxy before it, can't serve the request now: 502, 503 or 504."""

    STATUS = 503


class InsufficientStorage(RequestRefused):
    """A disk is full, or the tenant's quota is used up."""

    STATUS = 507


class ServiceFailed(RequestRefused):
    """The service has a fault."""

    STATUS = 500


_BY_STATUS: Mapping[int | None, type[RequestRefused]] = {
    **{each.STATUS: each for each in RequestRefused.__subclasses__()},
    502: Unavailable,
    504: Unavailable,
}


def refusal_of(status: int, problem: Problem, request: str, retry_after_s: float | None) -> RequestRefused:
    """Return the error for a response with the status *status* and the document *problem*. *request* is for the
    message.
    """
    message = f"{status} {problem.title}: {problem.detail} ({request})"
    kind = _BY_STATUS.get(status, RequestRefused)
    return kind(message, problem=problem, status=status, retry_after_s=retry_after_s)


def invalid_request(response: HTTPValidationError, request: str) -> Invalid:
    """Return the error for a response that lists the faults of a request."""
    faults = [] if response.detail is UNSET else response.detail
    lines = [f"{place_text(fault.loc)}: {fault.msg}" for fault in faults[:_MAX_FAULTS]]
    if len(faults) > _MAX_FAULTS:
        lines.append(f"and {len(faults) - _MAX_FAULTS} more")
    title = "Invalid request" if response.title is UNSET else response.title
    detail = "; ".join(lines)
    error = Invalid(
        f"{Invalid.STATUS} {title}: {detail} ({request})",
        problem=Problem(type=f"/schema#problem-{Invalid.STATUS}", title=title, status=422, detail=detail),
        status=Invalid.STATUS,
    )
    error.faults = faults
    return error
