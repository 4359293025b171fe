"""The schemas of a step's `config`, one for each task type, generated from the structs that validate it at create.

`WorkflowStepDefinition` stays the object of the API contract, with a free-form `config`. Its `allOf` adds one of twelve
variants, discriminated by `task_type`. In this form openapi-typescript narrows `config` by `task_type`.
openapi-python-client ignores a `oneOf` in `allOf`, so it generates the contract's class.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components
from msgspec.structs import FieldInfo, fields

from stepwell.api.requests.operations import SCHEMA_REF
from stepwell.contract.enums import WAITS_OF, TaskType
from stepwell.contract.task_configs import CONFIGS, TASK_TYPES
from stepwell.definition.mapping.input_mapping import TIMEOUT
from stepwell.definition.mapping.templates import SUB_DEFINITION, SUB_REFERENCE

_VARIANT = "StepVariant"
_EXPRESSION = "Expression"
# Members whose texts are no expressions of the step.
_LITERAL = frozenset({TIMEOUT})
_LITERAL_OF_WAITS = {
    TaskType.SIGNAL: frozenset({"name"}),
    TaskType.SUBWORKFLOW: frozenset({SUB_DEFINITION, SUB_REFERENCE}),
}


def task_components() -> dict[str, Any]:
    """Return the components of steps: `<Type>Config` and `<Type>Step` for each task type, and what they refer to."""
    variants = {str(task_type): SCHEMA_REF.format(name=_name(task_type, "Step")) for task_type in CONFIGS}
    components: dict[str, Any] = {
        _VARIANT: {
            "title": _VARIANT,
            "description": "The variants of a step, one for each task type.",
            "oneOf": [{"$ref": reference} for reference in variants.values()],
            "discriminator": {"propertyName": "task_type", "mapping": variants},
        },
        _EXPRESSION: {
            "title": _EXPRESSION,
            "description": "A text with ${…}: a JMESPath expression over the results of the step's dependencies, "
            "inputs and workflow, evaluated when the step runs. $${ is a literal ${.",
            "type": "string",
            "pattern": r"\$\{",
        },
    }
    for task_type, config in CONFIGS.items():
        config_name, step_name = _name(task_type, "Config"), _name(task_type, "Step")
        components[config_name] = {"title": config_name, **_config(task_type, config)}
        components[step_name] = {
            "title": step_name,
            "description": f"A step of the type {task_type}, with its config.",
            "type": "object",
            "properties": {
                "task_type": {"type": "string", "const": str(task_type)},
                "config": {"anyOf": [{"$ref": SCHEMA_REF.format(name=config_name)}, {"type": "null"}]},
            },
            "required": ["task_type"],
            "unevaluatedProperties": True,  # the step's other members; linters take objects for closed
        }
    return components


def discriminated_step(step: dict[str, Any]) -> dict[str, Any]:
    """Return the component *step*, restricted to the variants."""
    return {**step, "allOf": [{"oneOf": [{"$ref": SCHEMA_REF.format(name=_VARIANT)}]}]}


def _name(task_type: TaskType, suffix: str) -> str:
    return task_type.replace("_", " ").title().replace(" ", "") + suffix


def _config(task_type: TaskType, config: type[Struct]) -> dict[str, Any]:
    """Return the schema of *config*. No member is required: a mapping or `step_defaults` may provide it."""
    inputs = " or ".join(TASK_TYPES[task_type].inputs)
    needs = f" It needs {inputs}: here, in step_defaults or from an input mapping." if inputs else ""
    literal = _LITERAL_OF_WAITS.get(task_type, frozenset()) if task_type in WAITS_OF else _LITERAL
    return {
        "description": f"The config of a step of the type {task_type}.{needs} Other members pass through unchanged.",
        **open_object(config, literal),
    }


def open_object(struct: type[Struct], literal: Collection[str] | None = None) -> dict[str, Any]:
    """Return the schema of an object that may have the members of *struct*, and any others. It refers to components.

    Texts may have expressions, except in the members *literal*; None if no text may.
    """
    members = {
        member.encode_name: _member(member, evaluated=literal is not None and member.encode_name not in literal)
        for member in fields(struct)
    }
    return {"type": "object", "properties": members, "additionalProperties": True}


def _member(member: FieldInfo, *, evaluated: bool) -> dict[str, Any]:
    """Return a member's schema. null means that the member is absent. The description contains the default."""
    (definition,), _ = schema_components([member.type], ref_template=SCHEMA_REF)
    choices = [choice for choice in definition.pop("anyOf", [definition]) if choice != {"type": "null"}]
    notes = [choice.pop("description") for choice in choices if "description" in choice]
    if isinstance(member.default, int | float | StrEnum):
        default = member.default if isinstance(member.default, StrEnum) else f"{member.default:g}"
        notes.append(f"{'default' if notes else 'Default'} {default}")
    description = {"description": ", ".join(notes)} if notes else {}
    if evaluated:
        choices = _or_expression(choices)
    return description | {"anyOf": [*choices, {"type": "null"}]}


def _or_expression(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *choices*, and a text with expressions if they don't permit every such text, also for items of lists."""
    expression = {"$ref": SCHEMA_REF.format(name=_EXPRESSION)}
    for choice in choices:
        if (items := choice.get("items")) is not None and not _is_any_text(items):
            choice["items"] = {"anyOf": [items, expression]}
    return choices if any(map(_is_any_text, choices)) else [*choices, expression]


def _is_any_text(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "string" and not schema.keys() & {"enum", "const", "pattern"}
