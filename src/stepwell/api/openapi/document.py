"""The OpenAPI 3.1 document, built from the operations beside the handlers and the structs that they name.

Litestar's own generator isn't used. It drops the slash at the end of a path, and it sees neither the queries that the
handlers parse nor the statuses with which the middleware refuses requests.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.json import schema
from msgspec.structs import fields

from stepwell.api.openapi.components import BINARY, EXAMPLE, build_components, complete_schema
from stepwell.api.openapi.webhook_payloads import describe_webhooks
from stepwell.api.requests.operations import SCHEMA_REF, Content, Operation
from stepwell.api.responses.problems import MEANINGS, PROBLEM_JSON
from stepwell.contract.definition import CreateWorkflow
from stepwell.contract.problems import HTTPValidationError, Problem
from stepwell.contract.scopes import SCOPES

_INTRO = (
    "Runs workflows of AI-media tasks. A client posts a definition, which is a DAG of steps. Steps that are ready run "
    "concurrently, and every transition is checkpointed. After a crash, a workflow continues from its last checkpoint. "
    "A JSON body may be sent with Content-Encoding: gzip."
)
_LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
_HEADERS = {
    "Location": "The address of the workflow, of the definition, of the first file, or of the page",
    "Link": "URLs of the first, previous, next and last page (RFC 8288)",
    "ETag": "The strong entity tag of the response",
    "Idempotency-Replayed": "true if this is the stored response to an earlier request with the same Idempotency-Key",
    "Preference-Applied": "The preference of the request that the service applied",
    "Content-Disposition": "inline for images and videos, attachment for all else, a ZIP, and with download=1",
    "Accept-Ranges": "bytes",
    "Content-Range": "The part of the file, and its size: bytes 0-499/1234. bytes */1234 if there is no such part",
    "WWW-Authenticate": "The scheme Bearer, with the reason of the refusal in error_description",
    "RateLimit": 'The policy "workflows", with how many further workflows the tenant may start now: "workflows";r=10',
    "RateLimit-Policy": 'The policy "workflows", with how many of them the tenant may have RUNNING: "workflows";q=500',
    "Retry-After": "The number of seconds to wait before the next request",
}
_PROBLEM_HEADERS = {
    401: "WWW-Authenticate",
    416: "Content-Range",
    429: "Retry-After",
    503: "Retry-After",
    507: "Retry-After",
}
# Of the statuses 405 and 415, and of OPTIONS.
_REFUSAL_HEADERS = ("Allow", "Accept", "Accept-Encoding", "Accept-Patch")
_REQUEST_HEADERS = {
    "Idempotency-Key": "1 to 255 printable ASCII characters, bare or quoted. For 48 hours, a repeat of the request "
    "with this key has no further effect and gets the same response. A different request with this key is refused.",
    "If-Match": "ETags of the workflow, with or without steps, or of the definition. The response is 412 unless one of "
    "them is current.",
    "If-None-Match": "ETags. If one of them is current, a GET returns 304, and a PUT 412. * is any ETag.",
    "Last-Event-ID": "For a stream: the id of an event. Only later events are sent. This header overrides the query.",
    "Range": "A part of the file: bytes=0-499, bytes=500- or bytes=-500. Several parts at once get the whole file.",
    "If-Range": "An ETag. Unless it is current, the response is the whole file.",
}
_PREFER_WAIT = "wait=N: the service responds when the workflow has ended, or after N seconds. N is at most 60."
_PREFER_HANDLING = (
    "handling=lenient: unknown members of the body are ignored. handling=strict: they are refused. That is the "
    "default, unless the service is configured otherwise."
)
_BYTES = Content("*/*", binary=True)
_PART = 206
# Other statuses that an operation lists among its problems, with their headers.
_NO_FAILURES: dict[int, tuple[str, tuple[str, ...]]] = {
    204: ("There are no later events, so an EventSource doesn't reconnect.", ()),
    _PART: ("The part of the file that Range names.", ("Content-Range", "ETag")),
    304: ("An ETag in If-None-Match is current.", ("ETag",)),
    307: ("The page for browsers is at this location.", ("Location",)),
}
# The consequences of a request header: the status of a failure, and the response header.
_FAILURE_STATUS = {"Idempotency-Key": 409, "If-Match": 412, "If-None-Match": 304, "Range": 416}
_RESPONSE_HEADER = {"Idempotency-Key": "Idempotency-Replayed", "Prefer": "Preference-Applied"}
# Generators support these two types, and not the range */*, although the service accepts a file under any type.
_FILES: dict[str, Any] = {
    "multipart/form-data": {"schema": {"$ref": SCHEMA_REF.format(name="UploadForm")}},
    "application/octet-stream": {"schema": BINARY},
}
_TEXT = {"type": "string"}
_UUIDS = frozenset({"workflow_id", "task_id", "upload_id"})  # parameters of paths
_ITEM = {"type": "integer", "minimum": 0}
_TAGS = {
    "workflows": "Create, read and control workflows.",
    "definitions": "Definitions that are stored by name, in versions.",
    "tasks": "Attempts at the steps of workflows.",
    "events": "The histories of workflows, as lists and as live streams.",
    "providers": "The configured providers, with their load and health.",
    "limits": "The limits of a tenant.",
    "costs": "Sums of the costs of attempts.",
    "artifacts": "The output files of tasks, and the files that users upload.",
    "webhooks": "The messages that the service posts to a workflow's webhook_url.",
    "callbacks": "Reports of providers about their jobs.",
    "system": "Operations for operators and monitoring. They need no token.",
}


def build_document(operations: Iterable[Operation], version: str, providers: Sequence[str]) -> dict[str, Any]:
    """Return the document that describes *operations*, of plain JSON values. *providers* are the installed ones."""
    operations = list(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stepwell", "version": version, "description": _INTRO, "license": _LICENSE},
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "webhooks": describe_webhooks(),
        "components": {
            "schemas": build_components(operations, providers),
            "securitySchemes": {
                "HTTPBearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": f"Scopes {', '.join(SCOPES)}.",
                },
                "StreamTicket": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "A ticket from /api/v1/events/tickets, valid for one minute. A token overrides it.",
                },
            },
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
    }


def response_headers(operations: Iterable[Operation]) -> set[str]:
    """Return the names of the headers that responses may have, and that a client may need."""
    names = {*_PROBLEM_HEADERS.values(), *_REFUSAL_HEADERS}
    for operation in operations:
        names |= {*operation.headers, *operation.optional_headers}
        names |= {_RESPONSE_HEADER[name] for name in operation.request_headers if name in _RESPONSE_HEADER}
    return names


def problem_statuses(operation: Operation) -> list[int]:
    """Return the statuses with which *operation* may fail. 500 isn't among them, because it would be our own fault."""
    statuses = {*operation.problems, 400}
    if operation.permission is not None:
        statuses |= {401, 403, 422, 429, 503, 507}
    if operation.path_parameters:
        statuses.add(404)
    statuses |= {_FAILURE_STATUS[name] for name in operation.request_headers if name in _FAILURE_STATUS}
    if operation.method != "GET":
        statuses = {412 if status == _FAILURE_STATUS["If-None-Match"] else status for status in statuses}
        # An operation without a body refuses a body that isn't empty.
        statuses |= {408, 413, 415}
    return sorted(statuses)


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.title,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": _query_parameters(operation) + _path_parameters(operation) + _header_parameters(operation),
        "responses": {
            str(status): _success(operation)
            for status in (operation.status, operation.repeat_status)
            if status is not None
        }
        | {str(status): _failure(status) for status in problem_statuses(operation)},
    }
    described["security"] = [] if operation.permission is None else [{"HTTPBearer": []}]
    described["security"] += [{}] if operation.signable else []
    described["security"] += [{"StreamTicket": []}] if operation.ticketed else []
    if operation.body is not None:
        bodies = [each for each in (operation.body, operation.other_body) if each is not None]
        schemas = [{"$ref": SCHEMA_REF.format(name=each.__name__)} for each in bodies]
        content: dict[str, Any] = {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
        if operation.body is CreateWorkflow:
            content["example"] = EXAMPLE
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": dict.fromkeys(operation.body_types, content),
        }
    elif operation.files:
        described["requestBody"] = {"required": False, "content": _FILES}  # there is none with presign=true
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
        for name in operation.path_parameters
    ]


