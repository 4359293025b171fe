"""Several `serve` processes on one database, which commits to disk as `serve` demands.

CI runs a sample of these tests. All of them, with two and with three processes, and 1,000 verbs during 50 kills:

    STEPWELL_TEST_FULL=1 python -m pytest tests/processes
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import TestServer, database, fresh_folder, running_server
from support.processes.cluster import Cluster, running_cluster
from support.soaks import FULL


@pytest.fixture(scope="module")
def durable() -> Iterator[TestServer]:
    with running_server({"fsync": "on", "full_page_writes": "on"}) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[2, 3] if FULL else [3])
async def cluster(durable: TestServer, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """Three processes for all tests of a module, and once more two of them if `FULL`.

    The tests must set `pytest.mark.asyncio(loop_scope="module")`.
    """
    async with database(durable) as dsn:
        await migrate(dsn)
        with fresh_folder() as folder:
            async with running_cluster(dsn, folder, request.param) as cluster:
                await cluster.identify()
                yield cluster
