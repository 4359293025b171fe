"""Plans a definition: the calls, durations and prices of running it now. Stores nothing.

A statement is sent only for a run that reuses results.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec import Struct, structs

from stepwell.basics.strict_json.normalise import Handling
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import WAITS_OF, ProviderType, TaskType
from stepwell.contract.forecasts import PlannedPrice, WorkflowPlan
from stepwell.definition.mapping.input_mapping import effective_config
from stepwell.definition.mapping.templates import SUB_DEFINITION
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.definition.validation.sub_workflow_rules import with_origin
from stepwell.definition.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.engine.attempts.checked_provider import checked_model
from stepwell.engine.dispatch.model_health import ModelHealth, ModelKey
from stepwell.engine.explain.reuse_forecast import ReuseForecaster
from stepwell.ports.providers import Providers
from stepwell.rules.costs import PriceList
from stepwell.rules.diagnostics.plan import NO_PROVIDER, PlannedCall, build_plan
from stepwell.runtime.offloop import off_loop, off_loop_if_large


class Planner(Struct, eq=False):
    _providers: Providers
    _prices: PriceList
    _health: ModelHealth
    _catalog: ProviderCatalog
    _reuse: ReuseForecaster

    async def plan(self, scope: TenantScope, tenant: str | None, validated: ValidatedWorkflow) -> WorkflowPlan:
        """Return what a run of *tenant* of a valid definition would involve.

        Durations are only known for models that tenants of *scope* have used.
        """
        steps = len(validated.steps)
        calls, fallbacks = await off_loop(partial(self._calls, validated), steps=steps)
        keys = {ModelKey(call.provider, call.model) for call in calls if call.provider and call.model}
        medians = {key: self._health.median_s(key, scope.covers_tenant) for key in keys}
        expected: dict[int, float] = {}
        for position, call in enumerate(calls):
            if validated.steps[position].task_type in WAITS_OF:
                if (wait_s := _known_wait_s(validated, position)) is not None:
                    expected[position] = wait_s
            elif call.provider is None:
                expected[position] = 0.0
            elif (took_s := medians.get(ModelKey(call.provider, call.model or ""))) is not None:
                expected[position] = took_s
        sub_workflows = [
            step.config[SUB_DEFINITION] for step in validated.request.steps if step.task_type is TaskType.SUBWORKFLOW
        ]
        nested = await off_loop_if_large(lambda _: self._nested_prices(validated), sub_workflows)
        reuse = await self._reuse.forecast(tenant, validated)
        build = partial(build_plan, validated, calls, fallbacks, expected, self._prices, nested, reuse)
        return await off_loop(build, steps=steps)

    def _nested_prices(self, validated: ValidatedWorkflow) -> dict[int, PlannedPrice]:
        """Return the prices of one run of each sub-workflow, by the position of its step."""
        prices = {}
        for resolved, definition in zip(validated.steps, validated.request.steps, strict=True):
            if resolved.task_type is TaskType.SUBWORKFLOW:
                body = with_origin(definition.config[SUB_DEFINITION])
                # The inputs that the step gives aren't known, so names of inputs aren't checked here, and none is read.
                nested = validate_workflow(body, self._catalog, handling=Handling.LENIENT)
                nested = structs.replace(nested, request=structs.replace(nested.request, inputs={}))
                calls, fallbacks = self._calls(nested)
                below = self._nested_prices(nested)
                prices[resolved.position] = build_plan(nested, calls, fallbacks, {}, self._prices, below).price
        return prices

    def _calls(self, validated: ValidatedWorkflow) -> tuple[list[PlannedCall], dict[int, PlannedCall]]:
        """Return the call of each step, and those of the fallbacks by position."""
        calls, fallbacks = [], {}
        for resolved, definition in zip(validated.steps, validated.request.steps, strict=True):
            calls.append(self._call(resolved.provider, resolved.task_type, definition.provider_config))
            if resolved.fallback is not None:
                config = definition.fallback_provider_config
                fallbacks[resolved.position] = self._call(resolved.fallback, resolved.task_type, config)
        return calls, fallbacks

    def _call(self, kind: ProviderType | None, task_type: TaskType, config: Mapping[str, Any] | None) -> PlannedCall:
        if kind is None:
            return NO_PROVIDER
        in_process = self._providers.works_here(kind) or self._providers.on_workers(kind)
        return PlannedCall(kind, checked_model(self._providers, kind, task_type, config or {}, "plan"), in_process)


def _known_wait_s(validated: ValidatedWorkflow, position: int) -> float | None:
    """Return the seconds that the step at *position* waits; None unless it is a DELAY that has them in its config."""
    if validated.steps[position].task_type is not TaskType.DELAY:
        return None
    seconds = effective_config(validated.config, validated.request.steps[position]).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None
