"""The OpenAPI 3.1 document, built from the operations beside the handlers and the structs that they name.

Litestar's own generator isn't used. It drops the slash at the end of a path, and it sees neither the queries that the
handlers parse nor the statuses with which the middleware refuses requests.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.json import schema
from msgspec.structs import fields

from stepwell.api.components import EXAMPLE, build_components, complete_schema
from stepwell.api.operations import SCHEMA_REF, Content, Operation
from stepwell.api.problems import MEANINGS, PROBLEM_JSON
from stepwell.api.webhook_payloads import describe_webhooks
from stepwell.contract.definition import CreateWorkflow
from stepwell.contract.problems import HTTPValidationError, Problem

_INTRO = (
    "Runs workflows of AI-media tasks. Post a definition, a DAG of steps; the ready steps run concurrently, every "
    "transition is checkpointed, and after a crash the workflow goes on from its last checkpoint."
)
_HEADERS = {
    "Location": "The address of the workflow, or of the page",
    "Link": "first, prev, next and last page (RFC 8288)",
    "ETag": "Of what is answered; strong",
    "Idempotency-Replayed": "true for the answer to an earlier request with the same Idempotency-Key",
    "Preference-Applied": "The part of Prefer that was kept to",
    "Content-Disposition": "inline for images and videos, attachment for all else",
    "WWW-Authenticate": "The scheme Bearer, with the reason in error_description",
    "Retry-After": "Seconds",
}
_PROBLEM_HEADERS = {401: "WWW-Authenticate", 503: "Retry-After", 507: "Retry-After"}
_REQUEST_HEADERS = {
    "Idempotency-Key": "1 to 255 printable ASCII characters, bare or quoted. For 48 hours the same request with the "
    "same key has its effect once and is answered the same; another request with it is refused.",
    "If-Match": "ETags of the workflow, with steps or without: only while it is one of these.",
    "If-None-Match": "ETags: 304 while it is one of these.",
    "Last-Event-ID": "Of a stream: only events after it. It counts more than the query.",
    "Prefer": "wait=N: answer once the workflow has ended, or after N seconds, at most 60, as it is by then.",
}
# The consequences of a request header: the status of a failure, and the response header.
_FAILURE_STATUS = {"Idempotency-Key": 409, "If-Match": 412, "If-None-Match": 304}
_RESPONSE_HEADER = {"Idempotency-Key": "Idempotency-Replayed", "Prefer": "Preference-Applied"}
_PARAMETERS = {
    "workflow_id": {"type": "string", "format": "uuid"},
    "task_id": {"type": "string", "format": "uuid"},
    "delivery_id": {"type": "string"},
    "path": {"type": "string"},
    "token": {"type": "string"},
    "page": {"type": "string"},
}
_TAGS = {
    "workflows": "Create, watch and steer workflows.",
    "tasks": "The attempts at a workflow's steps.",
    "events": "What happened, in its order.",
    "providers": "Who does the work, and how they do.",
    "artifacts": "The files that tasks made.",
    "webhooks": "What is told to a workflow's webhook_url.",
    "callbacks": "Where providers tell of jobs.",
    "system": "For operators and their machines; without a token.",
}


def build_document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """Return the document that describes *operations*, of plain JSON values."""
    operations = list(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stepwell", "version": version, "description": _INTRO},
        "paths": dict(sorted(paths.items())),
        "webhooks": describe_webhooks(),
        "components": {
            "schemas": build_components(operations),
            "securitySchemes": {
                "HTTPBearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Scopes workflows:read, workflows:write, tenants:all.",
                },
                "StreamTicket": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "Made by /api/v1/events/tickets; good for a minute. A token counts more.",
                },
            },
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
    }


def problem_statuses(operation: Operation) -> list[int]:
    """Return the statuses with which *operation* may fail. 500 isn't among them, because it would be our own fault."""
    statuses = {*operation.problems, 400}
    if operation.permission is not None:
        statuses |= {401, 403, 422, 503, 507}
    if any(name in _PARAMETERS for name in operation.path_parameters):
        statuses.add(404)
    statuses |= {_FAILURE_STATUS[name] for name in operation.takes if name in _FAILURE_STATUS}
    if operation.method != "GET":
        # An operation without a body refuses a body that isn't empty.
        statuses |= {413, 415}
    return sorted(statuses)


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": _query_parameters(operation) + _path_parameters(operation) + _header_parameters(operation),
        "responses": {str(operation.status): _success(operation)}
        | {str(status): _failure(status) for status in problem_statuses(operation)},
    }
    if operation.permission is not None:
        described["security"] = [{"HTTPBearer": []}, *([{}] if operation.signable else [])]
        described["security"] += [{"StreamTicket": []}] if operation.ticketed else []
    if operation.body is not None:
        content: dict[str, Any] = {"schema": {"$ref": SCHEMA_REF.format(name=operation.body.__name__)}}
        if operation.body is CreateWorkflow:
            content["example"] = EXAMPLE
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": dict(_PARAMETERS[name])}
        for name in operation.path_parameters
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = []
    for member in fields(operation.query):
        parameter_schema = schema(member.type)
        definitions = parameter_schema.pop("$defs", {})
        name = parameter_schema.pop("$ref", "").removeprefix("#/$defs/")
        parameter_schema = complete_schema({**definitions.get(name, {}), **parameter_schema})
        parameter_schema.pop("title", None)
        description = parameter_schema.pop("description", "")
        if isinstance(member.default, int | str):
            parameter_schema["default"] = member.default
        parameters.append(
            {
                "name": member.encode_name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": parameter_schema,
            }
        )
    return parameters


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    kinds = {"Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": 255}}
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": _REQUEST_HEADERS[name],
            "schema": kinds.get(name, {"type": "string"}),
        }
        for name in operation.takes
    ]


