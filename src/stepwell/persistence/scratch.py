"""A schema of one's own in a database, gone afterwards: for a benchmark, which must leave nothing behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
from anyio import CancelScope

from stepwell.persistence.database import driver_dsn, is_outage
from stepwell.persistence.reach import DatabaseRefused

_PREFIX = "stepwell_scratch_"
_CONNECT_S = 10.0


@asynccontextmanager
async def scratch_schema(dsn: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """The address of an empty schema of a database that answers, and a connection to it.

    It is dropped at the end; one that a killed process has left is dropped by the next. While the connection lives it
    holds a lock by the schema's name, so that none is taken for a leftover. Raises `DatabaseRefused`.
    """
    name = f"{_PREFIX}{uuid4().hex}"
    connection = await asyncpg.connect(driver_dsn(dsn), timeout=_CONNECT_S, server_settings={"search_path": name})
    try:
        await _lock(connection, name)
        await _drop_leftovers(connection)
        try:
            await _create(connection, name)
            async with _while_connected(connection):
                yield _with_search_path(dsn, name), connection
        finally:
            with CancelScope(shield=True):
                await _drop_at_end(connection, name)
    finally:
        with CancelScope(shield=True):
            await connection.close(timeout=_CONNECT_S)


async def _lock(connection: asyncpg.Connection, name: str) -> bool:
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", name))


async def _drop_leftovers(connection: asyncpg.Connection) -> None:
    found = await connection.fetch("SELECT nspname FROM pg_namespace WHERE starts_with(nspname::text, $1)", _PREFIX)
    for row in found:
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):  # another user's
            if await _lock(connection, row["nspname"]):
                await _drop(connection, row["nspname"])


async def _create(connection: asyncpg.Connection, name: str) -> None:
    try:
        await connection.execute(f"CREATE SCHEMA {name}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseRefused(f"a schema of our own is needed, but the database refuses: {error}") from error


@asynccontextmanager
async def _while_connected(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """End what is within when the connection is lost: with it the lock is, and the schema looks like a leftover."""
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
