"""Builds indexes that existing tables lack, without a lock that others wait for.

What must hold:
- Reads and writes go on while an index is built (CREATE INDEX CONCURRENTLY). Other processes may use the tables.
- One process builds at a time. The others poll its lock: CONCURRENTLY waits for statements that began before it, so two
  processes would wait for each other if one waited for the lock within a statement.
- An interrupted build leaves an invalid index, which costs writes and serves no read. The next build drops it first.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg
from sqlalchemy import Connection, Index, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from stepwell.persistence.connections.database import driver_dsn
from stepwell.persistence.schema.tables import metadata

# Any constant will do, as long as it differs from that of `migrations`.
INDEX_LOCK: Final = 0x5745_4C4D
_POLL_S = 0.2
_CONNECT_S = 10.0
# An operator may have set limits for ordinary statements. A build takes as long as the table is large.
_NO_LIMITS: Final = {
    "application_name": "stepwell",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
}
# Other schemas may have indexes of the same names. An index is in the schema of its table, which `search_path` finds.
_VALID: Final = """
SELECT c.relname::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name) AND i.indisvalid
"""
_DROP: Final = """
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', n.nspname, $2::text)
FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace WHERE t.oid = to_regclass($1)
"""


def create_indexes(connection: Connection) -> None:
    """Create all indexes that the new, empty tables lack, within the connection's transaction."""
    for table in metadata.sorted_tables:
        existing = {index["name"] for index in inspect(connection).get_indexes(table.name)}
        for index in sorted(table.indexes, key=_name):
            if index.name not in existing:
                connection.execute(CreateIndex(index))


async def build_missing_indexes(dsn: str, building: Callable[[str], None]) -> None:
    """Build the indexes that the tables lack. Calls *building* with the name of each before its build.

    Raises what asyncpg raises. A cancelled call leaves the rest to the next one.
    """
    connection = await asyncpg.connect(driver_dsn(dsn), timeout=_CONNECT_S, server_settings=_NO_LIMITS)
    try:
        if not await _missing(connection):
            return
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", INDEX_LOCK):  # noqa: ASYNC110 - of a server
            await asyncio.sleep(_POLL_S)
        indexes = await _missing(connection)
        for index in indexes:
            building(_name(index))
            await connection.execute(await connection.fetchval(_DROP, _table(index), _name(index)))
            statement = str(CreateIndex(index).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
            await connection.execute(statement.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1))
        for table in sorted({_table(index) for index in indexes}):
            await connection.execute(f"ANALYZE {table}")  # an index on an expression has no statistics before that
    finally:
        connection.terminate()


async def _missing(connection: asyncpg.Connection) -> Sequence[Index]:
    valid = {row["relname"] for row in await connection.fetch(_VALID, list(metadata.tables))}
    indexes = [index for table in metadata.sorted_tables for index in sorted(table.indexes, key=_name)]
    return [index for index in indexes if index.name not in valid]


def _table(index: Index) -> str:
    assert index.table is not None
    return index.table.name


def _name(index: Index) -> str:
    return str(index.name)
