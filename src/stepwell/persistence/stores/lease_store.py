"""`ports.processes.LeaseStore` on asyncpg.

Its statements send the notifications that `PostgresPresence` receives.
"""

from typing import Final, cast
from uuid import UUID

import asyncpg

from stepwell.persistence.connections.database import PostgresAdapter
from stepwell.persistence.statements.claim_statements import PROCESSES
from stepwell.persistence.statements.flow_statements import NEXT_WAKE

# The statement notifies other processes if the lease has ended, or has less than half of its time left, because they
# may consider the process dead or idle. If a process renews in time, all that have read its lease know it.
RENEW_LEASE: Final = f"""
WITH known AS MATERIALIZED (
    SELECT lease_until > clock_timestamp() + make_interval(secs => coalesce($2::float8, 0) / 2) AS alive
    FROM processes WHERE id = $1
), renewed AS (
    INSERT INTO processes (id, lease_until)
    VALUES ($1, coalesce(clock_timestamp() + make_interval(secs => $2::float8), 'infinity'))
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
    RETURNING id
)
SELECT pg_notify('{PROCESSES}', id::text) FROM renewed WHERE NOT EXISTS (SELECT FROM known WHERE alive)
"""  # noqa: S608 - built from a constant

# The seconds until this process may have to take over work, see `LeaseStore.next_expiry`. They are 0 if an owner with
# work has no row, or its lease has ended. A process that only has webhooks or cleanups for later may
# let its lease end; other processes are needed when these are due. A living process may get work at any time, so its
# lease is read again when it ends. A process may have died before it announced a workflow that waits for admission. So
# while any waits, others look as soon as a lease has ended; the claim then forgets that process. The recursive stages
# find each owner by one step in an index. A dead process may also have known alone when a parked workflow is due, so
# others look when the next one is. The seconds are also 0 if a command waits for this process, because its notification
# got lost.
NEXT_EXPIRY: Final = f"""
WITH RECURSIVE workflow_owners AS (
    (SELECT owner FROM workflows WHERE owner IS NOT NULL ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT w.owner FROM workflows AS w WHERE w.owner > r.owner ORDER BY w.owner LIMIT 1)
    FROM workflow_owners AS r WHERE r.owner IS NOT NULL
), delivery_owners AS (
    (SELECT owner FROM deliveries WHERE owner IS NOT NULL AND next_at IS NOT NULL ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT d.owner FROM deliveries AS d WHERE d.owner > t.owner AND d.next_at IS NOT NULL
            ORDER BY d.owner LIMIT 1)
    FROM delivery_owners AS t WHERE t.owner IS NOT NULL
), cleanup_owners AS (
    (SELECT owner FROM cleanups ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT c.owner FROM cleanups AS c WHERE c.owner > t.owner ORDER BY c.owner LIMIT 1)
    FROM cleanup_owners AS t WHERE t.owner IS NOT NULL
), wanted AS (
    SELECT CASE
        WHEN p.lease_until > clock_timestamp() OR p.id IN (SELECT owner FROM workflow_owners)
            OR EXISTS (SELECT FROM workflows WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL)
        THEN p.lease_until
        ELSE least(
            {NEXT_WAKE},
            (SELECT min(d.next_at) FROM deliveries AS d WHERE d.owner = p.id AND d.next_at IS NOT NULL),
            (SELECT min(c.next_at) FROM cleanups AS c WHERE c.owner = p.id))
    END AS at
    FROM processes AS p
    WHERE p.id <> $1 AND p.lease_until > '-infinity' AND p.lease_until < 'infinity'
    UNION ALL
    SELECT '-infinity' FROM (
        SELECT owner FROM workflow_owners UNION SELECT owner FROM delivery_owners UNION SELECT owner FROM cleanup_owners
    ) AS o
    WHERE o.owner <> $1 AND NOT EXISTS (SELECT FROM processes AS p WHERE p.id = o.owner)
    UNION ALL
    SELECT '-infinity' WHERE EXISTS (SELECT FROM deliveries WHERE owner IS NULL AND next_at IS NOT NULL)
    UNION ALL
    SELECT '-infinity' WHERE EXISTS (
        SELECT FROM commands AS c JOIN workflows AS w ON w.id = c.workflow_id
        WHERE c.outcome IS NULL AND c.created_at < clock_timestamp() - interval '0.5 s' AND w.owner = $1
    )
)
SELECT CASE WHEN min(at) > clock_timestamp() THEN extract(epoch FROM min(at) - clock_timestamp()) ELSE 0 END::float8
FROM wanted HAVING count(at) > 0
"""  # noqa: S608 - built from a constant

RELEASE: Final = f"""
WITH gone AS (DELETE FROM processes WHERE id = $1 RETURNING id)
SELECT pg_notify('{PROCESSES}', id::text) FROM gone
"""  # noqa: S608 - built from a constant

EXPIRE_OTHERS: Final = "UPDATE processes SET lease_until = '-infinity' WHERE id <> $1"


class PostgresLeaseStore(PostgresAdapter):
    """Leases in PostgreSQL.

    *pool* is that of `database.create_asyncpg_pool`. `PostgresWorkflowStore` leaves one of its connections free.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def renew(self, owner: UUID, seconds: float | None) -> None:
        await self._pool.execute(RENEW_LEASE, owner, seconds)

    async def next_expiry(self, owner: UUID) -> float | None:
        return cast("float | None", await self._pool.fetchval(NEXT_EXPIRY, owner))

    async def release(self, owner: UUID) -> None:
        await self._pool.execute(RELEASE, owner)

    async def expire_others(self, owner: UUID) -> None:
        await self._pool.execute(EXPIRE_OTHERS, owner)
