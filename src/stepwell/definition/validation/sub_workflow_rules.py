"""Validates the steps that run sub-workflows: SUBWORKFLOW.

What must hold:
- The definition of a sub-workflow is validated by all rules of a definition, at any depth. Each fault and each warning
  has its place in the body of the request.
- Sub-workflows are nested at most `MAX_DEPTH` deep. The steps of all definitions in the body count together.
- A rule about an input waits until the step runs, because the step may replace it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec import ValidationError, convert

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.normalise import Handling, normalise
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import TaskType
from stepwell.contract.problems import DefinitionWarning
from stepwell.definition.mapping.expressions import definitions_in, list_of
from stepwell.definition.mapping.templates import INPUTS, SUB_DEFINITION, SUB_REFERENCE
from stepwell.definition.validation.item_rules import inputs_of_items
from stepwell.definition.validation.partial_step import PartialStep

MAX_DEPTH: Final = 5
_ORIGIN: Final = ("origin_instance", "origin_zone", "origin_tenant_id", "origin_reference")
_PLACEHOLDER: Final = "parent"  # stands for the origin of the parent, which a check of the definition needn't know

# Takes a definition and the names of the inputs that its step gives. Returns its faults and warnings.
NestedCheck: TypeAlias = Callable[[Any, frozenset[str]], tuple[Sequence[Fault], Sequence[DefinitionWarning]]]


def too_deep(loc: Loc) -> Fault:
    return Fault(loc, f"Sub-workflows are nested at most {MAX_DEPTH} deep", "too_deep")


def reference_of(config: Mapping[str, Any]) -> DefinitionReference | None:
    """Return the definition that the config of a SUBWORKFLOW names; None if it names none, or not as it should."""
    if (value := config.get(SUB_REFERENCE)) is None:
        return None
    try:
        return convert(normalise(DefinitionReference, value), DefinitionReference)
    except ValidationError:
        return None


def with_origin(definition: Mapping[str, Any], origin: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the *definition* of a sub-workflow as the body of a create, with the *origin* of its parent."""
    own = {name: value for name, value in definition.items() if name not in _ORIGIN}
    return {**own, **(origin or {_ORIGIN[0]: _PLACEHOLDER})}


def nested_steps(step: PartialStep) -> int:
    """Return the number of steps of the sub-workflows in the step, at any depth. These need not be valid."""
    if not step.config or SUB_DEFINITION not in step.config or step.task_type is not TaskType.SUBWORKFLOW:
        return 0
    return sum(len(list_of(each, "steps")) for each in definitions_in(step.config[SUB_DEFINITION]))


class SubWorkflowRules:
    """The rules of one definition at *depth*, 0 for the body itself. *check* validates a definition below it.

    *has_webhook*: the definition has a `webhook_url`. With lenient *handling*, an origin below is ignored. *warn* takes
    the warnings of each step. Thousands of steps may have so many of them that they aren't kept here.
    """

    def __init__(
        self,
        defaults: Mapping[str, Mapping[str, Any]],
        depth: int,
        check: NestedCheck,
        warn: Callable[[Iterable[DefinitionWarning]], None],
        *,
        has_webhook: bool,
        handling: Handling,
    ) -> None:
        self._defaults, self._depth, self._check, self._warn = defaults, depth, check, warn
        self._warns_of_unreported, self._is_lenient = has_webhook and depth == 0, handling is Handling.LENIENT

    def default_faults(self) -> Iterator[Fault]:
        for member in (SUB_DEFINITION, SUB_REFERENCE):
            if member in self._defaults.get(TaskType.SUBWORKFLOW, ()):
                message = "A step has its sub-workflow in its own config: step_defaults can't define it"
                yield Fault(("body", "config", "step_defaults", TaskType.SUBWORKFLOW, member), message, "bad_field")

    def faults(self, step: PartialStep, loc: Loc) -> Iterator[Fault]:
        for index, mapping in enumerate(step.input_mappings or ()):
            if mapping is not None and not mapping.to_field.startswith(f"{INPUTS}."):
                message = f"A mapping gives an input of the sub-workflow: write {INPUTS}.NAME"
                yield Fault((*loc, "input_mappings", index, "to_field"), message, "bad_field")
        if step.config is None:
            return
        if step.config.get("timeout_s") is not None:
            message = "A SUBWORKFLOW has no timeout: give the definition a workflow_timeout_s"
            yield Fault((*loc, "config", "timeout_s"), message, "unused_member")
        place = (*loc, "config", _member_of(step.config))
        definition = step.config.get(SUB_DEFINITION)
        if definition is None and step.config.get(SUB_REFERENCE) is not None and reference_of(step.config) is None:
            return  # the rules of configs report it
        if definition is None:
            yield Fault(place, "A SUBWORKFLOW needs a workflow, or the definition of a stored one", "missing")
        elif self._depth >= MAX_DEPTH:
            yield too_deep(place)
        elif isinstance(definition, dict):
            yield from self._nested_faults(step, definition, place)

    def _nested_faults(self, step: PartialStep, definition: dict[str, Any], place: Loc) -> Iterator[Fault]:
        for member in _ORIGIN:
            if definition.get(member) is None:
                continue
            if self._is_lenient:
                message = f"This is ignored: a sub-workflow has the {member} of its parent"
                self._warn([DefinitionWarning((*place, member), message, "ignored_member")])
            else:
                message = f"A sub-workflow has the {member} of its parent: leave this out; handling=lenient ignores it"
                yield Fault((*place, member), message, "unused_member")
        faults, warnings = self._check(with_origin(definition), _passed_inputs(step))
        for fault in faults:
            yield Fault((*place, *fault.loc[1:]), fault.msg, fault.type)
        self._warn(DefinitionWarning((*place, *each.loc[1:]), each.msg, each.type) for each in warnings)
        if self._warns_of_unreported:
            message = "No webhook reports this wait: give the definition of the sub-workflow its own webhook_url"
            self._warn(DefinitionWarning(each, message, "no_webhook") for each in _unreported_waits(definition, place))


def _member_of(config: Mapping[str, Any]) -> str:
    """Return the member of the config that has the sub-workflow, for its place in the body that was sent."""
    return SUB_REFERENCE if config.get(SUB_REFERENCE) else SUB_DEFINITION


def _unreported_waits(definition: Mapping[str, Any], place: Loc) -> Iterator[Loc]:
    """Yield the places of waits that no webhook reports: the first one in each definition without a `webhook_url`."""
    stack: list[tuple[Any, Loc]] = [(definition, place)]
    while stack:
        value, where = stack.pop()
        if not isinstance(value, dict) or value.get("webhook_url") is not None:
            continue
        first = None
        for index, step in enumerate(list_of(value, "steps")):
            own = (*where, "steps", index)
            task_type = step.get("task_type") if isinstance(step, dict) else None
            if task_type in (TaskType.APPROVAL, TaskType.SIGNAL):
                first = first or own
            elif task_type == TaskType.SUBWORKFLOW and isinstance(config := step.get("config"), dict):
                stack.append((config.get(SUB_DEFINITION), (*own, "config", _member_of(config))))
        if first is not None:
            yield first


def _passed_inputs(step: PartialStep) -> frozenset[str]:
    """Return the names of the inputs that the step passes to its sub-workflow, as far as they are known."""
    own = (step.config or {}).get(INPUTS)
    mapped = [mapping.to_field.split(".") for mapping in step.input_mappings or () if mapping is not None]
    names = frozenset(own if isinstance(own, dict) else ()) | {names[1] for names in mapped if len(names) > 1}
    return names if step.for_each is None else names | (inputs_of_items(step.for_each.valid).in_any or frozenset())
