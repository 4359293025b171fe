"""The schemas of a step's `config`, one for each type of task, made of the structs that create validates with.

`WorkflowStepDefinition` stays the object of the API contract, with a free-form `config`. What the task type adds to it
stands in `allOf`, as one of twelve variants discriminated by `task_type`. In this form openapi-typescript narrows
`config` by `task_type`, and openapi-python-client, which ignores a `oneOf` there, generates the contract's class.
"""

from typing import Any

from msgspec import Struct
from msgspec.json import schema
from msgspec.structs import FieldInfo, fields

from stepwell.api.operations import SCHEMA_REF
from stepwell.domain.configs import CONFIGS, required_inputs
from stepwell.domain.model import TaskType

_VARIANT = "StepVariant"


def task_components() -> dict[str, Any]:
    """For each type of task `<Type>Config` and `<Type>Step`, the config and the variant of a step that has it."""
    variants = {str(task_type): SCHEMA_REF.format(name=_name(task_type, "Step")) for task_type in CONFIGS}
    components: dict[str, Any] = {
        _VARIANT: {
            "title": _VARIANT,
            "description": "What the task type adds to a step.",
            "oneOf": [{"$ref": reference} for reference in variants.values()],
            "discriminator": {"propertyName": "task_type", "mapping": variants},
        }
    }
    for task_type, config in CONFIGS.items():
        config_name, step_name = _name(task_type, "Config"), _name(task_type, "Step")
        components[config_name] = {"title": config_name, **_config(task_type, config)}
        components[step_name] = {
            "title": step_name,
            "description": f"The config of a step of the type {task_type}.",
            "type": "object",
            "properties": {
                "task_type": {"type": "string", "const": str(task_type)},
                "config": {"$ref": SCHEMA_REF.format(name=config_name)},
            },
            "required": ["task_type"],
        }
    return components


def discriminated_step(step: dict[str, Any]) -> dict[str, Any]:
    """The component *step*, which is also one of the variants."""
    return {**step, "allOf": [{"oneOf": [{"$ref": SCHEMA_REF.format(name=_VARIANT)}]}]}


def _name(task_type: TaskType, suffix: str) -> str:
    return task_type.replace("_", " ").title().replace(" ", "") + suffix


def _config(task_type: TaskType, config: type[Struct]) -> dict[str, Any]:
    """No member is required: an input mapping or the workflow's `step_defaults` may give it."""
    needed = " or ".join(required_inputs(task_type))
    needs = f" It needs {needed}, from here, from step_defaults or from an input mapping." if needed else ""
    return {
        "description": f"Config of steps of the type {task_type}.{needs} Other members are passed on as they are.",
        "type": "object",
        "properties": {member.encode_name: _member(member) for member in fields(config)},
        "additionalProperties": True,
    }


def _member(member: FieldInfo) -> dict[str, Any]:
    """A member's schema; null counts as not given. The default stands in the description."""
    described = schema(member.type)
    choices = [choice for choice in described.pop("anyOf", [described]) if choice != {"type": "null"}]
    notes = [choice.pop("description") for choice in choices if "description" in choice]
    if isinstance(member.default, int | float):
        notes.append(f"{'default' if notes else 'Default'} {member.default:g}")
    made = {"description": ", ".join(notes)} if notes else {}
    return made | {"anyOf": [*choices, {"type": "null"}]}
