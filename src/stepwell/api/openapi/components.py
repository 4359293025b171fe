"""The component schemas of the OpenAPI document: one for each struct of an operation's requests and responses.

msgspec writes a member's Python default into its schema. Client generators then make the member mandatory, or send its
default. Both are wrong, because a request may omit the member and every response contains it. So only the defaults of
the API contract stay in the document.

A member that a request may omit may also be null there, which means the same (see `strict_json.normalise`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.json import schema_components

from stepwell.api.openapi.task_schemas import discriminated_step, open_object, task_components
from stepwell.api.openapi.webhook_payloads import webhook_components
from stepwell.api.requests.operations import SCHEMA_REF, Content, Operation
from stepwell.contract.definition import RetryPolicy, WorkflowConfig
from stepwell.contract.enums import OnFailure, ProviderType
from stepwell.contract.events import StepNotice, WorkflowNotice
from stepwell.contract.problems import HTTPValidationError, Problem
from stepwell.contract.task_configs import ProviderConfig

_CONTRACT_DEFAULTS = {("CreateWorkflow", "suppress_subtask_events"), ("WorkflowPublic", "is_deleted")}
# Responses for which the contract has a shorter `required`, although they always contain all members.
_REQUIRED_BY_CONTRACT = {"WorkflowPublic", "WorkflowStepPublic", "WorkflowCleanupDetail"}
# Components whose members have titles in the contract.
_TITLED = {"CreateWorkflow", "WorkflowPublic", "WorkflowListResponse", "WorkflowUpdate"}
_DESCRIPTIONS = {
    "CreateWorkflow": "Schema for creating a new workflow.",
    "WorkflowPublic": "Public representation of a workflow.",
    "WorkflowListResponse": "Response schema for listing workflows.",
    "WorkflowCleanupResponse": "Response schema for workflow cleanup endpoint.",
    "WorkflowCountsResponse": "The number of workflows in each status.",
    "WorkflowUpdate": "Schema for updating a workflow.",
    "TaskPublic": "One attempt at a step.",
    "Money": "An amount of a currency.",
    "FeedEventPublic": "One event of a workflow's history, in the feed of all workflows. id counts in its workflow.",
    "EventFeedResponse": "A page of the events of all workflows.",
    "CreateArtifactLink": "The file that a new URL is for.",
    "ArtifactLink": "A URL by which anyone can read a file for a while.",
    "CreateStreamTicket": "The streams that a new ticket opens.",
    "StreamTicket": "A ticket that opens streams of events.",
    "Output": "A stored file. Its URL is /api/v1/artifacts/ and then its path.",
    "Problem": "Problem details (RFC 9457). The last two members are present if the workflow's status doesn't allow "
    "the request.",
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
_PROVIDERS = "The installed providers. Packages may bring others, and a step may name one that was removed since."
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
_UPLOAD_FORM: dict[str, Any] = {
    "title": "UploadForm",
    "description": "The files of an upload.",
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "array", "items": BINARY, "minItems": 1}},
}


# The names of the components that members become, if they are objects or enums. Without a name, generators number the
# choices of an `anyOf`, and make classes like `CreateWorkflowConfigType0` of them. The key is the member's name, or the
# component's and the member's. Members with one name have one schema: that of requests, which comes first in the order
# of the components, and which responses keep.
_NAMES: Final[Mapping[str, str]] = {
    "CreateWorkflow.config": "WorkflowConfig",
    "DefinitionContent.config": "WorkflowConfig",
    "RunDefinition.config": "WorkflowConfigPatch",
    "WorkflowStepDefinition.config": "StepConfig",
    "arguments": "FalArguments",
    "CreateWorkflow.inputs": "Inputs",
    "DefinitionContent.inputs": "Inputs",
    "RunDefinition.inputs": "Inputs",
    "RerunWorkflow.config": "StepConfigPatches",
    "RerunWorkflow.inputs": "InputsPatch",
    "fallback_provider_config": "ProviderConfig",
    "final_step_result": "StepResult",
    "forecast": "StepForecast",
    "inputs_schema": "JsonSchema",
    "json_schema": "JsonSchema",
    "labels": "Labels",
    "max_cost": "MaxCost",
    "messages": "ChatMessage",
    "motion": "Motion",
    "on_exceeded": "OnExceeded",
    "on_reject": "OnReject",
    "on_unknown": "OnUnknown",
    "SignalConfig.on_timeout": "OnSignalTimeout",
    "SubworkflowConfig.inputs": "Inputs",
    "SubworkflowConfig.workflow": "SubworkflowDefinition",
    "provider_config": "ProviderConfig",
    "result": "StepResult",
    "step_defaults": "StepDefaults",
}
_MEMBER_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "ChatMessage": "A message of a conversation, in the form that the provider expects.",
    "FalArguments": "The arguments of the app, sent unchanged.",
    "Inputs": "Values that expressions in the configs of steps read.",
    "InputsPatch": "Changes of the inputs of a run by JSON Merge Patch: null removes a member.",
    "JsonSchema": "A JSON Schema.",
    "MaxCost": "The most that attempts may cost, by currency.",
    "Motion": "The movement of the camera.",
    "OnExceeded": "What happens before an attempt that doesn't fit: the workflow is PAUSED, or fails.",
    "OnReject": "Whether the choice reject fails the step.",
    "OnSignalTimeout": "What happens if there is no signal in time: the step fails, or completes without data.",
    "OnUnknown": "What happens when it stays unknown whether a provider has a job: the step fails, or the job is "
    "submitted again.",
    "ProviderConfig": "The provider of a step. Members that aren't listed are the provider's own.",
    "StepConfig": "The inputs of a step. The config of its task type, like GenerationConfig, lists them.",
    "StepConfigPatches": "By step: changes of its config by JSON Merge Patch. null removes a member.",
    "StepForecast": "What becomes of a step of a run that reuses results.",
    "StepDefaults": "The config that steps have by default: by task type, or for all under *.",
    "StepResult": "The result of a step. Its members depend on the task type.",
    "SubworkflowDefinition": "The definition of a sub-workflow: the body of a create without its origin_* members.",
    "WorkflowConfig": "The configuration of a workflow. Members that aren't listed pass through unchanged.",
    "WorkflowConfigPatch": "Changes of the definition's config by JSON Merge Patch: null removes a member.",
}
_NULL = {"type": "null"}


def build_components(operations: Iterable[Operation], providers: Sequence[str]) -> dict[str, Any]:
    """Return the components that *operations* and the webhooks refer to, by name. The title of each is its name.

    *providers* are the names of the installed ones.
    """
    operations = list(operations)
    bodies = (body for operation in operations for body in (operation.body, operation.other_body))
    requests: dict[type, None] = dict.fromkeys(body for body in bodies if body is not None)
    requests |= {RetryPolicy: None, OnFailure: None}  # the open objects below refer to them
    kinds: list[type] = [*requests, HTTPValidationError, Problem, WorkflowNotice, StepNotice]
    kinds += [operation.response for operation in operations if not isinstance(operation.response, Content)]
    kinds += [other[1] for operation in operations for other in operation.also if not isinstance(other, Content)]
    _, schemas = schema_components(dict.fromkeys(kinds), ref_template=SCHEMA_REF)
    _, request_schemas = schema_components(requests, ref_template=SCHEMA_REF)
    components = {}
    for name, component in sorted(schemas.items()):
        _drop_defaults(name, component, optional=name in request_schemas or name in _REQUIRED_BY_CONTRACT)
        if name in request_schemas:
            _allow_null(component)
        if name in _TITLED:
            _give_titles(component)
        components[name] = complete_schema(component)
    for name, text in _DESCRIPTIONS.items():
        components[name]["description"] = text
    components["CreateWorkflow"]["example"] = EXAMPLE
    components[ProviderType.__name__] |= {"description": _PROVIDERS, "enum": sorted(providers)}
    step = components["WorkflowStepDefinition"]
    for name in ("CreateWorkflow", "DefinitionContent"):
        _describe_members(components[name], "config", WorkflowConfig)
    _describe_members(step, "provider_config", ProviderConfig)
    _describe_members(step, "fallback_provider_config", ProviderConfig)
    components |= {name: complete_schema(component) for name, component in task_components().items()}
    components |= {"UploadForm": _UPLOAD_FORM, "WorkflowStepDefinition": discriminated_step(step)}
    return _name_members(webhook_components(components))


def _drop_defaults(name: str, component: dict[str, Any], *, optional: bool) -> None:
    """Remove the defaults from *component*, in place. Members with a default become required unless *optional*."""
    required = set(component.pop("required", ()))
    for member, schema in component.get("properties", {}).items():
        if "default" in schema and (name, member) not in _CONTRACT_DEFAULTS:
            del schema["default"]
            if not optional:
                required.add(member)
    if required:
        component["required"] = [member for member in component["properties"] if member in required]


def _allow_null(component: dict[str, Any]) -> None:
    """Let the members of *component*, a request, that aren't required be null, in place."""
    required = component.get("required", ())
    for member, schema in component.get("properties", {}).items():
        if member not in required and "anyOf" not in schema:
            rest = {word: schema.pop(word) for word in ("description", "default") if word in schema}
            component["properties"][member] = rest | {"anyOf": [schema, {"type": "null"}]}


