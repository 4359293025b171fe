"""A process that a test can kill as `kill -9` does, although it shares the test's own process.

A killed process sends no statement any more, and hears no answer: what it had sent is carried out all the same. It
doesn't end in order, so it releases nothing. At the end of the test it goes on where it was, as a process does that
only stood still, and must find that it has lost everything.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from msgspec.structs import fields

from stepwell.app import Database, DatabaseSource
from stepwell.engine.monitoring.write_monitor import WriteMonitor
from stepwell.ports.clock import Clock
from stepwell.settings import Settings


class _KillablePort:
    """*port*, whose calls wait while the process isn't alive."""

    def __init__(self, port: Any, alive: asyncio.Event) -> None:
        self._port, self._alive = port, alive

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._port, name)
        if not inspect.iscoroutinefunction(member):
            return member

        @functools.wraps(member)
        async def call(*args: Any, **named: Any) -> Any:
            await self._alive.wait()
            try:
                return await member(*args, **named)
            finally:
                await self._alive.wait()

        return call


class KillableProcess:
    """A `DatabaseSource` for one process on the database of *source*."""

    def __init__(self, source: DatabaseSource) -> None:
        self._source, self._alive = source, asyncio.Event()
        self._alive.set()

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
        for each in fields(Database):
            if (port := getattr(database, each.name)) is not None:
                setattr(database, each.name, _KillablePort(port, self._alive))
        return database

    def kill(self) -> None:
        self._alive.clear()

    def go_on(self) -> None:
        self._alive.set()
