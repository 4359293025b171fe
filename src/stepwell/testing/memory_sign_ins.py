"""`ports.sign_ins.SignIns` in memory."""

from datetime import datetime
from uuid import UUID

from stepwell.ports.sign_ins import CodeRefusal
from stepwell.testing.memory_tables import MemoryAdapter


class MemorySignIns(MemoryAdapter):
    async def now(self) -> datetime:
        return self._tables.clock.now()

    async def use_code(self, code_id: UUID, issued_at: datetime, expires_at: datetime) -> datetime | CodeRefusal:
        ended_at = self._tables.sessions_ended_at
        if ended_at is not None and ended_at >= issued_at:
            return CodeRefusal.ENDED
        if code_id in self._tables.used_sign_in_codes:
            return CodeRefusal.USED
        self._tables.used_sign_in_codes[code_id] = expires_at
        return self._tables.clock.now()

    async def ended_at(self) -> datetime | None:
        return self._tables.sessions_ended_at

    async def end_all(self) -> None:
        self._tables.sessions_ended_at = self._tables.clock.now()
