"""A process that a test can kill as `kill -9` does, although it shares the test's own process.

A killed process sends no statement any more, and hears no response: what it had sent is carried out all the same. It
doesn't end in order, so it releases nothing. At the end of the test it goes on where it was, as a process does that
only stood still, and must find that it has lost everything.
"""

import asyncio
import functools
import inspect
from typing import Any

from msgspec.structs import fields

from stepwell.app import Database, DatabaseSource
from support.database.changed_source import ChangedSource


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


class KillableProcess(ChangedSource):
    """A `DatabaseSource` for one process on the database of *source*."""

    def __init__(self, source: DatabaseSource) -> None:
        super().__init__(source, self._add_ports)
        self._alive = asyncio.Event()
        self._alive.set()

    def _add_ports(self, database: Database) -> None:
        for each in fields(Database):
            if (port := getattr(database, each.name)) is not None:
                setattr(database, each.name, _KillablePort(port, self._alive))

    def kill(self) -> None:
        self._alive.clear()

    def go_on(self) -> None:
        self._alive.set()
