"""Reads and deletes the sums of costs. The checkpoints write them (`engine_statements.CHECKPOINT_AND_COSTS`)."""

from datetime import date
from typing import Any, Final

from sqlalchemy import BigInteger, Select, cast, collate, false, func, literal, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import CostKey
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.persistence.tables.daily_costs import daily_costs
from stepwell.persistence.tables.workflows import definition_name, definition_values, runs_definition
from stepwell.rules.costs import CostQuery, CostSum, ExpiredCosts

# Rows that another process deletes are left to it, so that nobody waits. The last batch alone looks for the next day.
EXPIRE: Final = """
WITH old_sums AS (
    DELETE FROM daily_costs WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM daily_costs WHERE day < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
    )) RETURNING 1
), total AS MATERIALIZED (SELECT count(*) AS count FROM old_sums)
SELECT count, CASE WHEN count < $2 THEN (SELECT min(day) FROM daily_costs WHERE day >= $1) END AS next_day FROM total
"""


class PostgresDailyCosts(PooledAdapter):
    async def expire(self, before: date, most: int) -> ExpiredCosts:
        (row,) = await self._connections.fetch(EXPIRE, before, most)
        return ExpiredCosts(row["count"], row["next_day"])


async def read_costs(connection: AsyncConnection, scope: TenantScope, query: CostQuery) -> list[CostSum]:
    rows = (await connection.execute(_statement(scope, query))).all()
    return [CostSum(query.keys_of(row), *row[-4:]) for row in rows]


def _statement(scope: TenantScope, query: CostQuery) -> Select[Any]:
    own = daily_costs.c
    keys = [definition_name(own.definition) if key is CostKey.DEFINITION else own[key] for key in query.by]
    attempts = cast(func.sum(own.attempts), BigInteger())
    saved = func.sum(own.saved)
    statement = select(*keys, own.currency, func.sum(own.amount), attempts, saved).group_by(*keys, own.currency)
    if not scope.every:
        statement = statement.where(own.tenant == (scope.tenant or ""))
    if scope.subject is not None:  # the sums are those of a tenant
        statement = statement.where(false())
    if query.since is not None:
        statement = statement.where(own.day >= query.since)
    if query.until is not None:
        statement = statement.where(own.day < query.until)
    if query.definition is not None:
        statement = statement.where(*runs_definition(own.definition)).params(definition_values(query.definition))
    order = [key if key is own.day else collate(key, "C") for key in (*keys, own.currency)]
    # A cost that was corrected to another currency may leave a sum of no attempt.
    return (
        statement.having(func.greatest(attempts, saved) > literal_column("0"))
        .order_by(*order)
        .limit(literal(query.limit))
    )
