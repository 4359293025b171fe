"""The definition of a stored workflow, as a client would send it: without the members that have their default."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET, Raw, ValidationError, field, json, structs

from stepwell.contract.definition import CreateWorkflow, FieldMapping, ForEach, Repeat, WorkflowStepDefinition
from stepwell.contract.enums import RunIf, TaskType
from stepwell.definition.mapping.templates import OPENING, evaluated_config, has_text, with_literal_texts
from stepwell.definition.named_definitions import with_contents
from stepwell.lifecycle.records import StoredInputs, WorkflowRecord
from stepwell.rules.large_workflow_records import StoredStep


class _Mapping(FieldMapping, frozen=True, kw_only=True, omit_defaults=True):
    """A mapping without null members."""


class _Step(WorkflowStepDefinition, frozen=True, kw_only=True, omit_defaults=True):
    """A step without the members that have their default."""

    input_mappings: list[_Mapping] = field(default_factory=list)  # type: ignore[assignment]


class _Repeat(Repeat, frozen=True, kw_only=True, omit_defaults=True):
    """A repetition without null members."""


class _ForEach(ForEach, frozen=True, kw_only=True, omit_defaults=True):
    """A source of items without the members that have their default."""


class _Head(CreateWorkflow, frozen=True, kw_only=True, omit_defaults=True):
    """A definition without the members that have their default."""


_SUBWORKFLOW: Final = json.encode(TaskType.SUBWORKFLOW)
_read_step = json.Decoder(_Step).decode
_decode_for_each = json.Decoder(_ForEach).decode
_DEFAULT_NAME = _ForEach().as_
_read_repeat = json.Decoder(_Repeat).decode


def encode_head(record: WorkflowRecord, inputs: StoredInputs) -> bytes:
    """Return the JSON of the definition's members, with an empty list of steps as the last one."""
    state = record.state
    head = _Head(
        name=state.name,
        steps=[],
        origin_instance=record.origin_instance,
        description=state.description,
        config=record.config,
        origin_zone=record.origin_zone,
        origin_tenant_id=record.tenant,
        origin_reference=record.origin_reference,
        webhook_url=state.webhook_url,
        suppress_subtask_events=record.suppress_subtask_events,
        labels=record.labels or None,
    )
    members = json.decode(json.encode(head), type=dict[str, Raw])
    steps = members.pop("steps")
    if inputs.inputs not in (None, b"{}"):
        members["inputs"] = Raw(inputs.inputs)
    if inputs.inputs_schema is not None:
        members["inputs_schema"] = Raw(inputs.inputs_schema)
    return json.encode({**members, "steps": steps})


def encode_step(step: StoredStep, *, evaluates: bool) -> bytes:
    """Return the JSON of the step's definition. Unless the service *evaluates* its texts, each `${` in them is escaped.

    Workflows that were stored before there were expressions have literal texts. Who sends their definition again gets
    the same workflow.
    """
    try:
        definition = _read_step(step.definition)
    except ValidationError:  # only a newer version knows it
        return step.definition
    run_if = UNSET if step.run_if is RunIf.ALL_COMPLETED else step.run_if
    when = UNSET if step.condition is None else step.condition
    repeat = UNSET if step.repeat is None else _read_repeat(step.repeat)
    for_each = UNSET if step.for_each is None else _read_for_each(step.for_each)
    definition = structs.replace(
        definition, run_if=run_if, optional=step.optional or UNSET, when=when, for_each=for_each, repeat=repeat
    )
    config = evaluated_config(definition.task_type, definition.config)
    if not evaluates and has_text(config, OPENING):
        definition = structs.replace(definition, config={**definition.config, **with_literal_texts(config)})
    return json.encode(definition)


def with_deleted(steps: Sequence[bytes], copies: Mapping[str, Any]) -> list[bytes]:
    """Return the JSON of definitions of steps with the copy instead of each reference to one of *copies*."""
    return [json.encode(_with_copies(step, copies)) if _SUBWORKFLOW in step else step for step in steps]


def _with_copies(step: bytes, copies: Mapping[str, Any]) -> Any:
    return with_contents({"steps": [json.decode(step)]}, copies, only_copies=True)["steps"][0]


def _read_for_each(stored: bytes) -> _ForEach:
    for_each = _decode_for_each(stored)
    # msgspec leaves out a text only if it is the very object that is the default.
    return structs.replace(for_each, as_=_DEFAULT_NAME) if for_each.as_ == _DEFAULT_NAME else for_each
