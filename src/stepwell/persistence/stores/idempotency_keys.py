"""`ports.storage.IdempotencyKeys` on asyncpg: a row for each key, with its request and its response.

What must hold:
- A create whose key was taken over can no longer take effect, because the effect checks the key's token in its own
  transaction. A key whose request has had its effect is never taken over. (Verbs are fenced by the workflow's version.)
- A late statement of an older attempt can't take the key back either: tokens increase with each attempt.
- If several processes claim a key at the same time, one gets it, and the others return what that one has stored. If
  the snapshot of a statement is older than that row, the row is read again.
- Nothing runs in the background to delete expired keys: each claim deletes a few.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from msgspec import json
from msgspec.structs import astuple

from stepwell.basics.errors import StillRunning
from stepwell.basics.idempotency import KeyClaim, KeyState, StoredResponse, key_scope
from stepwell.basics.tenancy import TenantScope
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import PostgresAdapter
from stepwell.persistence.tables.column import Row

_READS: Final = 10
_read_headers = json.Decoder(dict[str, str]).decode

# A key expires after 48 hours. After 5 minutes, a request counts as abandoned even if its process is alive, and the key
# may be taken over.
_EXPIRED: Final = "created_at < now() - interval '48 hours'"
_ABANDONED: Final = "created_at < now() - interval '5 minutes'"
_LIVE: Final = "EXISTS (SELECT FROM processes AS p WHERE p.id = t.owner AND p.lease_until > clock_timestamp())"

CLAIM: Final = f"""
WITH mine AS (
    INSERT INTO idempotency_keys AS t (scope, key, token, owner, fingerprint, workflow_id, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, now())
    ON CONFLICT (scope, key) DO UPDATE
    SET token = excluded.token, owner = excluded.owner, fingerprint = excluded.fingerprint,
        workflow_id = excluded.workflow_id, created_at = now(), applied_at = NULL,
        status = NULL, headers = NULL, body = NULL
    WHERE t.{_EXPIRED} OR (
        t.fingerprint = excluded.fingerprint AND t.applied_at IS NULL AND t.status IS NULL
        AND (t.owner = excluded.owner AND t.token < excluded.token OR t.{_ABANDONED} OR NOT {_LIVE})
    )
    RETURNING true
)
SELECT EXISTS (SELECT FROM mine) AS mine,
       EXISTS (SELECT FROM idempotency_keys AS e WHERE e.{_EXPIRED} AND (e.scope, e.key) <> ($1, $2)) AS some_expired,
       t.token, t.fingerprint, t.applied_at, t.workflow_id, t.status, t.headers, t.body, t.{_EXPIRED} AS expired,
       t.owner <> $4 AND {_LIVE} AND NOT t.{_ABANDONED} AS elsewhere
FROM (VALUES (1)) AS always LEFT JOIN idempotency_keys AS t ON t.scope = $1 AND t.key = $2
"""  # noqa: S608 - built from the constants above

# This is a separate statement, because as part of the claim two processes could each wait for a row that the
# other has locked.
FORGET_EXPIRED: Final = f"""
DELETE FROM idempotency_keys AS t USING (
    SELECT scope, key FROM idempotency_keys WHERE {_EXPIRED} ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED
) AS e WHERE t.scope = e.scope AND t.key = e.key
"""  # noqa: S608 - built from the constants above

_MINE: Final = "scope = $1 AND key = $2 AND token = $3"
STORE_RESPONSE: Final = f"""
UPDATE idempotency_keys SET status = $4, headers = $5, body = $6 WHERE {_MINE} AND status IS NULL RETURNING true
"""  # noqa: S608 - built from the constants above
RESPONSE: Final = f"""
SELECT status, headers, body FROM idempotency_keys WHERE {_MINE} AND status IS NOT NULL
"""  # noqa: S608 - built from the constants above

_THESE: Final = """
unnest($1::text[], $2::text[], $3::uuid[]) AS k(scope, key, token)
WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND t.status IS NULL AND t.applied_at"""
FREE: Final = f"DELETE FROM idempotency_keys AS t USING {_THESE} IS NULL"  # noqa: S608 - built from the constant above
# Without an owner, any process may respond to a repeat. This is a separate statement, so that it sees the rows for
# which FREE has waited.
DISOWN: Final = f"UPDATE idempotency_keys AS t SET owner = '{UUID(int=0)}' FROM {_THESE} IS NOT NULL"  # noqa: S608


class PostgresIdempotencyKeys(PostgresAdapter):
    def __init__(self, connections: SmallPool, owner: UUID) -> None:
        self._connections, self._owner = connections, owner

    async def claim(
        self, scope: TenantScope, key: str, token: UUID, fingerprint: bytes, workflow_id: UUID | None = None
    ) -> KeyState:
        wanted = KeyClaim(key_scope(scope), key, token)
        async with self._connections.borrow() as connection:
            for _ in range(_READS):
                row = await connection.fetchrow(CLAIM, *astuple(wanted), self._owner, fingerprint, workflow_id)
                if row["some_expired"]:
                    await connection.execute(FORGET_EXPIRED)
                if row["mine"]:
                    return KeyState(wanted, mine=True)
                if (existing := _read_existing(wanted, row, fingerprint)) is not None:
                    return existing
        raise StillRunning

    async def store_response(self, claim: KeyClaim, response: StoredResponse) -> StoredResponse:
        values = astuple(claim)
        headers = json.encode(response.headers).decode()
        async with self._connections.borrow() as connection:
            if await connection.fetchval(STORE_RESPONSE, *values, response.status, headers, response.body):
                return response
            row = await connection.fetchrow(RESPONSE, *values)
        return response if row is None else _response(row)

    async def release(self, claims: Collection[KeyClaim]) -> None:
        columns = tuple(map(list, zip(*map(astuple, claims), strict=True)))
        async with self._connections.borrow() as connection:
            if await connection.execute(FREE, *columns) != f"DELETE {len(claims)}":
                await connection.execute(DISOWN, *columns)


def _read_existing(wanted: KeyClaim, row: Row, fingerprint: bytes) -> KeyState | None:
    """Return what an earlier request has stored for the key.

    None if the row has changed after the snapshot: the snapshot has no row, or one that would have been taken over.
    """
    if row["token"] is None or row["expired"]:
        return None
    applied, has_response = row["applied_at"] is not None, row["status"] is not None
    if row["fingerprint"] == fingerprint and not (applied or has_response or row["elsewhere"]):
        return None
    return KeyState(
        KeyClaim(wanted.scope, wanted.key, row["token"]),
        mine=False,
        fingerprint=row["fingerprint"],
        applied_to=row["workflow_id"] if applied else None,
        response=_response(row) if has_response else None,
        elsewhere=row["elsewhere"],
    )


def _response(row: Row) -> StoredResponse:
    return StoredResponse(row["status"], _read_headers(row["headers"]), row["body"])
