"""Reads the sums of costs. The checkpoints write them (`engine_statements.CHECKPOINT_AND_COSTS`)."""

from typing import Any

from sqlalchemy import BigInteger, Select, cast, collate, func, literal, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.contract.enums import CostKey
from stepwell.domain.daily_costs import CostQuery, CostSum
from stepwell.domain.tenancy import TenantScope
from stepwell.persistence.schema.tables import daily_costs


async def read_costs(connection: AsyncConnection, scope: TenantScope, query: CostQuery) -> list[CostSum]:
    rows = (await connection.execute(_statement(scope, query))).all()
    return [CostSum(_keys(query, row), *row[-3:]) for row in rows]


def _keys(query: CostQuery, row: Any) -> tuple[Any, ...]:
    pairs = zip(query.by, row, strict=False)
    return tuple(None if key is CostKey.TENANT and value == "" else value for key, value in pairs)


def _statement(scope: TenantScope, query: CostQuery) -> Select[Any]:
    own = daily_costs.c
    keys = [own[key] for key in query.by]
    attempts = cast(func.sum(own.attempts), BigInteger())
    statement = select(*keys, own.currency, func.sum(own.amount), attempts).group_by(*keys, own.currency)
    if not scope.every:
        statement = statement.where(own.tenant == (scope.tenant or ""))
    if query.since is not None:
        statement = statement.where(own.day >= query.since)
    if query.until is not None:
        statement = statement.where(own.day < query.until)
    order = [key if key is own.day else collate(key, "C") for key in (*keys, own.currency)]
    # A cost that was corrected to another currency may leave a sum of no attempt.
    return statement.having(attempts > literal_column("0")).order_by(*order).limit(literal(query.limit))
