"""A database in memory for most tests of the engine. For the others one on PostgreSQL, emptied before each."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from stepwell.contract.enums import ProviderType
from stepwell.persistence.clock import DatabaseClock
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.postgres import TestServer, connected, create_database, drop_database, empty_tables
from support.providers.emulated import World, world_of
from support.service.live_service import Service, running_service


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


@pytest.fixture(autouse=True)
def short_poll_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no pause between two polls of a job grow to its 10 s, which tests would have to wait."""
    monkeypatch.setattr("stepwell.app.attempts._LONGEST_POLL_PAUSE_S", 0.1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The emulator of a remote provider, and its settings. Modules that test others have a fixture of this name."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world_of(ProviderType.CUSTOM, tmp_path / "emulator"))


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    """The whole service on the database in memory, with a client that may do everything."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(memory, tmp_path))


@pytest.fixture(scope="session")
def engine_dsn(server: TestServer, template: str) -> Iterator[str]:
    name = asyncio.run(create_database(server.dsn(), template))
    yield server.dsn(name)
    asyncio.run(drop_database(server.dsn(), name))


@pytest.fixture
async def dsn(engine_dsn: str) -> str:
    async with connected(engine_dsn) as connection:
        await empty_tables(connection)
        await connection.execute("UPDATE installation SET has_folder = false")  # each test has another folder
    return engine_dsn
