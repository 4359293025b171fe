"""Reads budgets and their use: that of a workflow, and that of a tenant's day."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import Struct

from stepwell.basics.setting_values import TenantBudgets
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.tasks import BudgetPart, BudgetStatus, WorkflowBudget
from stepwell.definition.mapping.task_configs import read_workflow_config
from stepwell.ports.budgets import ATTEMPTS, Budgets
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowReader
from stepwell.rules.costs import budget_scope


class BudgetReader(Struct, eq=False):
    """Reads budgets. Raises `Unavailable`."""

    _budgets: Budgets
    _workflows: WorkflowReader
    _tenant_budgets: TenantBudgets
    _clock: Clock

    async def of_root(self, root_id: UUID) -> WorkflowBudget | None:
        """Return the budget of a workflow at the top, which the caller may see; None if it has none."""
        record = await self._workflows.get(EVERY_TENANT, root_id)
        budget = None if record is None else read_workflow_config(record.config).budget
        if budget is None:
            return None
        maxima: dict[str, Any] = {**budget.max_cost, ATTEMPTS: budget.max_attempts}
        parts = await self._parts(str(root_id), maxima)
        attempts = parts.pop(ATTEMPTS)
        return WorkflowBudget(costs=parts, attempts=attempts, workflow_id=root_id, on_exceeded=budget.on_exceeded)

    async def of_tenant(self, tenant: str | None) -> BudgetStatus | None:
        """Return the budget of the tenant for this day (UTC); None if it has none."""
        if (maxima := self._tenant_budgets.of(tenant)) is None:
            return None
        parts = await self._parts(budget_scope(tenant, self._clock.now()), {**maxima, ATTEMPTS: None})
        attempts = parts.pop(ATTEMPTS)
        return BudgetStatus(costs=parts, attempts=attempts)

    async def _parts(self, scope: str, maxima: Mapping[str, Any]) -> dict[str, BudgetPart]:
        used = {each.unit: each for each in await self._budgets.use(scope)}
        parts = {}
        for unit in sorted(maxima.keys() | used.keys()):
            maximum, use = maxima.get(unit), used.get(unit)
            spent, reserved = (Decimal(), Decimal()) if use is None else (use.spent, use.reserved)
            parts[unit] = BudgetPart(_number(maximum), _number(spent) or 0, _number(reserved) or 0)
        return parts


def _number(value: Decimal | str | float | None) -> float | None:
    """Return the number, an int if it is whole; None for None."""
    if value is None:
        return None
    number = Decimal(str(value))
    return int(number) if number == number.to_integral_value() else float(number)
