"""One database for all tests of the stores, emptied before each; folders for tests of the embedded server."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.connections.database import asyncpg_connect, create_asyncpg_pool
from stepwell.persistence.stores.lease_store import PostgresLeaseStore
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from support.database.embedded_servers import lent, quick
from support.database.postgres import TestServer, create_database, drop_database, empty_tables, fresh_folder
from support.database.stored_workflows import Bench
from support.snapshots import statements

# What root alone can do has no meaning for another user.
collect_ignore = [] if os.geteuid() == 0 else ["embedded/test_embedded_as_root.py"]


@pytest.fixture(autouse=True)
def only_recorded_statements(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail where a store sends a statement that isn't in the snapshots."""
    if not statements.sends_all(request.path):
        yield
        return
    with statements.sent_statements() as sent:
        yield
    if complaints := statements.record_or_complain(sent):
        pytest.fail(complaints, pytrace=False)


@pytest.fixture(scope="session")
def shared_dsn(server: TestServer, template: str) -> Iterator[str]:
    name = asyncio.run(create_database(server.dsn(), template))
    yield server.dsn(name)
    asyncio.run(drop_database(server.dsn(), name))


@pytest.fixture
async def bench(shared_dsn: str) -> AsyncIterator[Bench]:
    clock = DatabaseClock()
    connect = asyncpg_connect(shared_dsn, timeout_s=10)
    pool = await create_asyncpg_pool(connect)
    sql = await asyncpg.connect(shared_dsn)
    await empty_tables(sql)
    workflow_store = PostgresWorkflowStore(pool, connect, clock, uuid4())
    yield Bench(workflow_store, PostgresLeaseStore(pool), sql, clock, shared_dsn)
    workflow_store.end_writing()
    await sql.close()
    await pool.close()


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    """A stopped data folder that tests lend each other, for initdb takes longer than most of them."""
    with fresh_folder() as folder:
        server = quick(folder / "postgres")
        server.start()
        server.stop()
        yield folder / "postgres" / "data"


@pytest.fixture
def folder() -> Iterator[Path]:
    with fresh_folder() as folder:
        yield folder


@pytest.fixture
def root(folder: Path, made_once: Path) -> Iterator[Path]:
    """A folder whose data only needs to be started."""
    with lent(made_once, folder / "postgres") as root:
        yield root
