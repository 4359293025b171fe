"""The component schemas of the OpenAPI document: every struct that an operation names, as generators read it.

msgspec writes a member's Python default into its schema. Generators make such a member mandatory or fill it in, which
is wrong in both directions: a client may leave it out of a request, and every answer has it. So a default stays in the
document only where the API contract has it.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from stepwell.api.operations import SCHEMA_REF, Content, Operation
from stepwell.api.payloads import StepNotice, WorkflowNotice, webhook_components
from stepwell.api.schemas import HTTPValidationError, Problem
from stepwell.api.task_schemas import discriminated_step, task_components

_CONTRACT_DEFAULTS = {("CreateWorkflow", "suppress_subtask_events"), ("WorkflowPublic", "is_deleted")}
# Answers whose `required` is the contract's, although they always have all members.
_REQUIRED_BY_CONTRACT = {"WorkflowPublic", "WorkflowStepPublic"}
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


def build_components(operations: Iterable[Operation]) -> dict[str, Any]:
    """The components that *operations* and the webhooks refer to, by name; the title of each is its name."""
    operations = list(operations)
    requests = dict.fromkeys(operation.body for operation in operations if operation.body is not None)
    kinds: list[type[Struct]] = [*requests, HTTPValidationError, Problem, WorkflowNotice, StepNotice]
    kinds += [operation.answers for operation in operations if not isinstance(operation.answers, Content)]
    kinds += [other for operation in operations for _, other in operation.also]
    _, described = schema_components(dict.fromkeys(kinds), ref_template=SCHEMA_REF)
    _, requested = schema_components(requests, ref_template=SCHEMA_REF)
    components = {}
    for name, component in sorted(described.items()):
        _drop_defaults(name, component, optional=name in requested or name in _REQUIRED_BY_CONTRACT)
        components[name] = polish(component)
    for name, text in _DESCRIPTIONS.items():
        components[name]["description"] = text
    components["CreateWorkflow"]["example"] = EXAMPLE
    step = components["WorkflowStepDefinition"]
    components |= {name: polish(component) for name, component in task_components().items()}
    return webhook_components(components | {"WorkflowStepDefinition": discriminated_step(step)})


def _drop_defaults(name: str, component: dict[str, Any], *, optional: bool) -> None:
    """Take the defaults out of *component*, in place. Unless such members are *optional*, they become required."""
    required = set(component.pop("required", ()))
    for member, described in component.get("properties", {}).items():
        if "default" in described and (name, member) not in _CONTRACT_DEFAULTS:
            del described["default"]
            if not optional:
                required.add(member)
    if required:
        component["required"] = [member for member in component["properties"] if member in required]


def polish(node: Any) -> Any:
    """Add what msgspec leaves out of a schema: the type of an enum, and that a bare object is free-form. Descriptions
    lose their backquotes and line breaks.
    """
    if isinstance(node, list):
        return [polish(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: polish(value) for key, value in node.items()}
    if "enum" in made:
        made.setdefault("type", "string")
    if made.get("type") == "object" and not made.keys() & {"properties", "additionalProperties", "$ref"}:
        made["additionalProperties"] = True
    if isinstance(made.get("description"), str):
        made["description"] = " ".join(made["description"].replace("`", "").split())
    return made