def _path_schema(name: str) -> dict[str, Any]:
    return {**_ITEM} if name == "item" else _TEXT | ({"format": "uuid"} if name in _UUIDS else {})


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = []
    for member in fields(operation.query):
        parameter_schema = schema(member.type)
        definitions = parameter_schema.pop("$defs", {})
        name = parameter_schema.pop("$ref", "").removeprefix("#/$defs/")
        if "items" in parameter_schema:
            item = parameter_schema["items"].pop("$ref", "").removeprefix("#/$defs/")
            parameter_schema["items"] |= definitions.get(item, {})
        parameter_schema = complete_schema({**definitions.get(name, {}), **parameter_schema})
        parameter_schema.pop("title", None)
        description = parameter_schema.pop("description", "")
        if isinstance(member.default, int | str):
            parameter_schema["default"] = member.default
        about = {"name": member.encode_name, "in": "query", "required": False, "description": description}
        parameters.append({**about, "schema": parameter_schema})
    return parameters


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    kinds = {"Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": 255}}
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": _REQUEST_HEADERS.get(name) or _prefer(operation),
            "schema": kinds.get(name, {"type": "string"}),
        }
        for name in operation.request_headers
    ]


def _prefer(operation: Operation) -> str:
    """Return what the operation makes of `Prefer`."""
    texts = [_PREFER_WAIT] if operation.waits else []
    texts += [_PREFER_HANDLING] if operation.reads_json else []
    return " ".join(texts)


