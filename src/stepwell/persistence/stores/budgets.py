"""`ports.budgets.Budgets` on asyncpg. Reservations that are made at the same time share a statement."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from stepwell.persistence.connections.connection_pool import PooledAdapter, SmallPool
from stepwell.persistence.statements import budget_statements as sql
from stepwell.persistence.tables.column import Row
from stepwell.ports.budgets import BudgetRefusal, BudgetUse, Demand
from stepwell.runtime.batching import BatchedCalls

_MAX_DEMANDS: Final = 500  # of a statement
_MAX_WOKEN: Final = 1_000
_Batch = Mapping[UUID, Sequence[Demand]]


class PostgresBudgets(PooledAdapter):
    def __init__(self, connections: SmallPool) -> None:
        super().__init__(connections)
        self._calls: BatchedCalls[UUID, Sequence[Demand], BudgetRefusal | None] = BatchedCalls(
            self._reserve, max_weight=(_MAX_DEMANDS, _MAX_DEMANDS), weigh=lambda demands: (len(demands), 0)
        )

    async def reserve(self, task_id: UUID, demands: Sequence[Demand]) -> BudgetRefusal | None:
        if await self._calls.call(task_id, demands) is None:
            return None
        # Others of its batch may have left no room, although they were refused, too. So it asks once more, alone.
        await self.forget_ended()
        return (await self._reserve(lambda: {task_id: demands}))[task_id]

    async def forget_ended(self) -> None:
        await self._connections.fetch(sql.FORGET_ENDED)

    async def wake(self, until: datetime) -> None:
        while len(await self._connections.fetch(sql.WAKE, until, _MAX_WOKEN)) == _MAX_WOKEN:
            pass

    async def use(self, scope: str) -> Sequence[BudgetUse]:
        return [BudgetUse(*row) for row in await self._connections.fetch(sql.USE, scope)]

    async def _reserve(self, take: Callable[[], _Batch]) -> dict[UUID, BudgetRefusal | None]:
        async with self._connections.borrow() as connection:
            batch = take()
            rows = await connection.fetch(sql.RESERVE, *_parameters(batch))
            if missing := sorted({(row["scope"], row["unit"]) for row in rows if row["used"] is None}):
                days = [scope.partition("/")[0] for scope, _ in missing if "/" in scope]
                parameters = [scope for scope, _ in missing], [unit for _, unit in missing], min(days, default="")
                await connection.execute(sql.OPEN_BUDGETS, *parameters)
                rows = await connection.fetch(sql.RESERVE, *_parameters(batch))
        refused: dict[UUID, Row] = {}
        for row in rows:
            refused.setdefault(row["task_id"], row)
        return {
            task_id: _refusal(demands, refused[task_id]) if task_id in refused else None
            for task_id, demands in batch.items()
        }


def _parameters(batch: _Batch) -> tuple[list[object], ...]:
    rows = [
        (task_id, each.scope, each.unit, each.amount, each.root_id, each.maximum)
        for task_id, demands in batch.items()
        for each in demands
    ]
    scopes = sorted({row[1] for row in rows})
    return *(list(values) for values in zip(*rows, strict=True)), list(scopes)


def _refusal(demands: Sequence[Demand], row: Row) -> BudgetRefusal:
    demand = next(each for each in demands if (each.scope, each.unit) == (row["scope"], row["unit"]))
    return BudgetRefusal(demand, Decimal(row["rest"] or 0), fails=row["fails"])
