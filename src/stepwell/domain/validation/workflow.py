"""What is refused when a workflow is created or changed: all faults in one answer, each with its place."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from msgspec import Struct, UnsetType, ValidationError, convert

from stepwell.contract.definition import (
    CreateWorkflow,
    JsonObject,
    WorkflowConfig,
    WorkflowStepDefinition,
    WorkflowUpdate,
)
from stepwell.contract.enums import TaskType
from stepwell.domain.errors import Fault, InvalidRequest
from stepwell.domain.mapping.expressions import Expressions
from stepwell.domain.mapping.input_mapping import EVERY_TYPE, TIMEOUT, effective_config
from stepwell.domain.mapping.task_configs import config_faults, without_nulls
from stepwell.domain.steps import ResolvedStep
from stepwell.domain.strict_json.schema_faults import Loc, capped, iter_faults, printable_key
from stepwell.domain.validation.file_inputs import FileInputs
from stepwell.domain.validation.graph import Graph
from stepwell.domain.validation.partial_step import PartialStep, salvage_step, to_partial_step
from stepwell.domain.validation.provider_rules import (
    ProviderCatalog,
    chosen_provider,
    known_provider_config,
    provider_faults,
)
from stepwell.domain.validation.step_rules import Defaults, input_faults, known_inputs, mapping_faults
from stepwell.domain.webhooks.delivery import WEBHOOK_URL, UrlRule, url_fault

__all__ = ["MAX_STEPS", "ValidatedWorkflow", "parse_update", "validate_workflow"]

MAX_STEPS = 10_000
MAX_FAULTS = 200


class ValidatedWorkflow(Struct, frozen=True):
    """A workflow that may be stored: as it was asked for, its known config, and its steps with all defaults applied."""

    request: CreateWorkflow
    config: WorkflowConfig
    steps: tuple[ResolvedStep, ...]


def validate_workflow(body: Any, catalog: ProviderCatalog) -> ValidatedWorkflow:
    """*body* is decoded JSON. Raises `InvalidRequest` with up to 200 faults and a last one that counts the rest."""
    try:
        request = convert(body, CreateWorkflow)
    except ValidationError:
        broken = chain(iter_faults(CreateWorkflow, body, ("body",)), _salvaged_faults(body, catalog))
        raise InvalidRequest(capped(broken, MAX_FAULTS)) from None
    drafts = [to_partial_step(step) for step in request.steps]
    graph = Graph([draft.id for draft in drafts], [draft.depends_on for draft in drafts])
    refused = _rule_faults(drafts, graph, request.config, request.webhook_url, catalog)
    if faults := capped(refused, MAX_FAULTS):
        raise InvalidRequest(faults)
    config = convert(without_nulls(request.config), WorkflowConfig)
    steps = tuple(
        _plan(position, step, tuple(graph.edges[position]), config, catalog)
        for position, step in enumerate(request.steps)
    )
    return ValidatedWorkflow(request, config, steps)


def parse_update(body: Any, webhook_refusal: UrlRule = url_fault) -> WorkflowUpdate:
    """Raises `InvalidRequest`. Null clears a member, but a workflow has a name."""
    faults = list(iter_faults(WorkflowUpdate, body, ("body",)))
    if isinstance(body, dict):
        if "name" in body and body["name"] is None:
            faults.append(Fault(("body", "name"), "Expected a string, got null", "string_type"))
        faults += _webhook_faults(body.get("webhook_url"), webhook_refusal)
    if faults:
        raise InvalidRequest(capped(faults, MAX_FAULTS))
    return convert(body, WorkflowUpdate)


def _plan(
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
    )


def _salvaged_faults(body: Any, catalog: ProviderCatalog) -> Iterator[Fault]:
    """The rules, over what is sound in a body whose structure is not."""
    if not isinstance(body, dict):
        return
    steps, config = body.get("steps"), body.get("config")
    drafts = [salvage_step(step) for step in steps[: MAX_STEPS + 1]] if isinstance(steps, list) else []
    graph = Graph([draft.id for draft in drafts], [draft.depends_on for draft in drafts])
    yield from _rule_faults(drafts, graph, config if isinstance(config, dict) else {}, body.get("webhook_url"), catalog)


def _rule_faults(
    drafts: Sequence[PartialStep], graph: Graph, config: JsonObject, webhook_url: Any, catalog: ProviderCatalog
) -> Iterator[Fault]:
    yield from _webhook_faults(webhook_url, catalog.webhook_refusal)
    yield from iter_faults(WorkflowConfig, without_nulls(config), ("body", "config"))
    if len(drafts) > MAX_STEPS:
        yield Fault(("body", "steps"), f"Expected at most {MAX_STEPS} steps", "too_long")
        return
    defaults = _sound_defaults(config)
    used = {draft.task_type: None for draft in drafts if draft.task_type is not None}
    yield from _defaults_faults(config.get("step_defaults"), list(used))
    yield from graph.faults
    expressions, looked_at, files = Expressions(), Defaults(defaults), FileInputs(defaults, catalog)
    for position, draft in enumerate(drafts):
        loc: Loc = ("body", "steps", position)
        broken: list[Fault] = []
        if draft.task_type is not None:
            broken = list(input_faults(draft, draft.task_type, defaults, loc))
            yield from broken
        known = partial(known_inputs, draft, looked_at, sound=not broken)
        yield from mapping_faults(draft, position, graph, expressions, loc)
        yield from provider_faults(draft, known, catalog, loc)
        yield from files.faults(draft, loc)


def _sound_defaults(config: JsonObject) -> dict[str, JsonObject]:
    defaults = config.get("step_defaults")
    members = defaults.items() if isinstance(defaults, dict) else ()
    return {key: value for key, value in members if isinstance(value, dict)}


def _defaults_faults(defaults: Any, used: Sequence[TaskType]) -> Iterator[Fault]:
    """*used* are the types of the steps: defaults for every type must fit each of these."""
    told: set[Fault] = set()
    for key, config in defaults.items() if isinstance(defaults, dict) else ():
        loc: Loc = ("body", "config", "step_defaults", printable_key(key))
        if key != EVERY_TYPE and key not in TaskType.__members__:
            message = f'Expected "*" or one of {", ".join(TaskType)}'
            yield Fault(loc, message, "enum")
        elif isinstance(config, dict):
            for task_type in used if key == EVERY_TYPE else [TaskType(key)]:
                for fault in config_faults(task_type, config, loc):
                    if fault not in told:
                        told.add(fault)
                        yield fault


def _webhook_faults(url: Any, refusal: UrlRule) -> Iterator[Fault]:
    """What is no text is told with the structure."""
    if isinstance(url, str) and (fault := refusal(url)) is not None:
        yield Fault(WEBHOOK_URL, *fault)