def _success(operation: Operation) -> dict[str, Any]:
    answers = operation.answers
    if isinstance(answers, Content):
        response: dict[str, Any] = {"description": answers.description, "content": _content(answers)}
    else:
        reference = {"$ref": SCHEMA_REF.format(name=answers.__name__)}
        response = {"description": "Success", "content": {"application/json": {"schema": reference}}}
        for media_type, other in operation.also:
            response["content"][media_type] = {"schema": {"$ref": SCHEMA_REF.format(name=other.__name__)}}
        if operation.streams is not None:
            response["content"][operation.streams.media_type] = {"schema": {"type": "string"}}
    optional = [_RESPONSE_HEADER[name] for name in operation.takes if name in _RESPONSE_HEADER]
    if operation.headers or optional:
        response["headers"] = {name: _header(name, required=operation.streams is None) for name in operation.headers}
        response["headers"] |= {name: _header(name, required=False) for name in optional}
    return response


def _content(answer: Content) -> dict[str, Any]:
    if answer.binary:
        # Some generators support application/octet-stream alone, so it is listed beside the range that includes it.
        binary = {"type": "string", "format": "binary"}
        return {media_type: {"schema": binary} for media_type in ("application/octet-stream", answer.media_type)}
    return {answer.media_type: {"schema": {"type": "string"} if answer.media_type.startswith("text/") else {}}}


def _failure(status: int) -> dict[str, Any]:
    if status == 204:  # noqa: PLR2004
        return {"description": "The workflow has ended, and nothing follows: an EventSource doesn't come back."}
    if status == 307:  # noqa: PLR2004
        return {
            "description": "A redirect of browsers to the page for people.",
            "headers": {"Location": _header("Location")},
        }
    if status == 304:  # noqa: PLR2004
        return {"description": "It is still what If-None-Match names.", "headers": {"ETag": _header("ETag")}}
    kind, media_type = (HTTPValidationError, "application/json") if status == 422 else (Problem, PROBLEM_JSON)  # noqa: PLR2004
    response: dict[str, Any] = {
        "description": "Validation Error" if kind is HTTPValidationError else MEANINGS[status],
        "content": {media_type: {"schema": {"$ref": SCHEMA_REF.format(name=kind.__name__)}}},
    }
    if name := _PROBLEM_HEADERS.get(status):
        response["headers"] = {name: _header(name)}
    elif status == 409:  # noqa: PLR2004 - sent while the original request still runs
        response["headers"] = {"Retry-After": _header("Retry-After", required=False)}
    return response


def _header(name: str, *, required: bool = True) -> dict[str, Any]:
    return {"description": _HEADERS[name], "required": required, "schema": {"type": "string"}}


def encode(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document)
