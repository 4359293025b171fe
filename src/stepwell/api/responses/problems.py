"""Error responses: one table from errors to statuses, and the exception handlers that apply it.

All are problem details (RFC 9457), except 422, which has the form of the API contract: a list of faults and places. The
status and the `title` come from `TABLE`, the `detail` is the message of the error (see `basics.errors`).
"""

import re
from http import HTTPStatus
from typing import Any, NamedTuple

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, ExceptionHandlersMap, Receive, Scope, Send
from msgspec import UNSET, json

from stepwell.basics import errors
from stepwell.contract.problems import HTTPValidationError, Problem, ValidationError

PROBLEM_JSON = "application/problem+json"
_RETRY_AFTER_S = 2
_Call = Request[Any, Any, Any]
log = structlog.get_logger(__name__)


class ProblemType(NamedTuple):
    status: int
    title: str
    type: str


def _row(status: int, title: str) -> ProblemType:
    # The page at /docs, to which /schema redirects, explains each kind of problem under this anchor.
    return ProblemType(status, title, f"/schema#problem-{status}")


TABLE: dict[type[errors.StepwellError], ProblemType] = {
    errors.InvalidRequest: _row(422, "Invalid request"),
    errors.Unauthenticated: _row(401, "Not authenticated"),
    errors.InvalidToken: _row(401, "Not authenticated"),
    errors.Forbidden: _row(403, "Forbidden"),
    errors.DefinitionArchived: _row(409, "Definition archived"),
    errors.NotWaiting: _row(409, "Not waiting"),
    errors.NotByHand: _row(409, "Not possible by hand"),
    errors.NotFound: _row(404, "Not found"),
    errors.ArtifactGone: _row(404, "Not found"),
    errors.UploadInUse: _row(409, "File in use"),
    errors.UploadMissing: _row(409, "File not sent"),
    errors.StillRunning: _row(409, "Being worked on"),
    errors.JobFollowedUp: _row(409, "Being worked on"),
    errors.NoWebhook: _row(409, "No webhook"),
    errors.InvalidTransition: _row(409, "Not allowed in this state"),
    errors.PreconditionFailed: _row(412, "Changed meanwhile"),
    errors.NeverFits: _row(413, "Body too large"),
    errors.TooManyValues: _row(413, "Body too large"),
    errors.UnsupportedFile: _row(415, "Unsupported body"),
    errors.QuotaExceeded: _row(507, "Insufficient storage"),
    errors.TooManyRequests: _row(429, "Too many requests"),
    errors.Unavailable: _row(503, "Unavailable"),
    errors.ReadOnly: _row(503, "Unavailable"),
    errors.ResourcesExhausted: _row(503, "Unavailable"),
    errors.ArtifactError: _row(503, "Unavailable"),
    errors.DiskFull: _row(507, "Insufficient storage"),
    errors.ArtifactDiskFull: _row(507, "Insufficient storage"),
}
# Statuses that Litestar itself responds with, and 500 for unexpected errors.
BY_STATUS: dict[int, ProblemType] = {row.status: row for row in TABLE.values()} | {
    400: _row(400, "Bad request"),
    405: _row(405, "Method not allowed"),
    408: _row(408, "Body too slow"),
    413: _row(413, "Body too large"),
    415: _row(415, "Unsupported body"),
    416: _row(416, "Range not satisfiable"),
    500: _row(500, "Internal error"),
}
MEANINGS: dict[int, str] = {
    400: "The request isn't valid HTTP.",
    401: "There is no bearer token, or it is refused; detail contains the reason.",
    403: "The token lacks the scope, or names another tenant.",
    404: "The path doesn't exist, or the id is unknown, isn't a UUID, or belongs to another tenant.",
    405: "The path doesn't support this method. The header Allow lists the methods that it supports.",
    408: "The body came too slowly: none of it for 15 s, or less than 16 KiB/s for long.",
    409: "The workflow's status doesn't allow the request, and nothing has changed; current_status and allowed_from "
    "say why, or is_deleted if the workflow is deleted. Or the first request with this Idempotency-Key is still "
    "running; repeat after Retry-After seconds. Or a workflow names the file that is to be deleted. "
    "Or the step doesn't wait for the decision or the signal, or not any more; detail says who decided, and when. "
    "Or the step or the item can't be ended by hand; detail says why.",
    412: "The workflow or the definition no longer has an ETag that If-Match names, or it has one that If-None-Match "
    "names. Nothing has changed.",
    413: "The body is larger than 16 MiB (64 KiB if the operation takes none), or has more than 1,000,000 JSON values "
    "or 500,000 members of objects. The limits of a gzip body hold for the inflated one. Uploads have a limit of their "
    "own.",
    415: "The Content-Type of the body isn't application/json in UTF-8, or another type that the header Accept lists; "
    "or its Content-Encoding isn't gzip. Or the bytes of an uploaded file have no type that is accepted.",
    416: "The Range begins behind the end of the file; Content-Range has the file's size.",
    422: "The body or the query is invalid; detail lists every fault with its place.",
    429: "There are too many requests; repeat after Retry-After seconds.",
    500: "The service has a fault.",
    503: "The database is unavailable, or the service is stopping; repeat after Retry-After seconds.",
    507: "A disk is full, or the tenant's quota of uploads or of definitions is used up, so nothing was stored; repeat "
    "after Retry-After seconds.",
}
_HIDDEN = "The service could not respond to this request."


