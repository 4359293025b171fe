"""`ports.processes.LimitStore` on asyncpg.

A change is made only to the version that it was decided on (compare and swap). So no lock is held between two
statements, and a process that is stopped between them holds up nobody.
"""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from stepwell.lifecycle.records import NO_PROCESS
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.persistence.stores.notifications import MESSAGES, message
from stepwell.ports.processes import LIMITS_CHANGED
from stepwell.rules.limit_division import OVERDUE_S, Division, DivisionChange, Member, Share

# The row of `limit_division` is missing until the first change. A process that has all limits for itself has no row in
# `limit_members`, unless it has just become a member. While handed-over workflows wait for a claim, the shares of dead
# processes count.
_READ: Final = f"""
WITH division AS (SELECT version, sole, starts, starts_from FROM limit_division)
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       d.version, d.sole, d.starts, d.starts_from,
       (SELECT count(*) FROM processes WHERE id <> $1 AND lease_until > clock_timestamp())::int AS others,
       EXISTS (SELECT FROM processes WHERE id = $1 AND lease_until > clock_timestamp()) AS alive,
       m.owner, m.claiming, m.shares, m.stored,
       coalesce(p.lease_until > clock_timestamp(), false) AS owner_alive,
       NOT EXISTS (SELECT FROM workflows AS w WHERE w.owner IN (m.owner, '{NO_PROCESS}')) AS claimed,
       clock_timestamp() - greatest(p.lease_until, m.updated_at) > $2::interval AS overdue,
       extract(epoch FROM greatest(least(p.lease_until, clock_timestamp()), '-infinity'))::float8 AS lease_until
FROM (SELECT) AS one LEFT JOIN division AS d ON true LEFT JOIN (
    SELECT owner, claiming, shares, updated_at, true AS stored FROM limit_members
    UNION ALL
    SELECT sole, false, '{{}}', NULL, false FROM division WHERE sole IS NOT NULL AND sole <> $1
) AS m ON true LEFT JOIN processes AS p ON p.id = m.owner
"""  # noqa: S608 - built from a constant

_WRITE: Final = f"""
WITH changed AS (
    INSERT INTO limit_division AS d (singleton, version, sole, starts, starts_from)
    SELECT true, $2 + 1, $3, $4, $5
    WHERE EXISTS (SELECT FROM processes WHERE id = $1 AND lease_until > clock_timestamp())
    ON CONFLICT (singleton) DO UPDATE
    SET version = excluded.version, sole = excluded.sole, starts = excluded.starts, starts_from = excluded.starts_from
    WHERE d.version = $2
    RETURNING d.version
), gone AS (
    DELETE FROM limit_members WHERE owner = ANY($6::uuid[]) AND EXISTS (SELECT FROM changed)
), own AS (
    INSERT INTO limit_members AS m (owner, claiming, shares, updated_at)
    SELECT $1, $7, $8, clock_timestamp() FROM changed WHERE $8::json IS NOT NULL
    ON CONFLICT (owner) DO UPDATE
    SET claiming = excluded.claiming, shares = excluded.shares, updated_at = excluded.updated_at
)
SELECT CASE WHEN $9 THEN pg_notify('{MESSAGES}', $10) END FROM changed
"""  # noqa: S608 - built from a constant

_SHARES = msgspec.json.Decoder(dict[str, Share])
_STARTS = msgspec.json.Decoder(dict[str, float])


class PostgresLimitStore(PooledAdapter):
    """The division of limits in PostgreSQL. It needs one connection."""

    async def read(self, owner: UUID) -> Division:
        rows = await self._connections.fetch(_READ, owner, timedelta(seconds=OVERDUE_S))
        first = rows[0]
        members = [_member(row) for row in rows if row["stored"]]
        sole = next((row for row in rows if row["stored"] is False), None)
        return Division(
            version=first["version"] or 0,
            now=first["now"],
            alive=first["alive"],
            others=first["others"],
            sole=first["sole"],
            sole_member=None if sole is None else _member(sole),
            sole_until=first["now"] if sole is None or sole["lease_until"] is None else sole["lease_until"],
            starts=_STARTS.decode(first["starts"] or "{}"),
            starts_from=first["starts_from"] or 0.0,
            members=members,
        )

    async def write(self, owner: UUID, change: DivisionChange) -> bool:
        rows = await self._connections.fetch(
            _WRITE,
            owner,
            change.version,
            change.sole,
            msgspec.json.encode(change.starts).decode(),
            change.starts_from,
            [*change.removed, owner] if change.shares is None else list(change.removed),
            change.claiming,
            None if change.shares is None else msgspec.json.encode(change.shares).decode(),
            change.notify,
            message(owner, LIMITS_CHANGED),
        )
        return bool(rows)


def _member(row: Any) -> Member:
    shares: dict[str, Share] | None
    try:
        shares = _SHARES.decode(row["shares"])
    except msgspec.DecodeError:  # of another version, or damaged
        shares = None
    return Member(
        owner=row["owner"],
        alive=row["owner_alive"],
        claiming=row["claiming"],
        claimed=row["claimed"],
        overdue=bool(row["overdue"]),
        shares=shares or {},
        readable=shares is not None,
    )
