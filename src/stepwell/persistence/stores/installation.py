"""`ports.installation.Installation` on asyncpg."""

from typing import Final

import asyncpg

from stepwell.persistence.connections.database import unavailable_in_outage
from stepwell.persistence.schema.migrations import newest_revision
from stepwell.ports.installation import InstallationRecord

READ: Final = """
SELECT i.id, i.has_folder, v.version_num FROM installation AS i CROSS JOIN alembic_version AS v
"""
RECORD_FOLDER: Final = "UPDATE installation SET has_folder = true WHERE NOT has_folder"


class PostgresInstallation:
    """The record in PostgreSQL."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def read(self) -> InstallationRecord:
        row = await self._pool.fetchrow(READ)
        return InstallationRecord(row["id"], row["has_folder"], row["version_num"] > newest_revision())

    @unavailable_in_outage
    async def record_folder(self) -> None:
        await self._pool.execute(RECORD_FOLDER)