def _on_stepwell_error(request: _Call, error: errors.StepwellError) -> Response[Any]:
    if isinstance(error, errors.InvalidRequest):
        return _validation_error(error)
    row = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), None)
    if row is None:
        return _on_unexpected(request, error)
    headers = {}
    problem = _problem(request, row, str(error))
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = _challenge(error)
    elif isinstance(error, errors.InvalidTransition):
        problem.current_status = error.current
        if error.deleted:
            problem.is_deleted = True
        else:
            problem.allowed_from = list(error.allowed)
    elif isinstance(error, errors.StillRunning):
        headers["Retry-After"] = "1"
    elif isinstance(error, errors.Unavailable | errors.TooManyRequests | errors.QuotaExceeded):
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, errors.ArtifactDiskFull):
        problem.detail, headers["Retry-After"] = "The artifact store is full.", str(_RETRY_AFTER_S)
    elif isinstance(error, errors.ArtifactError):
        # The store's message names folders and buckets, so only the log contains it.
        log.error("artifact could not be read", path=request.url.path, error=str(error))
        problem.detail, headers["Retry-After"] = "The file can't be read now.", str(_RETRY_AFTER_S)
    return _response(problem, headers)


def on_http_exception(request: _Call, error: HTTPException) -> Response[Any]:
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _on_unexpected(request, error)
    row = BY_STATUS.get(error.status_code) or ProblemType(
        error.status_code, HTTPStatus(error.status_code).phrase, "about:blank"
    )
    has_detail = error.detail != HTTPStatus(error.status_code).phrase
    detail = error.detail if has_detail else MEANINGS.get(error.status_code, error.detail)
    return _response(_problem(request, row, detail), error.headers or {})


def path_not_found(request: _Call, detail: str) -> Response[Any]:
    return _response(_problem(request, BY_STATUS[404], detail), {"Vary": "Accept"})


def _on_unexpected(request: _Call, error: Exception) -> Response[Any]:
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return _response(_problem(request, BY_STATUS[500], _HIDDEN), {})


def _validation_error(error: errors.InvalidRequest) -> Response[Any]:
    row = TABLE[errors.InvalidRequest]
    detail = [ValidationError(loc=list(fault.loc), msg=fault.msg, type=fault.type) for fault in error.faults]
    return Response(
        HTTPValidationError(detail=detail, title=row.title, status=row.status),
        status_code=row.status,
        media_type="application/json",
    )


def _challenge(error: errors.Unauthenticated) -> str:
    """Return the challenge of a 401 (RFC 6750): without a token it has no error code. It is printable ASCII."""
    code = 'error="invalid_token", ' if isinstance(error, errors.InvalidToken) else ""
    description = re.sub(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]", "?", str(error).replace('"', "'"))
    return f'Bearer realm="stepwell", {code}error_description="{description}"'


def _problem(request: _Call, row: ProblemType, detail: str) -> Problem:
    # The path as it was sent, with its escapes. An ASGI server may omit it.
    instance = (request.scope.get("raw_path") or b"").decode("latin-1") or UNSET
    return Problem(type=row.type, title=row.title, status=row.status, detail=detail, instance=instance)


def _response(problem: Problem, headers: dict[str, str]) -> Response[Any]:
    return Response(problem, status_code=problem.status, media_type=PROBLEM_JSON, headers=headers)


def refusal(status: int, detail: str, retry_after_s: int | None = None, *, close: bool = False) -> ASGIApp:
    """Return an application that responds to each request with this problem. With *close*, the connection then ends."""
    row = BY_STATUS[status]
    body = json.encode(Problem(type=row.type, title=row.title, status=row.status, detail=detail))
    headers = [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body))]
    headers += [] if retry_after_s is None else [(b"retry-after", b"%d" % retry_after_s)]
    headers += [(b"connection", b"close")] if close else []

    async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return refuse


HANDLERS: ExceptionHandlersMap = {
    errors.StepwellError: _on_stepwell_error,
    HTTPException: on_http_exception,
    Exception: _on_unexpected,
}
