"""A small connection pool for the most frequent statements.

Hot path (see `stepwell.persistence`): to borrow a connection from asyncpg's pool costs half as much as a small
statement.
"""

import asyncio
from collections import deque
from typing import Any

import asyncpg

from stepwell.persistence.connections.database import Connect, PostgresAdapter
from stepwell.persistence.tables.column import Row


class SmallPool:
    """A pool of up to *size* connections. Each is opened by *connect* when all others are in use, and stays open.

    *timeout_s* is how long a caller waits for a connection. Callers get connections in the order in which they came.
    """

    def __init__(self, connect: Connect, *, size: int, timeout_s: float) -> None:
        self._connect, self._timeout_s = connect, timeout_s
        # Hot path: a semaphore costs more than all else here, and it is seldom needed.
        self._free_slots = size
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._idle: list[asyncpg.Connection] = []
        self.generation = 0  # a number and not a flag, because the pool may be used again after `close`

    async def fetch(self, statement: str, *values: Any) -> list[Row]:
        """Return the rows of *statement*. Raises as `borrow`, and what asyncpg raises."""
        async with self.borrow() as connection:
            rows: list[Row] = await connection.fetch(statement, *values)
            return rows

    def borrow(self) -> "_BorrowedConnection":
        """Return an async context manager with a connection.

        Entering raises what *connect* raises, and TimeoutError, which is an outage, if no connection is free in time.
        """
        return _BorrowedConnection(self)

    async def acquire(self) -> asyncpg.Connection:
        """Take a connection. Called by `borrow`, which also calls `release`."""
        if self._free_slots:
            self._free_slots -= 1
        else:
            await self._wait_for_slot()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self._connect()
        except BaseException:
            self._release_slot()
            raise

    def release(self, connection: asyncpg.Connection, *, reusable: bool) -> None:
        """Put a connection back, or close it if it isn't *reusable*."""
        if reusable:
            self._idle.append(connection)
        else:
            connection.terminate()  # at once, because its state is unknown
        self._release_slot()

    async def _wait_for_slot(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._timeout_s):
                await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._release_slot()  # it was handed over just before
            raise

    def _release_slot(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)  # hands the slot over
                return
        self._free_slots += 1

    def close(self) -> None:
        """Close all idle connections now, and each borrowed one when it is released.

        The pool may still be used: it opens new connections.
        """
        self.generation += 1
        while self._idle:
            self._idle.pop().terminate()


class _BorrowedConnection:
    """The context manager of `SmallPool.borrow`. One by `contextlib` costs as much as the rest of borrowing."""

    __slots__ = ("_connection", "_generation", "_pool")

    def __init__(self, pool: SmallPool) -> None:
        self._pool = pool

    async def __aenter__(self) -> asyncpg.Connection:
        self._generation = self._pool.generation  # before the wait: `close` also applies to a connection being opened
        self._connection = await self._pool.acquire()
        return self._connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.release(self._connection, reusable=kind is None and self._generation == self._pool.generation)


class PooledAdapter(PostgresAdapter):
    """An implementation of a port over the connections of a `SmallPool`."""

    def __init__(self, connections: SmallPool) -> None:
        self._connections = connections
