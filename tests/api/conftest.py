from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio

from stepwell.testing import ManualClock, MemoryDatabase
from support.database.postgres import TestServer, database
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.live_service import Service, running_service


@pytest.fixture(scope="module")
def scripted() -> ConfiguredProvider:
    return ConfiguredProvider()


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The clock of `api`."""
    return ManualClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    clock: ManualClock, scripted: ConfiguredProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The whole service over a database in memory, one for all tests of a module.

    They must set `pytest.mark.asyncio(loop_scope="module")`.
    """
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("api")
        yield await stack.enter_async_context(running_service(MemoryDatabase(clock), folder, providers=[scripted]))


@pytest.fixture(scope="module")
def client(api: Service) -> httpx.AsyncClient:
    """A client of `api` with every permission, for every tenant."""
    return api.client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(
    server: TestServer, template: str, scripted: ConfiguredProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The whole service, one for all tests of a module: they must set `pytest.mark.asyncio(loop_scope="module")`."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(server, template))
        folder = tmp_path_factory.mktemp("live")
        yield await stack.enter_async_context(running_service(dsn, folder, providers=[scripted]))
