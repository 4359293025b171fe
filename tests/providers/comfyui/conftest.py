from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from providers.comfyui.comfyui_cases import provider_at
from stepwell.outbound.http_client import plain_client
from stepwell.providers.comfyui.provider import ComfyUiProvider
from support.emulators.comfyui import ComfyUiEmulator


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[ComfyUiEmulator]:
    async with ComfyUiEmulator(tmp_path) as emulator:
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with plain_client() as client:
        yield client


@pytest.fixture
def provider(emulator: ComfyUiEmulator, client: httpx.AsyncClient) -> ComfyUiProvider:
    return provider_at(emulator, client)
