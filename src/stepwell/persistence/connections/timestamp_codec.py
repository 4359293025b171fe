"""How times reach the database on connections that write many rows: half of what encoding them costs.

asyncpg works a time out anew for each column, in Python's own arithmetic; but a transition has one time for all of its
rows. So it is worked out once, and found again by the next column.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from stepwell.persistence.connections.database import Connect

_KEPT = 4_096
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # from which PostgreSQL counts
_MICROSECOND = timedelta(microseconds=1)


class _Encoded(dict[datetime, tuple[int]]):
    """Times as asyncpg's "tuple" format has them: microseconds since the epoch."""

    def __missing__(self, at: datetime) -> tuple[int]:
        if len(self) >= _KEPT:
            self.clear()
        self[at] = encoded = ((at - _EPOCH) // _MICROSECOND,)
        return encoded


def _decoded(encoded: tuple[int]) -> datetime:
    return _EPOCH + encoded[0] * _MICROSECOND


def writing(connect: Connect) -> Connect:
    """*connect*, for connections that write."""

    async def connected(*args: Any, **options: Any) -> asyncpg.Connection:
        connection = await connect(*args, **options)
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", encoder=_Encoded().__getitem__, decoder=_decoded, format="tuple"
        )
        return connection

    return connected
