"""Connections for what is asked most often. To borrow one from a pool costs half as much as a small statement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from stepwell.persistence.database import Connect
from stepwell.persistence.rows import Row


class Kept:
    """Up to *size* connections by *connect*, each made when all others are at work, and kept.

    At most *timeout_s* is waited for one.
    """

    def __init__(self, connect: Connect, *, size: int, timeout_s: float) -> None:
        self._connect, self._timeout_s = connect, timeout_s
        self._turns = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection] = []

    async def fetch(self, statement: str, *values: Any) -> list[Row]:
        async with self.borrowed() as connection:
            found: list[Row] = await connection.fetch(statement, *values)
            return found

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[asyncpg.Connection]:
        """Raises TimeoutError, an outage, if no connection is free in time."""
        if self._turns.locked():
            async with asyncio.timeout(self._timeout_s):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        try:
            connection = await self._connection()
            try:
                yield connection
            except BaseException:
                connection.terminate()  # whatever state it is in
                raise
            self._idle.append(connection)
        finally:
            self._turns.release()

    async def _connection(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def close(self) -> None:
        """Let go of all connections, at once."""
        while self._idle:
            self._idle.pop().terminate()
