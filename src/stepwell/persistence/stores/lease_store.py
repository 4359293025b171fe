"""`ports.processes.LeaseStore` on asyncpg.

Its statements send the notifications that `PostgresPresence` receives.
"""

from typing import cast
from uuid import UUID

import asyncpg

from stepwell.persistence.connections.database import PostgresAdapter
from stepwell.persistence.statements import lease_statements as sql


class PostgresLeaseStore(PostgresAdapter):
    """Leases in PostgreSQL.

    *pool* is that of `database.create_asyncpg_pool`. `PostgresWorkflowStore` leaves one of its connections free.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def renew(self, owner: UUID, seconds: float | None) -> None:
        await self._pool.execute(sql.RENEW_LEASE, owner, seconds)

    async def next_expiry(self, owner: UUID) -> float | None:
        return cast("float | None", await self._pool.fetchval(sql.NEXT_EXPIRY, owner))

    async def release(self, owner: UUID) -> None:
        await self._pool.execute(sql.RELEASE, owner)

    async def expire_others(self, owner: UUID) -> None:
        await self._pool.execute(sql.EXPIRE_OTHERS, owner)
