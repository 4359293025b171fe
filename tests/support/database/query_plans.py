"""What tests read in the plans of PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import asyncpg


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan, as `EXPLAIN (FORMAT JSON)` returns it, parents first."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from plan_nodes(inner)


async def explain(connection: asyncpg.Connection, statement: str, form: str) -> list[str]:
    """Return the rows of the plan for whatever values *statement* gets. *form* has the options of EXPLAIN."""
    await connection.execute(f"PREPARE explained AS {statement}")
    try:
        parameters = await connection.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'explained'"
        )
        nulls = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
        return [row[0] for row in await connection.fetch(f"EXPLAIN ({form}) EXECUTE explained {nulls}")]
    finally:
        await connection.execute("DEALLOCATE explained")
