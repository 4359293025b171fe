"""One database for all tests of the journal, emptied before each."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.database import create_journal_pool
from stepwell.persistence.journal import PostgresJournal
from support.postgres import TestServer, create_database, drop_database
from support.stored import Bench


@pytest.fixture(scope="session")
def shared_dsn(server: TestServer, template: str) -> Iterator[str]:
    name = asyncio.run(create_database(server.dsn(), template))
    yield server.dsn(name)
    asyncio.run(drop_database(server.dsn(), name))


@pytest.fixture
async def bench(shared_dsn: str) -> AsyncIterator[Bench]:
    clock = DatabaseClock()
    pool = await create_journal_pool(shared_dsn, timeout_s=10)
    sql = await asyncpg.connect(shared_dsn)
    await sql.execute("TRUNCATE workflows, steps, tasks, events, processes")
    yield Bench(PostgresJournal(pool, clock), sql, clock, shared_dsn)
    await sql.close()
    await pool.close()
