"""What a definition would come to here, were it run now: nothing is stored, and the database isn't asked."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.plan_result import WorkflowPlan
from stepwell.domain.diagnostics.plan import NO_PROVIDER, PlannedCall, plan_of
from stepwell.domain.model_terms import PriceList
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.validation.workflow import ValidatedWorkflow
from stepwell.engine.admission.model_health import ModelHealth, ModelKey
from stepwell.offloop import off_loop
from stepwell.ports.providers import Providers

log = structlog.get_logger()


class Planner:
    def __init__(self, providers: Providers, prices: PriceList, health: ModelHealth) -> None:
        self._providers, self._prices, self._health = providers, prices, health

    async def plan(self, scope: TenantScope, planned: ValidatedWorkflow) -> WorkflowPlan:
        """*planned* is what `validation.validate_workflow` has accepted. How long models take is told of those that
        tenants of *scope* have asked for.
        """
        steps = len(planned.steps)
        asked, fallbacks = await off_loop(partial(self._asked, planned), steps=steps)
        keys = {ModelKey(one.provider, one.model) for one in asked if one.provider and one.model}
        known = {key: self._health.median_s(key, scope.covers) for key in keys}
        expected: dict[int, float] = {}
        for position, one in enumerate(asked):
            if one.provider is None:
                expected[position] = 0.0
            elif (took := known.get(ModelKey(one.provider, one.model or ""))) is not None:
                expected[position] = took
        return await off_loop(partial(plan_of, planned, asked, fallbacks, expected, self._prices), steps=steps)

    def _asked(self, planned: ValidatedWorkflow) -> tuple[list[PlannedCall], dict[int, PlannedCall]]:
        asked, fallbacks = [], {}
        for plan, definition in zip(planned.steps, planned.request.steps, strict=True):
            asked.append(self._call(plan.provider, plan.task_type, definition.provider_config))
            if plan.fallback is not None:
                config = definition.fallback_provider_config
                fallbacks[plan.position] = self._call(plan.fallback, plan.task_type, config)
        return asked, fallbacks

    def _call(self, kind: ProviderType | None, task_type: TaskType, config: Mapping[str, Any] | None) -> PlannedCall:
        if kind is None:
            return NO_PROVIDER
        here = self._providers.works_here(kind)
        try:
            return PlannedCall(kind, self._providers[kind].model(task_type, config or {}), here)
        except Exception:  # a fault of the provider's code: that is told where the step runs
            log.exception("provider.no_model", action="plan", provider=kind)
            return PlannedCall(kind, None, here)