def _describe_members(component: dict[str, Any], member: str, struct: type[Struct]) -> None:
    """Describe the members that Stepwell knows of a free-form object, a *member* of *component*, in place."""
    free_form, null = component["properties"][member]["anyOf"]
    component["properties"][member]["anyOf"] = [free_form | complete_schema(open_object(struct)), null]


def _give_titles(component: dict[str, Any]) -> None:
    """Give the members of *component* titles as the contract has them, in place. A reference has none."""
    for member, schema in component["properties"].items():
        if "$ref" not in schema:
            schema["title"] = member.replace("_", " ").title()


def complete_schema(node: Any) -> Any:
    """Return the schema *node* with what msgspec omits: the type of an enum, and that a bare object is free-form.

    Backquotes and line breaks are removed from descriptions.
    """
    if isinstance(node, list):
        return [complete_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {key: complete_schema(value) for key, value in node.items()}
    if "enum" in schema:
        schema.setdefault("type", "string")
        if len(schema["enum"]) == 1:  # generators make a class of an enum, and none of a constant
            (schema["const"],) = schema.pop("enum")
    if schema.get("type") == "object" and not schema.keys() & {"properties", "additionalProperties", "$ref"}:
        schema["additionalProperties"] = True
    if isinstance(schema.get("description"), str):
        schema["description"] = " ".join(schema["description"].replace("`", "").split())
    return schema


def _name_members(components: Mapping[str, Any]) -> dict[str, Any]:
    """Return *components* with those that the members above become. The members refer to them."""
    named = dict(components)
    queue = sorted(named)
    for component in queue:  # which grows: a new component may have such members as well
        properties = named[component].get("properties", {})
        for member in properties:
            name = _NAMES.get(f"{component}.{member}") or _NAMES.get(member)
            if name is None:
                continue
            owner, key = _find_choice(properties, member)
            choice = owner[key]
            if name not in named:
                named[name] = {**choice, "title": name}
                if name in _MEMBER_DESCRIPTIONS:
                    named[name]["description"] = _MEMBER_DESCRIPTIONS[name]
                queue.append(name)
            rest = {word: choice[word] for word in ("title", "description") if word in choice and owner is properties}
            owner[key] = {"$ref": SCHEMA_REF.format(name=name), **rest}
    named["StepDefaults"]["additionalProperties"] = {"$ref": SCHEMA_REF.format(name="StepConfig")}
    return named


def _find_choice(properties: dict[str, Any], member: str) -> tuple[Any, Any]:
    """Return the container of the object or enum that *member* is beside null and expressions, and its key in it."""
    owner, key = _without_alternatives(properties, member)
    if owner[key].get("type") == "array":
        return _without_alternatives(owner[key], "items")
    return owner, key


def _without_alternatives(owner: Any, key: Any) -> tuple[Any, Any]:
    """Return the container and the key of the only choice at *key* that is neither null nor a component."""
    if "anyOf" not in owner[key]:
        return owner, key
    owner = owner[key]["anyOf"]
    (key,) = [position for position, choice in enumerate(owner) if choice != _NULL and "$ref" not in choice]
    return owner, key
