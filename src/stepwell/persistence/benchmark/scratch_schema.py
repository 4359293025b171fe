"""A temporary schema in a database for a benchmark, which must leave nothing behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
from anyio import CancelScope

from stepwell.persistence.connections.database import driver_dsn, is_outage
from stepwell.persistence.schema.startup import DatabaseRefused

_PREFIX = "stepwell_scratch_"
# Only names of exactly this form are dropped: a schema of others must not match, and a name can't be a parameter.
_LEFTOVERS = f"SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^{_PREFIX}[0-9a-f]{{32}}$'"  # noqa: S608
_CONNECT_S = 10.0


@asynccontextmanager
async def scratch_schema(dsn: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Create an empty schema, and yield its address and a connection to it. The schema is dropped at the end.

    The next run drops a schema that a killed process has left. The connection holds a lock by the schema's name, so
    that other runs don't take it for a leftover. Raises `DatabaseRefused`.
    """
    name = f"{_PREFIX}{uuid4().hex}"
    scratch = _with_search_path(dsn, name)
    connection = await asyncpg.connect(driver_dsn(scratch), timeout=_CONNECT_S)
    try:
        await _lock(connection, name)
        await _drop_leftovers(connection)
        try:
            await _create(connection, name)
            await _check_search_path(connection, name)
            async with _while_connected(connection):
                yield scratch, connection
        finally:
            with CancelScope(shield=True):
                await _drop_at_end(connection, name)
    finally:
        with CancelScope(shield=True):
            await connection.close(timeout=_CONNECT_S)


async def _lock(connection: asyncpg.Connection, name: str) -> bool:
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", name))


async def _drop_leftovers(connection: asyncpg.Connection) -> None:
    for row in await connection.fetch(_LEFTOVERS):
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):  # another user's
            if await _lock(connection, row["nspname"]):
                await _drop(connection, row["nspname"])


async def _create(connection: asyncpg.Connection, name: str) -> None:
    try:
        await connection.execute(f"CREATE SCHEMA {name}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseRefused(f"a schema of our own is needed, but the database refuses: {error}") from error


async def _check_search_path(connection: asyncpg.Connection, name: str) -> None:
    """Raise `DatabaseRefused` if a proxy ignores the setting: the benchmark would run on the tables of other users."""
    if await connection.fetchval("SELECT current_schema()") != name:
        raise DatabaseRefused("what stands before the database ignores search_path, so a schema of our own is no use")


@asynccontextmanager
async def _while_connected(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Cancel the body if the connection is lost: the lock is lost too, so the schema looks like a leftover."""
    async with asyncio.timeout(None) as within:

        def end(_: asyncpg.Connection) -> None:
            within.reschedule(0)

        connection.add_termination_listener(end)
        try:
            yield
        finally:
            connection.remove_termination_listener(end)


async def _drop_at_end(connection: asyncpg.Connection, name: str) -> None:
    try:
        await _drop(connection, name)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if not is_outage(error):
            raise
        raise DatabaseRefused("the connection to the database was lost; the next run drops what is left") from error


async def _drop(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def _with_search_path(dsn: str, name: str) -> str:
    return f"{dsn}{'&' if '?' in dsn else '?'}search_path={name}"
