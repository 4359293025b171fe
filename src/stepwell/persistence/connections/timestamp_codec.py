"""A codec for timestamptz on connections that write many rows.

Hot path (see `stepwell.persistence`): asyncpg computes the wire form of a time anew for each column, in Python. But all
rows of a transition have the same time. So the codec computes the wire form once and keeps it in a cache, which halves
the cost of encoding the rows.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from stepwell.persistence.connections.database import Connect

_CACHE_SIZE = 4_096
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
_MICROSECOND = timedelta(microseconds=1)


class _EncodedTimes(dict[datetime, tuple[int]]):
    """A bounded cache of times in asyncpg's "tuple" format: microseconds since PostgreSQL's epoch."""

    def __missing__(self, at: datetime) -> tuple[int]:
        if len(self) >= _CACHE_SIZE:
            self.clear()
        self[at] = encoded = ((at - _EPOCH) // _MICROSECOND,)
        return encoded


def _decode(encoded: tuple[int]) -> datetime:
    return _EPOCH + encoded[0] * _MICROSECOND


def with_timestamp_codec(connect: Connect) -> Connect:
    """Return a *connect* whose connections have this codec."""

    async def connect_with_codec(*args: Any, **options: Any) -> asyncpg.Connection:
        connection = await connect(*args, **options)
        await connection.set_type_codec(
            "timestamptz", schema="pg_catalog", encoder=_EncodedTimes().__getitem__, decoder=_decode, format="tuple"
        )
        return connection

    return connect_with_codec
