"""Connections for what is asked most often. To borrow one from a pool costs half as much as a small statement."""

import asyncio
from typing import Any

import asyncpg

from stepwell.persistence.connections.database import Connect
from stepwell.persistence.rows.decode_rows import Row


class SmallPool:
    """Up to *size* connections by *connect*, each made when all others are at work, and kept.

    At most *timeout_s* is waited for one.
    """

    def __init__(self, connect: Connect, *, size: int, timeout_s: float) -> None:
        self._connect, self._timeout_s = connect, timeout_s
        self._turns = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection] = []
        # A number and no flag: whoever closes it may go on, as the journal does after a failed write.
        self.closings = 0

    async def fetch(self, statement: str, *values: Any) -> list[Row]:
        async with self.borrowed() as connection:
            found: list[Row] = await connection.fetch(statement, *values)
            return found

    def borrowed(self) -> "_BorrowedConnection":
        """A connection for an `async with`; entering raises TimeoutError, an outage, if none is free in time."""
        return _BorrowedConnection(self)

    async def take(self) -> asyncpg.Connection:
        """For `borrowed`, as is `give`."""
        if self._turns.locked():
            async with asyncio.timeout(self._timeout_s):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        try:
            return await self._connection()
        except BaseException:
            self._turns.release()
            raise

    def give(self, connection: asyncpg.Connection, *, well: bool) -> None:
        if well:
            self._idle.append(connection)
        else:
            connection.terminate()  # whatever state it is in
        self._turns.release()

    async def _connection(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def close(self) -> None:
        """Let go of all connections, at once; of those that are borrowed, when they come back."""
        self.closings += 1
        while self._idle:
            self._idle.pop().terminate()


class _BorrowedConnection:
    """By hand, for `contextlib`'s way costs as much as the rest of borrowing."""

    __slots__ = ("_closings", "_connection", "_kept")

    def __init__(self, kept: SmallPool) -> None:
        self._kept = kept

    async def __aenter__(self) -> asyncpg.Connection:
        self._closings = self._kept.closings  # before it waits: a connection may be on its way while all are closed
        self._connection = await self._kept.take()
        return self._connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._kept.give(self._connection, well=kind is None and self._closings == self._kept.closings)
