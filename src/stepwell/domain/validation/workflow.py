"""Validates a definition and an update. One answer lists all faults, each with its place."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from msgspec import Struct, UnsetType, ValidationError, convert

from stepwell.contract.definition import (
    CreateWorkflow,
    JsonObject,
    WorkflowConfig,
    WorkflowStepDefinition,
    WorkflowUpdate,
)
from stepwell.contract.enums import RunIf, TaskType
from stepwell.contract.problems import DefinitionWarning
from stepwell.domain.errors import Fault, InvalidRequest
from stepwell.domain.feature_level import BASE_LEVEL, FLOW_LEVEL
from stepwell.domain.mapping.expressions import Expressions
from stepwell.domain.mapping.input_mapping import EVERY_TYPE, TIMEOUT, effective_config
from stepwell.domain.mapping.task_configs import config_faults, without_nulls
from stepwell.domain.steps import ResolvedStep
from stepwell.domain.strict_json.normalise import Handling, normalise
from stepwell.domain.strict_json.schema_faults import Loc, cap_faults, iter_faults, printable_key
from stepwell.domain.validation.file_inputs import FileInputs
from stepwell.domain.validation.graph import Graph
from stepwell.domain.validation.member_checks import MemberChecks
from stepwell.domain.validation.partial_step import PartialStep, parse_valid_parts, to_partial_step
from stepwell.domain.validation.provider_rules import (
    ProviderCatalog,
    chosen_provider,
    known_provider_config,
    provider_faults,
)
from stepwell.domain.validation.step_outputs import StepOutputs
from stepwell.domain.validation.step_rules import Defaults, input_faults, known_defaults, known_inputs, mapping_faults
from stepwell.domain.webhooks.delivery import WEBHOOK_URL, UrlRule, url_fault
from stepwell.domain.workflow_config import read_workflow_config
from stepwell.domain.workflow_limits import places_of

__all__ = ["MAX_STEPS", "ValidatedWorkflow", "parse_update", "validate_workflow"]

S = TypeVar("S", bound=Struct)
MAX_STEPS = 10_000
MAX_FAULTS = 200


class ValidatedWorkflow(Struct, frozen=True):
    """A valid workflow: the request, its config as a struct, and its steps with all defaults applied.

    `definition_bytes` is the size of the request by `workflow_limits.definition_size`; 0 if that is unknown. `warnings`
    are what `MemberChecks` found.
    """

    request: CreateWorkflow
    config: WorkflowConfig
    steps: tuple[ResolvedStep, ...]
    definition_bytes: int = 0
    warnings: tuple[DefinitionWarning, ...] = ()

    @property
    def feature_level(self) -> int:
        """The level that a process needs to run it."""
        plain = all(step.run_if is RunIf.ALL_COMPLETED and not step.optional for step in self.steps)
        return BASE_LEVEL if plain else FLOW_LEVEL

    @property
    def places(self) -> int:
        """The number of active workflows that it counts as."""
        return places_of(len(self.steps), self.definition_bytes)


def validate_workflow(
    body: Any,
    catalog: ProviderCatalog,
    expressions: Expressions | None = None,
    *,
    handling: Handling = Handling.STRICT,
    definition_bytes: int = 0,
) -> ValidatedWorkflow:
    """Return the workflow that *body*, decoded JSON, defines. *expressions* may know some expressions already.

    *handling* is that of unknown members. *definition_bytes* is the size of *body* by
    `workflow_limits.definition_size`; 0 if that is unknown.

    Raises `InvalidRequest` with up to 200 faults, and a last one that counts the rest.
    """
    expressions = expressions or Expressions()
    try:
        request = _convert(CreateWorkflow, body, handling)
    except ValidationError:
        body = normalise(CreateWorkflow, body, handling)
        rules = _faults_of_valid_parts(body, catalog, expressions, handling)
        broken = chain(iter_faults(CreateWorkflow, body, ("body",)), rules)
        raise InvalidRequest(cap_faults(broken, MAX_FAULTS)) from None
    partial_steps = [to_partial_step(step) for step in request.steps]
    graph = _graph_of(partial_steps)
    checks = MemberChecks(request.config, _valid_defaults(request.config), catalog, handling)
    refused = _rule_faults(partial_steps, graph, request.config, request.webhook_url, catalog, expressions, checks)
    if faults := cap_faults(refused, MAX_FAULTS):
        raise InvalidRequest(faults)
    config = read_workflow_config(request.config)
    steps = tuple(
        _resolve(position, step, tuple(graph.edges[position]), config, catalog)
        for position, step in enumerate(request.steps)
    )
    return ValidatedWorkflow(request, config, steps, definition_bytes, checks.warnings)


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
    timeout = effective_config(config, step).get(TIMEOUT)
    provider = chosen_provider(step.task_type, known_provider_config(step.provider_config), catalog.default)
    return ResolvedStep(
        position=position,
        step_id=step.id,
        task_type=step.task_type,
        depends_on=needed,
        max_retries=config.retry.max_retries if isinstance(step.max_retries, UnsetType) else step.max_retries,
        timeout_s=600.0 if timeout is None else float(timeout),
        provider=provider,
        fallback=None if provider is None else step.fallback_provider_type,
        run_if=RunIf.ALL_COMPLETED if isinstance(step.run_if, UnsetType) else step.run_if,
        optional=step.optional is True,
    )


def _graph_of(steps: Sequence[PartialStep]) -> Graph:
    sources = [
        [None if mapping is None else mapping.from_step for mapping in step.input_mappings or ()] for step in steps
    ]
    return Graph([step.id for step in steps], [step.depends_on for step in steps], sources)


def _faults_of_valid_parts(
    body: Any, catalog: ProviderCatalog, expressions: Expressions, handling: Handling
) -> Iterator[Fault]:
    """Yield the faults that the rules find in the valid parts of a body whose structure is broken."""
    if not isinstance(body, dict):
        return
    steps, config = body.get("steps"), body.get("config")
    partial_steps = [parse_valid_parts(step) for step in steps[: MAX_STEPS + 1]] if isinstance(steps, list) else []
    graph = _graph_of(partial_steps)
    config, url = config if isinstance(config, dict) else {}, body.get("webhook_url")
    checks = MemberChecks(config, _valid_defaults(config), catalog, handling)
    yield from _rule_faults(partial_steps, graph, config, url, catalog, expressions, checks)


def _rule_faults(
    partial_steps: Sequence[PartialStep],
    graph: Graph,
    config: JsonObject,
    webhook_url: Any,
    catalog: ProviderCatalog,
    expressions: Expressions,
    checks: MemberChecks,
) -> Iterator[Fault]:
    """Yield the faults that a body may have although its structure is valid."""
    yield from _webhook_faults(webhook_url, catalog.webhook_refusal)
    known = normalise(WorkflowConfig, without_nulls(config), checks.handling)
    yield from iter_faults(WorkflowConfig, known, ("body", "config"))
    if len(partial_steps) > MAX_STEPS:
        yield Fault(("body", "steps"), f"Expected at most {MAX_STEPS} steps", "too_long")
        return
    defaults = _valid_defaults(config)
    used = {step.task_type: None for step in partial_steps if step.task_type is not None}
    yield from _defaults_faults(config.get("step_defaults"), list(used))
    yield from graph.faults
    known_by_type = {task_type: known_defaults(defaults, task_type) for task_type in used}
    scannable, files = Defaults(defaults), FileInputs(defaults, catalog)
    outputs = StepOutputs(partial_steps, catalog)
    for position, step in enumerate(partial_steps):
        loc: Loc = ("body", "steps", position)
        broken: list[Fault] = []
        if step.task_type is not None:
            broken = list(input_faults(step, step.task_type, known_by_type[step.task_type], loc))
            yield from broken
        known = partial(known_inputs, step, scannable, sound=not broken)
        yield from mapping_faults(step, graph, expressions, outputs.refusal, loc)
        yield from provider_faults(step, known, catalog, loc)
        yield from files.faults(step, loc)
        yield from checks.faults(step, loc)
    yield from checks.last_faults()


def _valid_defaults(config: JsonObject) -> dict[str, JsonObject]:
    """Return the members of `step_defaults` that are objects."""
    defaults = config.get("step_defaults")
    members = defaults.items() if isinstance(defaults, dict) else ()
    return {key: value for key, value in members if isinstance(value, dict)}


def _defaults_faults(defaults: Any, used: Sequence[TaskType]) -> Iterator[Fault]:
    """Yield the faults of `step_defaults`. Defaults for "*" must fit each type in *used*, the types of the steps."""
    reported: set[Fault] = set()
    for key, config in defaults.items() if isinstance(defaults, dict) else ():
        loc: Loc = ("body", "config", "step_defaults", printable_key(key))
        if key != EVERY_TYPE and key not in TaskType.__members__:
            message = f'Expected "*" or one of {", ".join(TaskType)}'
            yield Fault(loc, message, "enum")
        elif isinstance(config, dict):
            for task_type in used if key == EVERY_TYPE else [TaskType(key)]:
                for fault in config_faults(task_type, config, loc):
                    if fault not in reported:
                        reported.add(fault)
                        yield fault


def _webhook_faults(url: Any, refusal: UrlRule) -> Iterator[Fault]:
    """Yield the fault of a webhook URL. Another check reports a URL that isn't a string."""
    if isinstance(url, str) and (fault := refusal(url)) is not None:
        yield Fault(WEBHOOK_URL, *fault)
