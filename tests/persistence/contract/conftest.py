"""One database for a test of the contract: in memory, and on PostgreSQL. The tests know only the ports."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from stepwell.app import Database, DatabaseSource, PostgresSource
from stepwell.contract.enums import ProviderType
from stepwell.engine.explain.availability import WriteMonitor
from stepwell.settings import Settings
from stepwell.testing import MemoryDatabase
from support.database.postgres import empty_tables
from support.database.stored_workflows import ME, Stored
from support.service.live_service import SECRET


@pytest.fixture(params=["memory", "postgres"])
def contract_dsn(request: pytest.FixtureRequest) -> str | None:
    """None: in memory, without a server. Sync, because the server's own fixtures run event loops."""
    return None if request.param == "memory" else request.getfixturevalue("shared_dsn")


@pytest.fixture
async def source(contract_dsn: str | None) -> DatabaseSource:
    if (dsn := contract_dsn) is None:
        return MemoryDatabase()
    connection = await asyncpg.connect(dsn)
    await empty_tables(connection)
    await connection.close()
    return PostgresSource(dsn, durable=False)


@pytest.fixture
async def stored(source: DatabaseSource, tmp_path: Path) -> AsyncIterator[Stored]:
    settings = Settings(data_dir=tmp_path, jwt_secret=SECRET, default_provider=ProviderType.LOCAL, database_pool=2)
    async with AsyncExitStack() as stack:

        async def connect(owner: UUID) -> Database:
            return await source.open(settings, owner, lambda: None, WriteMonitor(source.clock), stack)

        here = await connect(ME)
        await here.workflow_store.set_clock()
        yield Stored(source, here, connect)
