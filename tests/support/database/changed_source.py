"""A database of a service under test, with other ports before its own."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from uuid import UUID

from stepwell.app import Database, DatabaseSource
from stepwell.engine.explain.availability import WriteMonitor
from stepwell.ports.clock import Clock
from stepwell.settings import Settings


class ChangedSource:
    """The database of *source*. Once it is open, *change* puts other ports before its own."""

    def __init__(self, source: DatabaseSource, change: Callable[[Database], None]) -> None:
        self._source, self._change = source, change

    @property
    def clock(self) -> Clock:
        return self._source.clock

    async def open(
        self,
        settings: Settings,
        owner: UUID,
        on_statement: Callable[[], None],
        writes: WriteMonitor,
        stack: AsyncExitStack,
    ) -> Database:
        database = await self._source.open(settings, owner, on_statement, writes, stack)
        self._change(database)
        return database
