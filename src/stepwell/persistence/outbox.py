"""`ports.webhooks.Outbox` on asyncpg. All statements find rows by their key, or by owner, host and time, in that order:
so nothing that waits for one host is looked at on the way to another's.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from msgspec import json

from stepwell.domain.webhooks import KEPT_ATTEMPTS, Attempt, DueDelivery, Verdict
from stepwell.persistence.database import unavailable_in_outage
from stepwell.persistence.kept import Kept
from stepwell.persistence.rows import Row, history_event

# Each made when all others are at work: none where nobody is told of anything.
CONNECTIONS: Final = 2
_PAGE: Final = 1_000
_SEEN_A_HOST: Final = 500

# Of a process that has no row, or was declared dead, everything: it won't come back. One whose lease has only ended may
# be idle, with a timer of its own; it is taken for dead where it doesn't do what is due.
TAKE_OVER: Final = """
WITH others AS MATERIALIZED (
    SELECT owners.id, p.id IS NULL OR p.lease_until = '-infinity' AS gone
    FROM (SELECT DISTINCT owner AS id FROM deliveries WHERE next_at IS NOT NULL) AS owners
    LEFT JOIN processes AS p ON p.id = owners.id
    WHERE owners.id IS DISTINCT FROM $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp())
), orphans AS MATERIALIZED (
    SELECT d.workflow_id, d.event_id
    FROM others JOIN deliveries AS d ON d.owner IS NOT DISTINCT FROM others.id
    WHERE d.next_at IS NOT NULL AND (others.gone OR d.next_at <= clock_timestamp())
    LIMIT $2
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d SET owner = $1 FROM orphans AS o
WHERE d.workflow_id = o.workflow_id AND d.event_id = o.event_id
RETURNING d.event_id
"""

HOSTS: Final = "SELECT host, min(next_at) AS at FROM deliveries WHERE owner = $1 AND next_at IS NOT NULL GROUP BY host"

# Rows of tenants that have their share under way ($5; $6: those without a name) are counted by tenant, so that none of
# them stands before others'. No more than $4 rows of a host are looked at.
DUE: Final = """
SELECT d.workflow_id, d.host, d.next_at, d.tries, d.body IS NOT NULL AS frozen,
       d.tenant, d.webhook_url, d.origin_instance, d.origin_reference, d.total_steps, d.event_id,
       e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($2::text[]) AS h(host)
CROSS JOIN LATERAL (
    SELECT *, row_number() OVER (PARTITION BY waits, CASE WHEN waits THEN tenant END ORDER BY next_at) AS place
    FROM (
        SELECT q.*, w.tenant, w.webhook_url, w.origin_instance, w.origin_reference, w.total_steps,
               (w.tenant = ANY ($5::text[]) OR w.tenant IS NULL AND $6::bool) IS TRUE AS waits
        FROM deliveries AS q JOIN workflows AS w ON w.id = q.workflow_id
        WHERE q.owner = $1 AND q.host = h.host AND q.next_at IS NOT NULL
        ORDER BY q.next_at LIMIT $4
    ) AS near
) AS d
JOIN events AS e ON e.workflow_id = d.workflow_id AND e.id = d.event_id
WHERE d.place <= $3
ORDER BY d.host, d.next_at
"""

# In these the owner is no key, or those of a process might all be looked at to find one. The time of the next try is
# the version: what was read before the last try was marked is out of date.
FREEZE: Final = """
UPDATE deliveries SET body = coalesce(body, $5)
WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE
RETURNING body
"""
FROZEN: Final = """
SELECT body FROM deliveries WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE
"""

REFILE: Final = """
UPDATE deliveries SET host = $5
WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE
"""

# A redelivery that was asked for meanwhile has set another time, and goes before. An attempt that is there already was
# marked before, and the answer was lost.
MARK: Final = f"""
UPDATE deliveries AS d SET
    attempts = CASE WHEN $8::text IS NULL OR d.attempts->-1->>'at' = $8::json->0->>'at' THEN d.attempts ELSE (
        CASE WHEN json_array_length(d.attempts) < {KEPT_ATTEMPTS} THEN d.attempts::jsonb ELSE d.attempts::jsonb - 0 END
        || $8::text::jsonb)::json END,
    status = CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $5 ELSE d.status END,
    tries = CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $6 ELSE d.tries END,
    next_at = CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $7 ELSE d.next_at END
WHERE d.workflow_id = $1 AND d.event_id = $2
RETURNING CASE WHEN d.owner = $3 THEN d.next_at END
"""  # noqa: S608 - built from a constant


class PostgresOutbox:
    """*connections* are made by `database.journal_connect`, when they are first needed."""

    def __init__(self, connections: Kept) -> None:
        self._connections = connections

    @unavailable_in_outage
    async def take_over(self, owner: UUID) -> dict[str, datetime]:
        async with self._connections.borrowed() as connection:
            while len(await connection.fetch(TAKE_OVER, owner, _PAGE)) == _PAGE:
                pass
            return {row["host"]: row["at"] for row in await connection.fetch(HOSTS, owner)}

    @unavailable_in_outage
    async def due(
        self, owner: UUID, hosts: Sequence[str], limit: int, full: Collection[str | None]
    ) -> list[DueDelivery]:
        named = [tenant for tenant in full if tenant is not None]
        seen = max(limit, _SEEN_A_HOST) if full else limit
        rows = await self._connections.fetch(DUE, owner, list(hosts), limit, seen, named, None in full)
        return [_due(row) for row in rows]

    @unavailable_in_outage
    async def frozen(self, owner: UUID, due: DueDelivery, body: str | None) -> str | None:
        if body is None:
            rows = await self._connections.fetch(FROZEN, *due.key, owner, due.next_at)
        else:
            rows = await self._connections.fetch(FREEZE, *due.key, owner, due.next_at, body)
        return cast("str | None", rows[0]["body"]) if rows else None

    @unavailable_in_outage
    async def refile(self, owner: UUID, due: DueDelivery, host: str) -> None:
        await self._connections.fetch(REFILE, *due.key, owner, due.next_at, host)

    @unavailable_in_outage
    async def mark(self, owner: UUID, due: DueDelivery, verdict: Verdict, attempt: Attempt | None) -> datetime | None:
        told = None if attempt is None else json.encode([attempt]).decode()
        values = (*due.key, owner, due.next_at, verdict.status, verdict.tries, verdict.next_at, told)
        rows = await self._connections.fetch(MARK, *values)
        return cast("datetime | None", rows[0][0]) if rows else None


def _due(row: Row) -> DueDelivery:
    event, why = None, None
    try:
        event = history_event(row)
    except (ValueError, TypeError) as error:  # another version wrote it, or a hand; msgspec's errors are ValueErrors
        why = str(error)
    return DueDelivery(
        row["workflow_id"],
        row["host"],
        row["next_at"],
        row["tries"],
        row["frozen"],
        row["event_id"],
        event,
        row["tenant"],
        row["webhook_url"],
        row["origin_instance"],
        row["origin_reference"],
        row["total_steps"],
        why,
    )
