"""`ports.budgets.Budgets` in memory, and the settlements of checkpoints."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import to_builtins

from stepwell.contract.enums import TaskStatus, WorkflowStatus
from stepwell.lifecycle.decision import BudgetRows
from stepwell.lifecycle.records import WorkflowRecord
from stepwell.ports.budgets import ATTEMPTS, BudgetRefusal, BudgetUse, Demand
from stepwell.rules.costs import exact
from stepwell.testing.memory_tables import BudgetRow, MemoryAdapter, Tables


class MemoryBudgets(MemoryAdapter):
    async def reserve(self, task_id: UUID, demands: Sequence[Demand]) -> BudgetRefusal | None:
        tables, stored = self._tables, self._tables.task_of_any(task_id)
        if stored is None or stored.task.status is not TaskStatus.RUNNING:
            return None
        known = {scope for scope, _ in tables.reservations.get(task_id, {})}
        wanted = [each for each in demands if each.scope not in known]
        _forget_ended(tables)
        for demand in wanted:
            row = tables.budgets.setdefault((demand.scope, demand.unit), BudgetRow())
            maximum, fails = _bound(tables, demand)
            used = row.spent + row.reserved
            if maximum is not None and used + demand.amount > maximum:
                return BudgetRefusal(demand, max(maximum - used, Decimal()), fails=fails)
        for demand in wanted:
            tables.budgets[demand.scope, demand.unit].reserved += demand.amount
            tables.reservations.setdefault(task_id, {})[demand.scope, demand.unit] = demand.amount
        return None

    async def forget_ended(self) -> None:
        _forget_ended(self._tables)

    async def wake(self, until: datetime) -> None:
        for row in self._tables.parked(WorkflowStatus.RUNNING):
            if row.record.state.wake_at == until:
                row.record.state.wake_at = self._tables.clock.now()

    async def use(self, scope: str) -> Sequence[BudgetUse]:
        _forget_ended(self._tables)
        rows = sorted((key[1], row) for key, row in self._tables.budgets.items() if key[0] == scope)
        return [BudgetUse(unit, row.spent, row.reserved) for unit, row in rows]


def write_budgets(tables: Tables, record: WorkflowRecord, rows: BudgetRows) -> None:
    """Write what a checkpoint changes of budgets."""
    if rows.budget is not None:
        record.config = record.config | {"budget": to_builtins(rows.budget)}
    for settled in rows.settlements:
        for (scope, unit), amount in tables.reservations.pop(settled.task_id, {}).items():
            row = tables.budgets[scope, unit]
            row.reserved -= amount
            if unit == ATTEMPTS:
                row.spent += settled.counts
            elif settled.kept:
                row.spent += amount
            if unit == ATTEMPTS and settled.cost is not None:
                other = tables.budgets.setdefault((scope, settled.cost.currency), BudgetRow())
                other.spent += exact(settled.cost.amount)


def _bound(tables: Tables, demand: Demand) -> tuple[Decimal | None, bool]:
    """Return the maximum of the budget in the unit, and whether its root fails when that is exceeded."""
    if demand.root_id is None:
        return demand.maximum, False
    root = tables.workflows.get(demand.root_id)
    budget: dict[str, Any] = {} if root is None else root.record.config.get("budget") or {}
    of_unit = budget.get("max_attempts") if demand.unit == ATTEMPTS else budget.get("max_cost", {}).get(demand.unit)
    return None if of_unit is None else Decimal(str(of_unit)), budget.get("on_exceeded") == "fail"


def _forget_ended(tables: Tables) -> None:
    for task_id, reserved in list(tables.reservations.items()):
        if (stored := tables.task_of_any(task_id)) is not None and stored.is_open:
            continue
        for key, amount in reserved.items():
            tables.budgets[key].reserved -= amount
        del tables.reservations[task_id]
