"""The OpenAPI 3.1 document, built from the operations beside the handlers and the structs that they name.

Litestar has a generator, but it documents a 400 that we never answer, drops the slash at the end of a path, and
knows nothing of what our queries and gate refuse.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.json import schema, schema_components
from msgspec.structs import fields

from stepwell.api.operations import Content, Operation
from stepwell.api.payloads import StepNotice, WorkflowNotice, described_webhooks, webhook_components
from stepwell.api.problems import MEANINGS, PROBLEM_JSON
from stepwell.api.schemas import HTTPValidationError, Problem
from stepwell.domain.definition import CreateWorkflow, WorkflowUpdate

_REF = "#/components/schemas/{name}"
_INTRO = (
    "Runs workflows of AI-media tasks. Post a definition, a DAG of steps; the ready steps run concurrently, every "
    "transition is checkpointed, and after a crash the workflow goes on from its last checkpoint."
)
_DESCRIPTIONS = {
    "CreateWorkflow": "Schema for creating a new workflow.",
    "WorkflowPublic": "Public representation of a workflow.",
    "WorkflowListResponse": "Response schema for listing workflows.",
    "WorkflowCleanupResponse": "Response schema for workflow cleanup endpoint.",
    "WorkflowUpdate": "Schema for updating a workflow.",
    "TaskPublic": "One attempt at a step.",
    "Cost": "What one attempt cost, by the provider's word or the operator's prices.",
    "WorkflowCost": "A sum for each currency, and how many attempts may have cost something that nobody has named.",
    "Money": "An amount of a currency.",
    "FeedEventPublic": "One line of a workflow's history; id is its number there.",
    "EventFeedResponse": "Events of many workflows.",
    "StreamTicket": "Opens streams of events.",
    "EventPublic": "One line of a workflow's history; ids count from 1.",
    "Output": "A stored file. Its path goes behind /api/v1/artifacts/.",
    "ProviderStatus": "A configured provider. in_flight and waiting are those of all tenants in this process, models "
    "those that steps of the token's tenants have asked for.",
    "ModelStatus": "attempts, error_rate and latency_s are of those that ended within five minutes, at most the last "
    "thousand; failures that are the request's own fault don't count. waiting: for a slot, or for the breaker. LOCAL's "
    "models are the types of task; their breakers stay closed.",
    "BreakerStatus": "failures: steps in a row that used up their attempts.",
    "Latency": "Seconds from an attempt's start to its result: percentiles, null where none succeeded.",
    "ModelLimit": "Attempts at once, and starts a minute; null is no limit.",
    "Problem": "RFC 9457. The last two members are there where a state doesn't allow what was asked.",
}
_HEADERS = {
    "Location": "Where the workflow is",
    "Link": "first, prev, next and last page (RFC 8288)",
    "ETag": "Of what is answered; strong",
    "Idempotency-Replayed": "true for the answer to an earlier request with the same Idempotency-Key",
    "Preference-Applied": "The part of Prefer that was kept to",
    "Content-Disposition": "inline for images and videos, attachment for all else",
    "WWW-Authenticate": "Bearer",
    "Retry-After": "Seconds",
}
_PROBLEM_HEADERS = {401: "WWW-Authenticate", 503: "Retry-After"}
_TAKEN = {
    "Idempotency-Key": "1 to 255 printable ASCII characters, bare or quoted. For 48 hours the same request with the "
    "same key has its effect once and is answered the same; another request with it is refused.",
    "If-Match": "ETags of the workflow, with steps or without: only while it is one of these.",
    "If-None-Match": "ETags: 304 while it is one of these.",
    "Last-Event-ID": "Of a stream: only events after it. It counts more than the query.",
    "Prefer": "wait=N: answer once the workflow has ended, or after N seconds, at most 60, as it is by then.",
}
# What follows from them: statuses, and headers that an answer may have.
_REFUSED_BY = {"Idempotency-Key": 409, "If-Match": 412, "If-None-Match": 304}
_SAID_OF = {"Idempotency-Key": "Idempotency-Replayed", "Prefer": "Preference-Applied"}
_PARAMETERS = {
    "workflow_id": {"type": "string", "format": "uuid"},
    "task_id": {"type": "string", "format": "uuid"},
    "delivery_id": {"type": "string"},
    "path": {"type": "string"},
    "token": {"type": "string"},
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
EXAMPLE: dict[str, Any] = {
    "description": "Generate and refine fashion images",
    "name": "Fashion Image Pipeline",
    "origin_instance": "api-prod",
    "steps": [
        {
            "config": {"height": 1024, "prompt": "fashion model wearing elegant dress", "width": 1024},
            "id": "generate",
            "task_type": "GENERATION",
        },
        {
            "config": {"upscale_factor": 2.0},
            "depends_on": ["generate"],
            "id": "refine",
            "input_mappings": [
                {"from_field": "result_image_path", "from_step": "generate", "to_field": "base_image_url"}
            ],
            "task_type": "REFINE",
        },
    ],
}


def build_document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The document of *operations*; plain JSON values."""
    operations = list(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stepwell", "version": version, "description": _INTRO},
        "paths": dict(sorted(paths.items())),
        "webhooks": described_webhooks(),
        "components": {
            "schemas": _components(operations),
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
    """The statuses beyond success that *operation* may answer. 500 isn't among them: that would be a fault of ours."""
    statuses = {*operation.problems, 400}
    if operation.permission is not None:
        statuses |= {401, 403, 422, 503}
    if any(name in _PARAMETERS for name in operation.path_parameters):
        statuses.add(404)
    statuses |= {_REFUSED_BY[name] for name in operation.takes if name in _REFUSED_BY}
    if operation.method != "GET":
        # Operations without a body refuse one too, if it says something.
        statuses |= {413, 415}
    return sorted(statuses)


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "parameters": _query_parameters(operation) + _path_parameters(operation) + _header_parameters(operation),
        "responses": {str(operation.status): _success(operation)}
        | {str(status): _failure(status) for status in problem_statuses(operation)},
    }
    if operation.permission is not None:
        made["security"] = [{"HTTPBearer": []}, *([{}] if operation.signable else [])]
        made["security"] += [{"StreamTicket": []}] if operation.ticketed else []
    if operation.body is not None:
        content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=operation.body.__name__)}}
        if operation.body is CreateWorkflow:
            content["example"] = EXAMPLE
        made["requestBody"] = {"required": True, "content": {"application/json": content}}
    return made


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": dict(_PARAMETERS[name])}
        for name in operation.path_parameters
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = []
    for member in fields(operation.query):
        made = schema(member.type)
        definitions = made.pop("$defs", {})
        name = made.pop("$ref", "").removeprefix("#/$defs/")
        made = _polished({**definitions.get(name, {}), **made})
        made.pop("title", None)
        description = made.pop("description", "")
        if isinstance(member.default, int | str):
            made["default"] = member.default
        parameters.append(
            {
                "name": member.encode_name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": made,
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
            "description": _TAKEN[name],
            "schema": kinds.get(name, {"type": "string"}),
        }
        for name in operation.takes
    ]


