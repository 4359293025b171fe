"""Several `serve` processes on one database, which commits to disk as `serve` demands."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import TestServer, database, fresh_folder, running_server
from support.processes.cluster import Cluster, running_cluster


@pytest.fixture(scope="module")
def durable() -> Iterator[TestServer]:
    with running_server({"fsync": "on", "full_page_writes": "on"}) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(durable: TestServer) -> AsyncIterator[Cluster]:
    """Three processes for all tests of a module.

    The tests must set `pytest.mark.asyncio(loop_scope="module")`.
    """
    async with database(durable) as dsn:
        await migrate(dsn)
        with fresh_folder() as folder:
            async with running_cluster(dsn, folder, 3) as cluster:
                await cluster.identify()
                yield cluster
