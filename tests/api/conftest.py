from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio

from support.database.postgres import TestServer, database
from support.fakes.service import FakeApi, token
from support.providers.configured_by_steps import Scripted
from support.service.conformance import conforming_client
from support.service.live_service import Service, running_service


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client with every permission, for every tenant."""
    async with conforming_client(api.app, token(every=True)) as client:
        yield client


@pytest.fixture(scope="module")
def scripted() -> Scripted:
    return Scripted()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(
    server: TestServer, template: str, scripted: Scripted, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The whole service, one for all tests of a module: they must set `pytest.mark.asyncio(loop_scope="module")`."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(server, template))
        folder = tmp_path_factory.mktemp("live")
        yield await stack.enter_async_context(running_service(dsn, folder, providers=[scripted]))
