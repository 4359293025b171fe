"""One browser and one service for all browser tests of a process.

Such tests set `pytest.mark.asyncio(loop_scope="session")`, and each uses a tenant of its own.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from stepwell.basics.setting_values import ModelLimits, Secrets
from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from support.browser.chromium import chromium_path
from support.browser.pages import Site, User, running_site, signed_in
from support.database.postgres import TestServer, database
from support.emulators.fal import KEY, FalEmulator
from support.providers.configured_by_steps import ConfiguredProvider


@pytest.fixture(scope="session")
def scripted() -> ConfiguredProvider:
    """The provider CUSTOM of `site`, whose jobs do what the steps' configs say."""
    return ConfiguredProvider()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FalEmulator]:
    """The FAL of `site`, whose jobs go on until they are cancelled. fal-ai/narrow does one at a time."""
    async with FalEmulator(tmp_path_factory.mktemp("fal"), held=True) as emulator:
        yield emulator


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(
    server: TestServer,
    template: str,
    scripted: ConfiguredProvider,
    fal: FalEmulator,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Site]:
    """The service, and a browser. Without Chromium, the test is skipped."""
    chromium = chromium_path()
    folder = tmp_path_factory.mktemp("site")
    settings = {
        "fal_url": fal.url,
        "fal_poll_interval_s": 0.1,
        "breaker_reset_s": 3600,
        "origin_instance": "tests",
        "credentials": Secrets({"fal": KEY}),
        "limits": ModelLimits({ProviderType.FAL: {"fal-ai/narrow": ModelLimit(concurrency=1)}}),
    }
    async with (
        database(server, template) as dsn,
        running_site(dsn, folder, scripted, chromium, **settings) as site,
    ):
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def user(site: Site) -> AsyncIterator[User]:
    """Somebody who may do everything in a tenant of their own."""
    async with signed_in(site) as user:
        yield user
