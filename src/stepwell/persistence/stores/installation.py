"""`ports.processes.Installation` on asyncpg."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import asyncpg

from stepwell.persistence.connections.database import PostgresAdapter, unavailable_in_outage
from stepwell.persistence.schema.migrations import VERSION_TABLE, newest_revision
from stepwell.ports.processes import InstallationRecord

READ: Final = f"""
SELECT i.id, i.has_folder, v.version_num FROM installation AS i CROSS JOIN {VERSION_TABLE} AS v
"""  # noqa: S608 - built from a constant
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('stepwell artifact folder'))"
RECORD_FOLDER: Final = "UPDATE installation SET has_folder = true WHERE NOT has_folder"


class PostgresInstallation(PostgresAdapter):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def read(self) -> InstallationRecord:
        return await _read(self._pool)

    @asynccontextmanager
    async def recording_folder(self) -> AsyncIterator[InstallationRecord]:
        async with AsyncExitStack() as stack:
            connection, record = await self._begin(stack)
            yield record
            await _record_folder(connection, stack)

    @unavailable_in_outage
    async def _begin(self, stack: AsyncExitStack) -> tuple[Any, InstallationRecord]:
        connection = await stack.enter_async_context(self._pool.acquire())
        await stack.enter_async_context(connection.transaction())
        await connection.execute(LOCK)
        return connection, await _read(connection)


@unavailable_in_outage
async def _record_folder(connection: Any, stack: AsyncExitStack) -> None:
    await connection.execute(RECORD_FOLDER)
    await stack.aclose()  # commits


async def _read(connection: Any) -> InstallationRecord:
    row = await connection.fetchrow(READ)
    return InstallationRecord(row["id"], row["has_folder"], row["version_num"] > newest_revision())
