"""Names for the objects and enums that are members of a schema, as components.

Without a name, generators number the choices of an `anyOf`, and make classes like `CreateWorkflowConfigType0` of them.
"""

from collections.abc import Mapping
from typing import Any, Final

from stepwell.api.requests.operations import SCHEMA_REF

# By the member's name, or by the component's and the member's. Members with one name have one schema: that of requests,
# which comes first in the order of the components, and which responses keep.
_NAMES: Final[Mapping[str, str]] = {
    "CreateWorkflow.config": "WorkflowConfig",
    "WorkflowStepDefinition.config": "StepConfig",
    "arguments": "FalArguments",
    "CreateWorkflow.inputs": "Inputs",
    "fallback_provider_config": "ProviderConfig",
    "final_step_result": "StepResult",
    "inputs_schema": "JsonSchema",
    "json_schema": "JsonSchema",
    "labels": "Labels",
    "messages": "ChatMessage",
    "motion": "Motion",
    "on_reject": "OnReject",
    "on_unknown": "OnUnknown",
    "SignalConfig.on_timeout": "OnSignalTimeout",
    "SubworkflowConfig.inputs": "Inputs",
    "SubworkflowConfig.workflow": "SubworkflowDefinition",
    "provider_config": "ProviderConfig",
    "result": "StepResult",
    "step_defaults": "StepDefaults",
}
_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "ChatMessage": "A message of a conversation, in the form that the provider expects.",
    "FalArguments": "The arguments of the app, sent unchanged.",
    "Inputs": "Values that expressions in the configs of steps read.",
    "JsonSchema": "A JSON Schema.",
    "Motion": "The movement of the camera.",
    "OnReject": "Whether the choice reject fails the step.",
    "OnSignalTimeout": "What happens if there is no signal in time: the step fails, or completes without data.",
    "OnUnknown": "What happens when it stays unknown whether a provider has a job: the step fails, or the job is "
    "submitted again.",
    "ProviderConfig": "The provider of a step. Members that aren't listed are the provider's own.",
    "StepConfig": "The inputs of a step. The config of its task type, like GenerationConfig, lists them.",
    "StepDefaults": "The config that steps have by default: by task type, or for all under *.",
    "StepResult": "The result of a step. Its members depend on the task type.",
    "SubworkflowDefinition": "The definition of a sub-workflow: the body of a create without its origin_* members.",
    "WorkflowConfig": "The configuration of a workflow. Members that aren't listed pass through unchanged.",
}
_NULL = {"type": "null"}


def name_members(components: Mapping[str, Any]) -> dict[str, Any]:
    """Return *components* with those that the members above become. The members refer to them."""
    named = dict(components)
    queue = sorted(named)
    for component in queue:  # which grows: a new component may have such members as well
        properties = named[component].get("properties", {})
        for member in properties:
            name = _NAMES.get(f"{component}.{member}") or _NAMES.get(member)
            if name is None:
                continue
            owner, place = _find_choice(properties, member)
            choice = owner[place]
            if name not in named:
                named[name] = {**choice, "title": name}
                if name in _DESCRIPTIONS:
                    named[name]["description"] = _DESCRIPTIONS[name]
                queue.append(name)
            kept = {word: choice[word] for word in ("title", "description") if word in choice and owner is properties}
            owner[place] = {"$ref": SCHEMA_REF.format(name=name), **kept}
    named["StepDefaults"]["additionalProperties"] = {"$ref": SCHEMA_REF.format(name="StepConfig")}
    return named


def _find_choice(properties: dict[str, Any], member: str) -> tuple[Any, Any]:
    """Return the container of the object or enum that *member* is beside null and expressions, and its place there."""
    owner, place = _without_alternatives(properties, member)
    if owner[place].get("type") == "array":
        return _without_alternatives(owner[place], "items")
    return owner, place


def _without_alternatives(owner: Any, place: Any) -> tuple[Any, Any]:
    """Return the container and the place of the only choice at *place* that is neither null nor a component."""
    if "anyOf" not in owner[place]:
        return owner, place
    owner = owner[place]["anyOf"]
    (place,) = [position for position, choice in enumerate(owner) if choice != _NULL and "$ref" not in choice]
    return owner, place