def _success(operation: Operation) -> dict[str, Any]:
    success = operation.response
    if isinstance(success, Content):
        response: dict[str, Any] = {"description": success.description, "content": _content(success)}
    else:
        reference = {"$ref": SCHEMA_REF.format(name=success.__name__)}
        response = {"description": "Success", "content": {"application/json": {"schema": reference}}}
        for other in operation.also:
            if isinstance(other, Content):
                response["content"][other.media_type] = {"schema": BINARY}
            else:
                response["content"][other[0]] = {"schema": {"$ref": SCHEMA_REF.format(name=other[1].__name__)}}
        if operation.streams is not None:
            response["content"][operation.streams.media_type] = {"schema": {"type": "string"}}
    optional = [_RESPONSE_HEADER[name] for name in operation.request_headers if name in _RESPONSE_HEADER]
    optional += operation.optional_headers
    if operation.headers or optional:
        response["headers"] = {name: _header(name, required=operation.streams is None) for name in operation.headers}
        response["headers"] |= {name: _header(name, required=False) for name in optional}
    return response


def _content(success: Content) -> dict[str, Any]:
    if success.binary:
        # Some generators support application/octet-stream alone, so it is listed beside the range that includes it.
        return {media_type: {"schema": BINARY} for media_type in ("application/octet-stream", success.media_type)}
    return {success.media_type: {"schema": {"type": "string"} if success.media_type.startswith("text/") else {}}}


def _failure(status: int) -> dict[str, Any]:
    if status in _NO_FAILURES:
        text, names = _NO_FAILURES[status]
        headers = {"headers": {name: _header(name) for name in names}} if names else {}
        return {"description": text, **headers, **({"content": _content(_BYTES)} if status == _PART else {})}
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
