"""A database in memory for most tests of the engine. For the others one on PostgreSQL, emptied before each."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from stepwell.persistence.clock import DatabaseClock
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.postgres import TABLES, TestServer, create_database, drop_database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory(clock: ManualClock) -> MemoryDatabase:
    """A database without PostgreSQL, whose time is *clock*'s."""
    return MemoryDatabase(clock)


@pytest.fixture
def memory_in_real_time() -> MemoryDatabase:
    """A database without PostgreSQL, for tests of how long something takes."""
    return MemoryDatabase(DatabaseClock())


@pytest.fixture(scope="session")
def engine_dsn(server: TestServer, template: str) -> Iterator[str]:
    name = asyncio.run(create_database(server.dsn(), template))
    yield server.dsn(name)
    asyncio.run(drop_database(server.dsn(), name))


@pytest.fixture
async def dsn(engine_dsn: str) -> str:
    connection = await asyncpg.connect(engine_dsn)
    await connection.execute(f"TRUNCATE {TABLES}")
    await connection.close()
    return engine_dsn
