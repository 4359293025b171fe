"""Validates a definition and an update. One response lists all faults, each with its place."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from msgspec import UNSET, Struct, ValidationError, convert, structs

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.normalise import Handling, normalise
from stepwell.basics.strict_json.schema_faults import Loc, cap_faults, iter_faults, printable_key
from stepwell.basics.workflow_limits import slots_of
from stepwell.contract.definition import (
    CreateWorkflow,
    DefinitionReference,
    JsonObject,
    WorkflowConfig,
    WorkflowStepDefinition,
    WorkflowUpdate,
    merged_dependencies,
)
from stepwell.contract.enums import WAITS_OF, RunIf, TaskType
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.stored_definitions import DefinitionContent
from stepwell.definition.mapping.expressions import Expressions
from stepwell.definition.mapping.input_mapping import EVERY_TYPE, TIMEOUT, effective_config
from stepwell.definition.mapping.task_configs import config_faults, read_workflow_config, without_nulls
from stepwell.definition.validation.budget_rules import BudgetRules
from stepwell.definition.validation.expression_checks import CheckedExpressions, ExpressionChecks, output_faults
from stepwell.definition.validation.file_inputs import FileInputs
from stepwell.definition.validation.graph import DependencyBudget, Graph
from stepwell.definition.validation.inputs_schema import input_names, inputs_faults
from stepwell.definition.validation.item_rules import NO_INPUTS, ItemRules, item_inputs
from stepwell.definition.validation.member_checks import MemberChecks
from stepwell.definition.validation.partial_step import PartialStep, parse_valid_parts, to_partial_step
from stepwell.definition.validation.provider_rules import (
    ProviderCatalog,
    chosen_provider,
    known_provider_config,
    provider_faults,
)
from stepwell.definition.validation.step_outputs import StepOutputs
from stepwell.definition.validation.step_rules import (
    Defaults,
    input_faults,
    known_defaults,
    known_inputs,
    mapping_faults,
    repeat_faults,
)
from stepwell.definition.validation.sub_workflow_rules import SubWorkflowRules, nested_steps
from stepwell.definition.validation.wait_rules import WaitRules
from stepwell.lifecycle.feature_level import BASE_LEVEL
from stepwell.lifecycle.model import ReuseRule
from stepwell.lifecycle.steps import ResolvedStep, flow_control
from stepwell.lifecycle.webhook_deliveries import WEBHOOK_URL, UrlRule, url_fault

__all__ = ["MAX_STEPS", "ValidatedWorkflow", "parse_update", "validate_workflow"]

S = TypeVar("S", bound=Struct)
MAX_STEPS = 10_000
MAX_FAULTS = 200
_PLACEHOLDER = "definition"  # instead of the name and the origin, which only runs have
# Hot path: an attribute of an enum costs 0.1 µs in Python 3.11.
_SUBWORKFLOW, _ALL_COMPLETED = TaskType.SUBWORKFLOW, RunIf.ALL_COMPLETED


class ValidatedWorkflow(Struct, frozen=True):
    """A valid workflow: the request, its config as a struct, and its steps with all defaults applied.

    `definition_bytes` is the size of the request by `workflow_limits.definition_size`; 0 if that is unknown. `warnings`
    come from `MemberChecks` and `ExpressionChecks`. `evaluates`: its steps have conditions, or expressions
    in their configs. `definition` is the stored one that it was made of, if any. `named` has the contents of those
    that its steps name, as JSON. Then these also stand in `request`. `named_files`: see `NewWorkflow`. `reuse` is None
    unless it takes over results of an earlier run.
    """

    request: CreateWorkflow
    config: WorkflowConfig
    steps: tuple[ResolvedStep, ...]
    definition_bytes: int = 0
    warnings: tuple[DefinitionWarning, ...] = ()
    evaluates: bool = False
    definition: DefinitionReference | None = None
    named: bytes | None = None
    named_files: frozenset[str] | None = None
    reuse: ReuseRule | None = None

    @property
    def feature_level(self) -> int:
        """The level that a process needs to run it."""
        return BASE_LEVEL

    @property
    def has_flow(self) -> bool:
        """True if a step is optional, has a `run_if`, a condition, a repetition or items, waits, or runs a workflow.

        Also true if results may be taken over.
        """
        return self.reuse is not None or any(
            step.flow is not None or step.optional or step.run_if is not RunIf.ALL_COMPLETED for step in self.steps
        )

    @property
    def slots(self) -> int:
        """The slots that it takes while it is active."""
        return slots_of(len(self.steps), self.definition_bytes)


def too_many_steps() -> Fault:
    return Fault(("body", "steps"), f"Expected at most {MAX_STEPS} steps, nested ones included", "too_long")


def validate_workflow(
    body: Any,
    catalog: ProviderCatalog,
    expressions: Expressions | None = None,
    *,
    handling: Handling = Handling.STRICT,
    definition_bytes: int = 0,
    now: datetime | None = None,
    depth: int = 0,
    origin_instance: str | None = None,
    kind: type[CreateWorkflow | DefinitionContent] = CreateWorkflow,
) -> ValidatedWorkflow:
    """Return the workflow that *body*, decoded JSON, defines. *expressions* may know some expressions already.

    *handling* is that of unknown members. *definition_bytes* is the size of *body* by
    `workflow_limits.definition_size`; 0 if that is unknown. *now* is the present time, for rules about times.
    *depth* is that of a sub-workflow below the body of the request. *origin_instance* is that of a *body* without one.
    *kind* is what *body* is. The workflow of a `DefinitionContent` has placeholders instead of a name and an origin.

    Raises `InvalidRequest` with up to 200 faults, and a last one that counts the rest.
    """
    if origin_instance is not None and isinstance(body, dict) and body.get("origin_instance") is None:
        body = {**body, "origin_instance": origin_instance}
    context = _Context(catalog, expressions or Expressions(), DependencyBudget(), handling, now, depth)
    return _validated(context, body, definition_bytes=definition_bytes, kind=kind)


class _Context(NamedTuple):
    """The values that all rules of one definition use.

    Its sub-workflows have the same `expressions` and `dependencies`. `depth` is 0 for the body of the request.
    """

    catalog: ProviderCatalog
    expressions: Expressions
    dependencies: DependencyBudget
    handling: Handling
    now: datetime | None
    depth: int


def _validated(
    context: _Context,
    body: Any,
    step_inputs: frozenset[str] = frozenset(),
    *,
    definition_bytes: int = 0,
    kind: type[CreateWorkflow | DefinitionContent] = CreateWorkflow,
) -> ValidatedWorkflow:
    """Return the workflow that *body* defines. *step_inputs*: those that the step of a sub-workflow passes to it."""
    catalog, handling = context.catalog, context.handling
    try:
        request = _request_of(_convert(kind, body, handling))
    except ValidationError:
        body = normalise(kind, body, handling)
        rules = _faults_of_valid_parts(context, body)
        broken = chain(iter_faults(kind, body, ("body",)), rules)
        raise InvalidRequest(cap_faults(broken, MAX_FAULTS)) from None
    names = input_names(request.inputs, request.inputs_schema) | step_inputs
    parts = _check_parts([to_partial_step(step) for step in request.steps], names, context)
    checks = MemberChecks(request.config, _valid_defaults(request.config), catalog, handling)
    refused = chain(
        _rule_faults(context, parts, request.config, request.webhook_url, checks),
        inputs_faults(request.inputs, request.inputs_schema),
    )
    if faults := cap_faults(refused, MAX_FAULTS):
        raise InvalidRequest(faults)
    if request.reuse is not None and context.depth:
        message = "A sub-workflow reuses the results of the earlier one of the same step by itself. Remove reuse"
        raise InvalidRequest([Fault(("body", "reuse"), message, "extra_forbidden")])
    if evaluates := any(each.evaluates for each in parts.checked):
        request = structs.replace(request, steps=_with_expressions(request.steps, parts.checked))
    config = read_workflow_config(request.config)
    steps = tuple(
        _resolve(position, step, tuple(parts.graph.edges[position]), config, catalog)
        for position, step in enumerate(request.steps)
    )
    reuse = None if request.reuse is None else ReuseRule(request.reuse.from_)
    return ValidatedWorkflow(request, config, steps, definition_bytes, checks.warnings, evaluates, reuse=reuse)


def parse_update(
    body: Any, webhook_refusal: UrlRule = url_fault, handling: Handling = Handling.STRICT
) -> WorkflowUpdate:
    """Return the update that *body* asks for. Raises `InvalidRequest`. A JSON null clears a member, except the name."""
    body = normalise(WorkflowUpdate, body, handling)
    faults = list(iter_faults(WorkflowUpdate, body, ("body",)))
    if isinstance(body, dict):
        faults += _webhook_faults(body.get("webhook_url"), webhook_refusal)
    if faults:
        raise InvalidRequest(cap_faults(faults, MAX_FAULTS))
    return convert(body, WorkflowUpdate)


def _request_of(valid: CreateWorkflow | DefinitionContent) -> CreateWorkflow:
    if isinstance(valid, CreateWorkflow):
        return valid
    return CreateWorkflow(name=_PLACEHOLDER, origin_instance=_PLACEHOLDER, **structs.asdict(valid))


def _convert(struct: type[S], body: Any, handling: Handling) -> S:
    """Return *body* as a *struct*. Raises `msgspec.ValidationError`."""
    try:
        return convert(body, struct)
    except ValidationError:
        return convert(normalise(struct, body, handling), struct)


def _resolve(
    position: int,
    step: WorkflowStepDefinition,
    needed: tuple[int, ...],
    config: WorkflowConfig,
    catalog: ProviderCatalog,
) -> ResolvedStep:
    waits = step.task_type in WAITS_OF
    timeout = None if waits else effective_config(config, step).get(TIMEOUT)
    known = known_provider_config(step.provider_config, catalog.installed)
    provider = chosen_provider(step.task_type, known, catalog)
    return ResolvedStep(
        position=position,
        step_id=step.id,
        task_type=step.task_type,
        depends_on=needed,
        max_retries=0 if waits else config.retry.max_retries if step.max_retries is UNSET else step.max_retries,
        timeout_s=600.0 if timeout is None else float(timeout),
        provider=provider,
        fallback=None if provider is None else step.fallback_provider_type,
        run_if=_ALL_COMPLETED if step.run_if is UNSET else step.run_if,
        optional=step.optional is True,
        flow=flow_control(step),
    )


class _Parts(NamedTuple):
    """The steps of a definition, as far as they are valid: with their expressions, and their graph."""

    steps: Sequence[PartialStep]
    checked: Sequence[CheckedExpressions]
    graph: Graph


def _check_parts(steps: Sequence[PartialStep], inputs: frozenset[str], context: _Context) -> _Parts:
    ids = [step.id for step in steps]
    checks = ExpressionChecks(ids, inputs, context.expressions, context.handling)
    checked = [checks.of(step, position) for position, step in enumerate(steps)]
    steps = [
        step if each.config is None else structs.replace(step, config=each.config)
        for step, each in zip(steps, checked, strict=True)
    ]
    sources = [
        [None if mapping is None else mapping.from_step for mapping in step.input_mappings or ()] for step in steps
    ]
    named = [each.sources for each in checked]
    graph = Graph(ids, [step.depends_on for step in steps], sources, named, context.dependencies)
    return _Parts(steps, checked, graph)


def _with_expressions(
    steps: Sequence[WorkflowStepDefinition], checked: Sequence[CheckedExpressions]
) -> list[WorkflowStepDefinition]:
    """Return the steps with the dependencies that their expressions imply, and with each literal `${` escaped."""
    return [
        structs.replace(
            step,
            config=step.config if each.config is None else each.config,
            for_each=step.for_each if each.for_each is None else each.for_each,
            depends_on=merged_dependencies(step.depends_on, each.sources),
        )
        if each.evaluates
        else step
        for step, each in zip(steps, checked, strict=True)
    ]


def _faults_of_valid_parts(context: _Context, body: Any) -> Iterator[Fault]:
    """Yield the faults that the rules find in the valid parts of a body whose structure is broken."""
    if not isinstance(body, dict):
        return
    steps, config = body.get("steps"), body.get("config")
    partial_steps = [parse_valid_parts(step) for step in steps[: MAX_STEPS + 1]] if isinstance(steps, list) else []
    parts = _check_parts(partial_steps, frozenset(), context)  # a refusal has no warnings
    config, url = config if isinstance(config, dict) else {}, body.get("webhook_url")
    checks = MemberChecks(config, _valid_defaults(config), context.catalog, context.handling)
    yield from _rule_faults(context, parts, config, url, checks)
    yield from inputs_faults(body.get("inputs"), body.get("inputs_schema"))


def _rule_faults(
    context: _Context, parts: _Parts, config: JsonObject, webhook_url: Any, checks: MemberChecks
) -> Iterator[Fault]:
    """Yield the faults that a body may have although its structure is valid."""
    catalog, expressions, depth = context.catalog, context.expressions, context.depth
    yield from _webhook_faults(webhook_url, catalog.webhook_refusal)
    known = normalise(WorkflowConfig, without_nulls(config), context.handling)
    yield from iter_faults(WorkflowConfig, known, ("body", "config"))
    budget = BudgetRules(config, depth, catalog.currencies)
    yield from budget.faults()
    checks.add_warnings(budget.warnings())
    if len(parts.steps) + sum(map(nested_steps, parts.steps)) > MAX_STEPS:
        yield too_many_steps()
        return
    defaults = _valid_defaults(config)
    used = {step.task_type: None for step in parts.steps if step.task_type is not None}
    yield from _defaults_faults(config.get("step_defaults"), list(used))
    yield from parts.graph.faults
    known_by_type = {task_type: known_defaults(defaults, task_type) for task_type in used}
    scannable, files = Defaults(defaults), FileInputs(defaults, catalog)
    outputs = StepOutputs(parts.steps, catalog)
    waits = WaitRules(defaults, config.get("workflow_timeout_s"), context.now)
    items = ItemRules(parts.graph, expressions, outputs.refusal)
    check = partial(_check_nested, context._replace(depth=depth + 1))
    below = SubWorkflowRules(
        defaults, depth, check, checks.add_warnings, has_webhook=webhook_url is not None, handling=context.handling
    )
    yield from below.default_faults()
    for position, (step, checked) in enumerate(zip(parts.steps, parts.checked, strict=True)):
        loc: Loc = ("body", "steps", position)
        broken: list[Fault] = []
        of_items = NO_INPUTS if step.for_each is None else item_inputs(step.task_type, step.for_each.valid)
        if step.task_type is not None:
            known_members = known_by_type[step.task_type]
            broken = list(input_faults(step, step.task_type, known_members, loc, checked.places, of_items.in_each))
            yield from broken
            if step.task_type in WAITS_OF:
                yield from waits.faults(step, step.task_type, loc, checked.inputs, sound=not broken)
                checks.add_warnings(waits.warnings(step, step.task_type, loc))
        known = partial(
            known_inputs, step, scannable, sound=not broken, evaluated=checked.inputs, of_items=of_items.in_any
        )
        if step.input_mappings:
            yield from mapping_faults(step, parts.graph, expressions, outputs.refusal, loc)
        if checked.evaluates:
            yield from checked.faults
            yield from output_faults(checked, parts.graph.position_of, outputs.refusal)
            checks.add_warnings(checked.warnings)
        if step.task_type is _SUBWORKFLOW:
            yield from below.faults(step, loc)
        if step.for_each is not None:
            yield from items.faults(step, step.for_each, loc, checked.places)
            checks.add_warnings(items.warnings(step.for_each, loc))
        if step.repeat is not None:
            yield from repeat_faults(step, step.repeat, expressions, partial(outputs.run_refusal, position), loc)
        yield from provider_faults(step, known, catalog, loc)
        yield from files.faults(step, loc, checked.places)
        yield from checks.faults(step, loc)
    yield from checks.last_faults()


def _check_nested(
    context: _Context, body: Any, step_inputs: frozenset[str]
) -> tuple[Sequence[Fault], Sequence[DefinitionWarning]]:
    """Return the faults and the warnings of the definition of a sub-workflow, whose step gives it *step_inputs*."""
    try:
        valid = _validated(context, body, step_inputs)
    except InvalidRequest as error:
        return error.faults, ()
    return (), valid.warnings


def _valid_defaults(config: JsonObject) -> dict[str, JsonObject]:
    """Return the members of `step_defaults` that are objects."""
    defaults = config.get("step_defaults")
    members = defaults.items() if isinstance(defaults, dict) else ()
    return {key: value for key, value in members if isinstance(value, dict)}


def _defaults_faults(defaults: Any, used: Sequence[TaskType]) -> Iterator[Fault]:
    """Yield the faults of `step_defaults`. Defaults for "*" must fit each type in *used* that makes attempts."""
    reported: set[Fault] = set()
    with_attempts = [task_type for task_type in used if task_type not in WAITS_OF]
    for key, config in defaults.items() if isinstance(defaults, dict) else ():
        loc: Loc = ("body", "config", "step_defaults", printable_key(key))
        if key != EVERY_TYPE and key not in TaskType.__members__:
            message = f'Expected "*" or one of {", ".join(TaskType)}'
            yield Fault(loc, message, "enum")
        elif isinstance(config, dict):
            for task_type in with_attempts if key == EVERY_TYPE else [TaskType(key)]:
                for fault in config_faults(task_type, config, loc):
                    if fault not in reported:
                        reported.add(fault)
                        yield fault


def _webhook_faults(url: Any, refusal: UrlRule) -> Iterator[Fault]:
    """Yield the fault of a webhook URL. Another check reports a URL that isn't a string."""
    if isinstance(url, str) and (fault := refusal(url)) is not None:
        yield Fault(WEBHOOK_URL, *fault)
