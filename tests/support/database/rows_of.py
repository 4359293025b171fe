"""The tables that have rows of a workflow, whatever tables there are."""

from uuid import UUID

import asyncpg


async def tables_with(sql: asyncpg.Connection, *ids: UUID | str) -> set[str]:
    """Return the tables that have a row in which one of the ids occurs."""
    names = await sql.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    pattern = "|".join(map(str, ids))
    return {
        row["tablename"]
        for row in names
        if await sql.fetchval(f"SELECT count(*) FROM {row['tablename']} AS t WHERE t::text ~ $1", pattern)
    }
