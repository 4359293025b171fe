from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from stepwell.basics.setting_values import Origins
from stepwell.cli.service_host import mount_mcp
from stepwell.settings import Settings
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.listening_service import listening
from support.service.live_service import Service, running_service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The whole service over a database in memory, with `/mcp`, one for all tests of a module."""
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("api")
        database, providers = MemoryDatabase(ManualClock()), [ConfiguredProvider()]
        service = running_service(database, folder, providers=providers, origin_instance="assistant")
        running = await stack.enter_async_context(service)
        origins = Origins(("https://app.example",))
        public_url = "https://stepwell.example/prefix"
        mount_mcp(running.app.api, Settings(data_dir=folder, cors_origins=origins, public_url=public_url))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(api: Service) -> AsyncIterator[str]:
    """The address of `api`."""
    async with AsyncExitStack() as stack:
        yield f"http://127.0.0.1:{await stack.enter_async_context(listening(api))}"
