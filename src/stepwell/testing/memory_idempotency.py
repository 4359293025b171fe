"""`ports.storage.IdempotencyKeys` in memory: a row for each key, with its request and its answer."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from stepwell.basics.errors import StillRunning
from stepwell.basics.idempotency import Reservation, ReservedKey, StoredAnswer, key_scope
from stepwell.basics.tenancy import TenantScope
from stepwell.testing.memory_tables import KeyRow, ProcessAdapter

_LIFETIME, _LONGEST_WORK = timedelta(hours=48), timedelta(minutes=5)
_NOBODY = UUID(int=0)


class MemoryIdempotencyKeys(ProcessAdapter):
    async def reserve(
        self, scope: TenantScope, key: str, token: UUID, fingerprint: bytes, workflow_id: UUID | None = None
    ) -> ReservedKey:
        now, wanted = self._tables.clock.now(), Reservation(key_scope(scope), key, token)
        for name in [name for name, row in self._tables.keys.items() if row.created_at < now - _LIFETIME]:
            del self._tables.keys[name]
        row = self._tables.keys.get((wanted.scope, key))
        if row is not None and not self._may_take_over(row, token, fingerprint):
            return self._read_existing(wanted, row, fingerprint)
        self._tables.keys[wanted.scope, key] = KeyRow(token, self._owner, fingerprint, now, workflow_id)
        return ReservedKey(wanted, mine=True)

    def _may_take_over(self, row: KeyRow, token: UUID, fingerprint: bytes) -> bool:
        if row.fingerprint != fingerprint or row.applied_to is not None or row.answer is not None:
            return False
        return (row.owner == self._owner and row.token < token) or not self._may_be_at_work(row)

    def _may_be_at_work(self, row: KeyRow) -> bool:
        recent = row.created_at >= self._tables.clock.now() - _LONGEST_WORK
        return recent and self._tables.is_alive(row.owner)

    def _read_existing(self, wanted: Reservation, row: KeyRow, fingerprint: bytes) -> ReservedKey:
        elsewhere = row.owner != self._owner and self._may_be_at_work(row)
        if row.fingerprint == fingerprint and row.applied_to is None and row.answer is None and not elsewhere:
            raise StillRunning  # a later request of this process has the key
        return ReservedKey(
            Reservation(wanted.scope, wanted.key, row.token),
            mine=False,
            fingerprint=row.fingerprint,
            applied_to=row.applied_to,
            answer=row.answer,
            elsewhere=elsewhere,
        )

    async def store_answer(self, reservation: Reservation, answer: StoredAnswer) -> StoredAnswer:
        row = self._tables.own_key(reservation)
        if row is None:
            return answer
        if row.answer is None:
            row.answer = answer
        return row.answer

    async def release(self, reservations: Collection[Reservation]) -> None:
        for reservation in reservations:
            row = self._tables.own_key(reservation)
            if row is None or row.answer is not None:
                continue
            if row.applied_to is None:
                del self._tables.keys[reservation.scope, reservation.key]
            else:
                row.owner = _NOBODY
