"""The databases on which tests run: in memory, or PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple
from uuid import uuid4

import asyncpg

from stepwell.app import DatabaseSource, PostgresSource
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from stepwell.testing.clocks import ManualClock, RunningClock
from stepwell.testing.folders import fresh_folder
from stepwell.testing.memory_database import MemoryDatabase

# Nobody reads the data after a crash of the machine.
_FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer(NamedTuple):
    """An embedded PostgreSQL server with an empty, migrated database. Each test gets a copy of that database."""

    embedded: EmbeddedPostgres
    template: str

    @asynccontextmanager
    async def fresh_database(self) -> AsyncIterator[DatabaseSource]:
        name = f"test_{uuid4().hex}"
        await _execute(self.embedded, f'CREATE DATABASE "{name}" TEMPLATE "{self.template}" STRATEGY file_copy')
        try:
            yield PostgresSource(self.embedded.dsn(name), durable=False)
        finally:
            await _execute(self.embedded, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run an embedded PostgreSQL in a new folder. For the main thread, outside of an event loop."""
    with fresh_folder() as folder:
        embedded = EmbeddedPostgres(folder / "postgres", settings=_FAST_SETTINGS)
        embedded.start()
        try:
            template = f"template_{uuid4().hex}"
            asyncio.run(_make_template(embedded, template))
            yield PostgresServer(embedded, template)
        finally:
            embedded.stop()


async def _make_template(server: EmbeddedPostgres, name: str) -> None:
    await _execute(server, f'CREATE DATABASE "{name}"')
    await migrate(server.dsn(name))


async def _execute(server: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def open_database(
    database: str | DatabaseSource, clock: ManualClock | None
) -> tuple[DatabaseSource, ManualClock | None]:
    """Return the source for `running(database=...)`, and the clock that a test can move; None if there is none."""
    if database == "memory":
        manual_clock = clock or RunningClock()
        return MemoryDatabase(manual_clock), manual_clock
    if isinstance(database, str):
        if not database.startswith("postgres"):
            raise ValueError('database is "memory", a PostgreSQL URL or a DatabaseSource')
        if clock is not None:
            raise ValueError("the clock of PostgreSQL can't be moved: use the database in memory")
        await migrate(database)
        return PostgresSource(database, durable=False), None
    return database, database.clock if isinstance(database.clock, ManualClock) else None
