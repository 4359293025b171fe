"""`ports.webhooks.Outbox` on asyncpg.

All statements find rows by their key, or by owner, lane and time, in that order. So no statement reads the waiting
deliveries of other lanes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from msgspec import json

from stepwell.contract.events import DeliveryAttemptPublic
from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.lifecycle.webhook_deliveries import MAX_ATTEMPTS, DeliveryVerdict, DueDelivery
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.events import history_event
from stepwell.ports.webhooks import Backlog

_PAGE: Final = 1_000

# A process without a row, or declared dead, won't come back: all its deliveries are taken. A process whose lease has
# merely ended may be idle with a timer of its own. Its deliveries are taken only if they are due and not sent.
TAKE_OVER: Final = f"""
WITH others AS MATERIALIZED (
    SELECT owners.id, p.id IS NULL OR p.lease_until = '-infinity' AS gone
    FROM (SELECT DISTINCT owner AS id FROM deliveries WHERE next_at IS NOT NULL) AS owners
    LEFT JOIN processes AS p ON p.id = owners.id
    WHERE owners.id IS DISTINCT FROM $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp())
), orphans AS MATERIALIZED (
    SELECT d.workflow_id, d.event_id
    FROM others JOIN deliveries AS d ON d.owner IS NOT DISTINCT FROM others.id
    WHERE d.next_at IS NOT NULL AND (others.gone OR d.next_at <= clock_timestamp())
      AND NOT EXISTS (SELECT FROM workflows AS w WHERE w.id = d.workflow_id AND w.feature_level > {FEATURE_LEVEL})
    LIMIT $2
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d SET owner = $1 FROM orphans AS o
WHERE d.workflow_id = o.workflow_id AND d.event_id = o.event_id
RETURNING d.event_id
"""  # noqa: S608 - built from a constant

LANES: Final = "SELECT lane, min(next_at) AS at FROM deliveries WHERE owner = $1 AND next_at IS NOT NULL GROUP BY lane"

DUE: Final = """
SELECT d.workflow_id, d.lane, d.next_at, d.tries, d.body IS NOT NULL AS frozen,
       w.tenant, w.webhook_url, w.origin_instance, w.origin_reference, w.total_steps, d.event_id,
       e.id, e.type, e.at, e.step_id, e.task_id, e.actor, e.data
FROM unnest($2::text[]) AS l(lane)
CROSS JOIN LATERAL (
    SELECT * FROM deliveries AS q
    WHERE q.owner = $1 AND q.lane = l.lane AND q.next_at IS NOT NULL
    ORDER BY q.next_at LIMIT $3
) AS d
JOIN workflows AS w ON w.id = d.workflow_id
JOIN events AS e ON e.workflow_id = d.workflow_id AND e.id = d.event_id
ORDER BY d.lane, d.next_at
"""

# Reads the owner's part of an index that contains only deliveries still to be sent.
BACKLOG: Final = """
SELECT count(*) AS deliveries, min(created_at) AS oldest FROM deliveries WHERE owner = $1 AND next_at IS NOT NULL
"""

# These statements don't use the owner as a key, because PostgreSQL might read all rows of the owner to find one. The
# time of the next attempt is the version of the row: a delivery that was read before the last attempt was recorded is
# out of date.
FREEZE: Final = """
UPDATE deliveries SET body = coalesce(body, $5)
WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE
RETURNING body
"""
FROZEN: Final = """
SELECT body FROM deliveries WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE
"""

CHANGE_LANE: Final = """
UPDATE deliveries SET lane = $5
WHERE workflow_id = $1 AND event_id = $2 AND (owner = $3 AND next_at = $4) IS TRUE
"""

# A redelivery that was requested meanwhile has set another time, and takes precedence. An attempt that is in the row
# already was recorded before, and the result was lost.
RECORD: Final = f"""
UPDATE deliveries AS d SET
    attempts = CASE WHEN $8::text IS NULL OR d.attempts->-1->>'at' = $8::json->0->>'at' THEN d.attempts ELSE (
        CASE WHEN json_array_length(d.attempts) < {MAX_ATTEMPTS} THEN d.attempts::jsonb ELSE d.attempts::jsonb - 0 END
        || $8::text::jsonb)::json END,
    status = CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $5 ELSE d.status END,
    tries = CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $6 ELSE d.tries END,
    next_at = CASE WHEN d.owner = $3 AND d.next_at = $4 THEN $7 ELSE d.next_at END
WHERE d.workflow_id = $1 AND d.event_id = $2
RETURNING CASE WHEN d.owner = $3 THEN d.next_at END
"""  # noqa: S608 - built from a constant


class PostgresOutbox(PooledAdapter):
    """Webhook deliveries in PostgreSQL, as the engine sees them."""

    async def take_over(self, owner: UUID) -> dict[str, datetime]:
        async with self._connections.borrow() as connection:
            while len(await connection.fetch(TAKE_OVER, owner, _PAGE)) == _PAGE:
                pass
            return {row["lane"]: row["at"] for row in await connection.fetch(LANES, owner)}

    async def due(self, owner: UUID, lanes: Sequence[str], limit: int) -> list[DueDelivery]:
        return [_due(row) for row in await self._connections.fetch(DUE, owner, list(lanes), limit)]

    async def freeze(self, owner: UUID, due: DueDelivery, body: str | None) -> str | None:
        if body is None:
            rows = await self._connections.fetch(FROZEN, *due.key, owner, due.next_at)
        else:
            rows = await self._connections.fetch(FREEZE, *due.key, owner, due.next_at, body)
        return cast("str | None", rows[0]["body"]) if rows else None

    async def change_lane(self, owner: UUID, due: DueDelivery, lane: str) -> None:
        await self._connections.fetch(CHANGE_LANE, *due.key, owner, due.next_at, lane)

    async def record(
        self, owner: UUID, due: DueDelivery, verdict: DeliveryVerdict, attempt: DeliveryAttemptPublic | None
    ) -> datetime | None:
        encoded = None if attempt is None else json.encode([attempt]).decode()
        values = (*due.key, owner, due.next_at, verdict.status, verdict.tries, verdict.next_at, encoded)
        rows = await self._connections.fetch(RECORD, *values)
        return cast("datetime | None", rows[0][0]) if rows else None

    async def backlog(self, owner: UUID) -> Backlog:
        (row,) = await self._connections.fetch(BACKLOG, owner)
        return Backlog(row["deliveries"], row["oldest"])


def _due(row: Row) -> DueDelivery:
    event, unreadable = None, None
    try:
        event = history_event(row)
    except (ValueError, TypeError) as error:  # written by another version, or by hand; msgspec raises ValueErrors
        unreadable = str(error)
    return DueDelivery(
        row["workflow_id"],
        row["lane"],
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
        unreadable,
    )
