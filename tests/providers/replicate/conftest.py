from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from providers.replicate.replicate_cases import provider_at
from stepwell.outbound.http_client import plain_client
from stepwell.providers.replicate.provider import ReplicateProvider
from support.emulators.replicate import ReplicateEmulator


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[ReplicateEmulator]:
    async with ReplicateEmulator(tmp_path) as emulator:
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with plain_client() as client:
        yield client


@pytest.fixture
def provider(emulator: ReplicateEmulator, client: httpx.AsyncClient) -> ReplicateProvider:
    return provider_at(emulator, client)
