"""`ports.storage.IdempotencyKeys` in memory: a row for each key, with its request and its response."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from stepwell.basics.errors import StillRunning
from stepwell.basics.idempotency import KeyClaim, KeyState, StoredResponse, key_scope
from stepwell.basics.tenancy import TenantScope
from stepwell.testing.memory_tables import KeyRow, ProcessAdapter

_LIFETIME, _LONGEST_WORK = timedelta(hours=48), timedelta(minutes=5)
_NOBODY = UUID(int=0)


class MemoryIdempotencyKeys(ProcessAdapter):
    async def claim(
        self, scope: TenantScope, key: str, token: UUID, fingerprint: bytes, workflow_id: UUID | None = None
    ) -> KeyState:
        now, wanted = self._tables.clock.now(), KeyClaim(key_scope(scope), key, token)
        for name in [name for name, row in self._tables.keys.items() if row.created_at < now - _LIFETIME]:
            del self._tables.keys[name]
        row = self._tables.keys.get((wanted.scope, key))
        if row is not None and not self._may_take_over(row, token, fingerprint):
            return self._read_existing(wanted, row, fingerprint)
        self._tables.keys[wanted.scope, key] = KeyRow(token, self._owner, fingerprint, now, workflow_id)
        return KeyState(wanted, mine=True)

    def _may_take_over(self, row: KeyRow, token: UUID, fingerprint: bytes) -> bool:
        if row.fingerprint != fingerprint or row.applied_to is not None or row.response is not None:
            return False
        return (row.owner == self._owner and row.token < token) or not self._may_be_at_work(row)

    def _may_be_at_work(self, row: KeyRow) -> bool:
        recent = row.created_at >= self._tables.clock.now() - _LONGEST_WORK
        return recent and self._tables.is_alive(row.owner)

    def _read_existing(self, wanted: KeyClaim, row: KeyRow, fingerprint: bytes) -> KeyState:
        elsewhere = row.owner != self._owner and self._may_be_at_work(row)
        if row.fingerprint == fingerprint and row.applied_to is None and row.response is None and not elsewhere:
            raise StillRunning  # a later request of this process has the key
        return KeyState(
            KeyClaim(wanted.scope, wanted.key, row.token),
            mine=False,
            fingerprint=row.fingerprint,
            applied_to=row.applied_to,
            response=row.response,
            elsewhere=elsewhere,
        )

    async def store_response(self, claim: KeyClaim, response: StoredResponse) -> StoredResponse:
        row = self._tables.own_key(claim)
        if row is None:
            return response
        if row.response is None:
            row.response = response
        return row.response

    async def release(self, claims: Collection[KeyClaim]) -> None:
        for claim in claims:
            row = self._tables.own_key(claim)
            if row is None or row.response is not None:
                continue
            if row.applied_to is None:
                del self._tables.keys[claim.scope, claim.key]
            else:
                row.owner = _NOBODY
