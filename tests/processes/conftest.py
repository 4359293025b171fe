"""Several `serve` processes on one database, which commits to disk as `serve` demands."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from stepwell.persistence.embedded.server import DATABASE
from support.database.postgres import TestServer, database, fresh_folder
from support.processes.cluster import Cluster, running_cluster


@pytest.fixture
async def dsn(durable: TestServer) -> AsyncIterator[str]:
    """The address of a migrated database on a server whose commits are on disk."""
    async with database(durable, DATABASE) as dsn:
        yield dsn


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(durable: TestServer) -> AsyncIterator[Cluster]:
    """Three processes for all tests of a module.

    The tests must set `pytest.mark.asyncio(loop_scope="module")`.
    """
    async with database(durable, DATABASE) as dsn:
        with fresh_folder() as folder:
            async with running_cluster(dsn, folder, 3) as cluster:
                await cluster.identify()
                yield cluster