def _success(operation: Operation) -> dict[str, Any]:
    answers = operation.answers
    if isinstance(answers, Content):
        described = {"type": "string"} if answers.media_type.startswith("text/") else {}
        made: dict[str, Any] = {
            "description": answers.description,
            "content": {answers.media_type: {"schema": described}},
        }
    else:
        reference = {"$ref": _REF.format(name=answers.__name__)}
        made = {"description": "Success", "content": {"application/json": {"schema": reference}}}
        for media_type, other in operation.also:
            made["content"][media_type] = {"schema": {"$ref": _REF.format(name=other.__name__)}}
        if operation.streams is not None:
            made["content"][operation.streams.media_type] = {"schema": {"type": "string"}}
    maybe = [_SAID_OF[name] for name in operation.takes if name in _SAID_OF]
    if operation.headers or maybe:
        made["headers"] = {name: _header(name, required=operation.streams is None) for name in operation.headers}
        made["headers"] |= {name: _header(name, required=False) for name in maybe}
    return made


def _failure(status: int) -> dict[str, Any]:
    if status == 204:  # noqa: PLR2004
        return {"description": "The workflow has ended, and nothing follows: an EventSource doesn't come back."}
    if status == 304:  # noqa: PLR2004
        return {"description": "It is still what If-None-Match names.", "headers": {"ETag": _header("ETag")}}
    kind, media_type = (HTTPValidationError, "application/json") if status == 422 else (Problem, PROBLEM_JSON)  # noqa: PLR2004
    made: dict[str, Any] = {
        "description": "Validation Error" if kind is HTTPValidationError else MEANINGS[status],
        "content": {media_type: {"schema": {"$ref": _REF.format(name=kind.__name__)}}},
    }
    if name := _PROBLEM_HEADERS.get(status):
        made["headers"] = {name: _header(name)}
    elif status == 409:  # noqa: PLR2004 - to be repeated, if it is a repeat
        made["headers"] = {"Retry-After": _header("Retry-After", required=False)}
    return made


def _header(name: str, *, required: bool = True) -> dict[str, Any]:
    return {"description": _HEADERS[name], "required": required, "schema": {"type": "string"}}


def _components(operations: list[Operation]) -> dict[str, Any]:
    kinds: list[type[Struct]] = [HTTPValidationError, Problem, CreateWorkflow, WorkflowUpdate]
    kinds += [WorkflowNotice, StepNotice]
    kinds += [operation.answers for operation in operations if not isinstance(operation.answers, Content)]
    kinds += [other for operation in operations for _, other in operation.also]
    _, components = schema_components(dict.fromkeys(kinds), ref_template=_REF)
    made = {name: _polished(component) for name, component in sorted(components.items())}
    for name, text in _DESCRIPTIONS.items():
        made[name]["description"] = text
    made["CreateWorkflow"]["example"] = EXAMPLE
    return webhook_components(made)


def _polished(node: Any) -> Any:
    """What msgspec leaves out or says too much: the type of an enum, that a bare object is free-form, `default: null`,
    which in an answer means nothing, and how a docstring is laid out.
    """
    if isinstance(node, list):
        return [_polished(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _polished(value) for key, value in node.items() if not (key == "default" and value is None)}
    if "enum" in made:
        made.setdefault("type", "string")
    if made.get("type") == "object" and not made.keys() & {"properties", "additionalProperties", "$ref"}:
        made["additionalProperties"] = True
    if isinstance(made.get("description"), str):
        made["description"] = " ".join(made["description"].replace("`", "").split())
    return made


def encode(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document)
