"""A process on a database in memory that a test can kill, as `kill -9` does, and another one that comes after it.

A killed process sends no statement any more, and hears no answer. It ends in no order, so it releases nothing. At the
end of the test it goes on where it was, as a process that only stood still, and must find that it has lost everything.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from uuid import UUID

from stepwell.app import Database
from stepwell.engine.monitoring.write_monitor import WriteMonitor
from stepwell.ports.clock import Clock
from stepwell.settings import Settings
from stepwell.testing import MemoryDatabase
from stepwell.testing.memory_tables import Tables


class _TablesOfProcess(Tables):
    """The tables of the database, which answer only while the process lives."""

    __slots__ = ("alive",)

    def __init__(self, tables: Tables) -> None:
        self.__dict__ = tables.__dict__
        self.alive = asyncio.Event()
        self.alive.set()

    async def round_trip(self) -> None:
        await self.alive.wait()
        await super().round_trip()
        await self.alive.wait()


class KillableProcess:
    """A `DatabaseSource` for one process on *memory*."""

    def __init__(self, memory: MemoryDatabase) -> None:
        self._database = MemoryDatabase(memory.clock)
        self._database.tables = self._tables = _TablesOfProcess(memory.tables)

    @property
    def clock(self) -> Clock:
        return self._database.clock

    async def open(
        self,
        settings: Settings,
        owner: UUID,
        on_statement: Callable[[], None],
        writes: WriteMonitor,
        stack: AsyncExitStack,
    ) -> Database:
        return await self._database.open(settings, owner, on_statement, writes, stack)

    def kill(self) -> None:
        self._tables.alive.clear()

    def go_on(self) -> None:
        self._tables.alive.set()
