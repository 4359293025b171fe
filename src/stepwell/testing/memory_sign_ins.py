"""`ports.sign_ins.SignIns` in memory."""

from datetime import datetime
from uuid import UUID

from stepwell.ports.sign_ins import CodeRefusal
from stepwell.testing.memory_tables import MemoryAdapter


class MemorySignIns(MemoryAdapter):
    """The sign-ins in memory."""

    async def now(self) -> datetime:
        await self._tables.round_trip()
        return self._tables.clock.now()

    async def use_code(self, code_id: UUID, issued_at: datetime, expires_at: datetime) -> datetime | CodeRefusal:
        await self._tables.round_trip()
        ended_at = self._tables.sessions_ended_at
        if ended_at is not None and ended_at >= issued_at:
            return CodeRefusal.ENDED
        if code_id in self._tables.used_sign_in_codes:
            return CodeRefusal.USED
        self._tables.used_sign_in_codes[code_id] = expires_at
        return self._tables.clock.now()

    async def ended_at(self) -> datetime | None:
        await self._tables.round_trip()
        return self._tables.sessions_ended_at

    async def end_all(self) -> None:
        await self._tables.round_trip()
        self._tables.sessions_ended_at = self._tables.clock.now()
