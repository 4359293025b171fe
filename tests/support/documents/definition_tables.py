"""The tables of the page about definitions: every member of a definition, of its parts, and of what a response says.

Members and meanings come from the structs of `stepwell.contract`, kinds from their components in the OpenAPI document.
`_MEANINGS` has the texts of members that have no description there, because the API contract has none, or whose
description says too little. A member without a text is a KeyError.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from stepwell.api.routes.all_routes import openapi_document
from stepwell.contract.definition import (
    MAX_LABELS,
    Budget,
    CreateWorkflow,
    FieldMapping,
    ForEach,
    Repeat,
    RetryPolicy,
    WorkflowConfig,
    WorkflowStepDefinition,
)
from stepwell.contract.task_configs import ProviderConfig
from stepwell.contract.tasks import CostSums
from stepwell.contract.workflows import ItemCounts, WaitingFor, WorkflowPublic, WorkflowStepPublic
from stepwell.providers.installed_providers import installed_providers
from support.documents.descriptions import description_of

# By the name of a table: the struct whose members it lists.
STRUCTS: Mapping[str, type[Struct]] = {
    "definition": CreateWorkflow,
    "config of a definition": WorkflowConfig,
    "retry": RetryPolicy,
    "budget": Budget,
    "step of a definition": WorkflowStepDefinition,
    "mapping": FieldMapping,
    "provider_config": ProviderConfig,
    "for_each": ForEach,
    "repeat": Repeat,
    "workflow": WorkflowPublic,
    "step": WorkflowStepPublic,
    "waiting_for": WaitingFor,
    "items": ItemCounts,
    "cost": CostSums,
}
_REQUESTS = ("definition", "step of a definition", "mapping", "for_each", "repeat")  # which mark what is required
_SECTIONS = {
    "WorkflowStepDefinition": "[step](#a-step)",
    "WorkflowConfig": "[object](#config-of-a-definition)",
    "RetryPolicy": "[object](#retry)",
    "Budget": "[object](#budget)",
    "StepConfig": "object, see [Tasks](tasks.md)",
    "FieldMapping": "[mapping](#a-mapping)",
    "ProviderConfig": "[object](#provider_config)",
    "ForEach": "[object](#for_each)",
    "Repeat": "[object](#repeat)",
    "TaskType": "a [task type](tasks.md)",
    "ProviderType": "a [provider](providers.md)",
    "TransformType": "a [transform](tasks.md#results-as-inputs)",
    "WaitingFor": "[object](#waiting_for)",
    "ItemCounts": "[object](#items)",
    "CostSums": "[object](#cost)",
    "WorkflowStepPublic": "[step](#a-step-in-a-response)",
    "WorkflowStatus": "a [status](concepts.md#the-life-of-a-workflow)",
    "StepResult": "object",
    "Labels": f"object of strings, at most {MAX_LABELS}",
}
_SAME_AS_SENT = "As in the definition"
_TIMES = {
    "created_at": "When it was created",
    "updated_at": "When it last changed",
    "started_at": "When it started; null before",
    "completed_at": "When it ended; null before",
}
_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "CreateWorkflow": {
        "origin_instance": "The system that sends the definition, see [The origin](#the-origin)",
        "origin_zone": "A part of that system, see [The origin](#the-origin)",
        "origin_tenant_id": "The tenant, see [The origin](#the-origin)",
        "origin_reference": "The id that the sender has for this workflow, see [The origin](#the-origin)",
        "config": "How the workflow is run, see [config of a definition](#config-of-a-definition)",
        "webhook_url": "Where [webhooks](webhooks.md) are sent",
        "suppress_subtask_events": "Whether webhooks are sent for the workflow only, and for none of its steps",
    },
    "WorkflowConfig": {
        "on_failure": "What happens once a step has failed for good, see [Concepts](concepts.md#failures-and-retries)",
        "retry": "When a step is tried again",
        "workflow_timeout_s": "Seconds after which running steps are cancelled and the workflow is FAILED. Pauses "
        "don't count. Without it there is no limit",
        "on_unknown": "What follows if an answer of a provider is lost, see "
        "[Providers](providers.md#nothing-is-paid-twice)",
        "budget": "What the workflow may spend at providers, see [Money](money.md#budgets)",
        "step_defaults": "Configs for steps by their task type, or for all steps (`*`), below their own configs",
    },
    "RetryPolicy": {
        "base_s": "The longest wait before the second attempt, in seconds (default 1)",
        "factor": "By how much the longest wait grows with each attempt (default 2)",
        "max_s": "The limit of the longest wait, in seconds (default 60)",
        "max_retries": "Attempts after the first one, for steps without `max_retries` of their own (default 3)",
        "outage_s": "For how many seconds a provider that is [away](concepts.md#failures-and-retries) costs no retry "
        "(default 600, 0: never)",
    },
    "WorkflowStepDefinition": {
        "task_type": "What the step does",
        "config": "The inputs of the step, which its task type lists",
        "provider_config": "Who does the work, and with which model",
    },
    "ProviderConfig": {
        "provider_type": "The provider. Without it, the members that belong to one provider alone select that one; "
        "otherwise the default of the service does the work, see `STEPWELL_DEFAULT_PROVIDER`",
        "credential": "The name of a key in the settings, see [Keys](providers.md#keys)",
        "on_unknown": "As in the config of the definition, for this step",
        "fal_app_id": "The model of FAL, see [FAL](fal.md)",
    },
    "WorkflowPublic": {
        **dict.fromkeys(
            (
                "name",
                "description",
                "config",
                "suppress_subtask_events",
                "origin_instance",
                "origin_zone",
                "origin_tenant_id",
                "origin_reference",
                "webhook_url",
            ),
            _SAME_AS_SENT,
        ),
        **_TIMES,
        "id": "The id by which requests name it",
        "status": "Its status",
        "total_steps": "The number of its steps",
        "completed_steps": "The number of steps that are done",
        "final_step_id": "The last step of the definition on which no other step depends",
        "errors": "`{step_id}: {message}` for each failed step",
        "warnings": "What is accepted but probably not meant: in the response of create only, and only if there is any",
        "final_step_result": "The result of the final step",
        "is_deleted": "Whether a cleanup has deleted it",
        "deleted_at": "When a cleanup deleted it; null before",
    },
    "WorkflowStepPublic": {
        **dict.fromkeys(
            (
                "task_type",
                "provider_config",
                "active_provider_capabilities",
                "fallback_provider_type",
                "fallback_provider_config",
                "fallback_provider_capabilities",
                "input_mappings",
            ),
            _SAME_AS_SENT,
        ),
        **_TIMES,
        "id": "The id of this step of this workflow",
        "step_id": "Its `id` in the definition",
        "config": "Its config in the definition, without `step_defaults`",
        "dependencies": "The steps that it waits for: `depends_on`, and those that its mappings read from",
        "status": "Its status",
        "result": "What its successful attempt has returned, see [Results](tasks.md#results)",
        "error_message": "Why it has failed; null otherwise",
        "retry_count": "How many attempts have failed and were repeated",
        "max_retries": "How many repeated attempts it may have",
    },
    "WaitingFor": {
        "kind": "What it waits for",
        "since": "When the wait began",
        "message": "The question to those who decide",
        "choices": "The names among which they choose",
        "name": "The name of the signal, which `POST …/signals/{name}` sends",
        "decision_url": "A page on which anyone can decide, a secret. Only the response about one step has it, for "
        "tokens that may decide",
        "workflow_id": "The sub-workflow",
    },
    "CostSums": {
        "amounts": "A sum for each currency",
        "unknown_attempts": "The number of attempts whose cost isn't known",
    },
    "ItemCounts": {
        "total": "The number of items",
        "pending": "Those that wait to start, and those that were cancelled with their step",
        "running": "Those under way",
        "completed": "Those that are COMPLETED",
        "failed": "Those that are FAILED",
        "skipped": "Those that a person has skipped",
        "retries": "The repeated attempts of all items",
    },
}


@cache
def _components() -> dict[str, Any]:
    schemas: dict[str, Any] = openapi_document([*installed_providers()])["components"]["schemas"]
    return schemas


def rows_of(table: str) -> Iterator[list[str]]:
    """Yield a row for each member of the struct of *table*: name, kind, meaning."""
    struct = STRUCTS[table]
    component = _components()[struct.__name__]
    required = component.get("required", ()) if table in _REQUESTS else ()
    texts = _MEANINGS.get(struct.__name__, {})
    for each in fields(struct):
        member = each.encode_name
        meaning = texts.get(member) or description_of(each.type)
        if meaning is None:
            raise KeyError(f"{struct.__name__}.{member}")
        name = f"`{member}`{', required' if member in required else ''}"
        yield [name, _kind(component["properties"][member]), f"{meaning.removesuffix('.')}."]


def _parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of *schema* but for null."""
    return [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of *schema* in a few words of Markdown."""
    if len(parts := _parts(schema)) > 1:
        return " or ".join(_kind(part) for part in parts)
    (part,) = parts
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return _SECTIONS.get(name) or _kind(_components()[name])
    if "enum" in part:
        return ", ".join(f"`{member}`" for member in part["enum"])
    match part.get("type"):
        case "array":
            return f"list of {_kind(part['items'])}" if part.get("items") else "list"
        case "string":
            return _string(part)
        case "integer" | "number":
            return f"{part['type']}{_range(part)}"
        case None:
            return "any JSON"
        case other:
            return str(other)


def _string(schema: dict[str, Any]) -> str:
    if "format" in schema:
        return {"date-time": "time", "uuid": "id"}[schema["format"]]
    limit = schema.get("maxLength")
    return "string" if limit is None else f"string, at most {limit:,} characters"


def _range(schema: dict[str, Any]) -> str:
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']:,}, at most {schema['maximum']:,}"
    if "maximum" in schema:
        return f" from {schema['minimum']:,} to {schema['maximum']:,}"
    return ""
