"""`ports.sign_ins.SignIns` on asyncpg.

What must hold:
- A code is used by the insertion of its id, in one statement. Of several processes, one inserts it.
- An id is kept for an hour after its code has expired, so that no difference between clocks lets it be used again. The
  use of a code deletes a few older ones, so nothing runs in the background.
- The use of a code and the end of all sessions wait for each other. Either the code is refused, or its session begins
  before the end.
"""

from datetime import datetime
from typing import Final, cast
from uuid import UUID

from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.ports.sign_ins import CodeRefusal

NOW: Final = "SELECT clock_timestamp() AS now"
USE_CODE: Final = """
WITH old AS (
    DELETE FROM used_sign_in_codes AS c USING (
        SELECT id FROM used_sign_in_codes WHERE expires_at < now() - interval '1 hour' LIMIT 20 FOR UPDATE SKIP LOCKED
    ) AS e WHERE c.id = e.id
),
valid AS (SELECT FROM installation WHERE sessions_ended_at IS NULL OR sessions_ended_at < $2 FOR SHARE),
used AS (
    INSERT INTO used_sign_in_codes (id, expires_at) SELECT $1, $3 FROM valid ON CONFLICT (id) DO NOTHING RETURNING true
)
SELECT now() AS now, EXISTS (SELECT FROM valid) AS valid, EXISTS (SELECT FROM used) AS used
"""
ENDED_AT: Final = "SELECT sessions_ended_at FROM installation"
END_ALL: Final = "UPDATE installation SET sessions_ended_at = greatest(sessions_ended_at, clock_timestamp())"


class PostgresSignIns(PooledAdapter):
    async def now(self) -> datetime:
        (row,) = await self._connections.fetch(NOW)
        return cast("datetime", row["now"])

    async def use_code(self, code_id: UUID, issued_at: datetime, expires_at: datetime) -> datetime | CodeRefusal:
        (row,) = await self._connections.fetch(USE_CODE, code_id, issued_at, expires_at)
        if not row["valid"]:
            return CodeRefusal.ENDED
        return cast("datetime", row["now"]) if row["used"] else CodeRefusal.USED

    async def ended_at(self) -> datetime | None:
        (row,) = await self._connections.fetch(ENDED_AT)
        return cast("datetime | None", row["sessions_ended_at"])

    async def end_all(self) -> None:
        await self._connections.fetch(END_ALL)
