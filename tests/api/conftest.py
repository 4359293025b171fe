from collections.abc import AsyncIterator

import httpx
import pytest

from support.conformance import conforming_client
from support.fake_service import FakeApi, token


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client with every permission, for every tenant."""
    async with conforming_client(api.app, token(every=True)) as client:
        yield client
