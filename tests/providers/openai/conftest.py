from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from providers.openai.openai_cases import NOW, online, provider_at
from stepwell.providers.openai.provider import OpenAiProvider
from support.emulators.openai import OpenAiEmulator


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[OpenAiEmulator]:
    async with OpenAiEmulator(tmp_path) as emulator:
        emulator.now = NOW.timestamp
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with online() as client:
        yield client


@pytest.fixture
def provider(emulator: OpenAiEmulator, client: httpx.AsyncClient) -> OpenAiProvider:
    return provider_at(emulator, client)
