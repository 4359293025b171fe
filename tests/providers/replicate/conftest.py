from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from providers.replicate.replicate_cases import provider_at
from stepwell.outbound.http_client import plain_client
from stepwell.providers.replicate.provider import ReplicateProvider
from support.emulators.base import Fault
from support.emulators.replicate import ReplicateEmulator

SLOW = (Fault.HANG_AFTER, Fault.DRIP_AFTER)


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[ReplicateEmulator]:
    async with ReplicateEmulator(tmp_path) as emulator:
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with plain_client() as client:
        yield client


@pytest.fixture
def patience_s(request: pytest.FixtureRequest) -> float:
    """How long to wait for an answer: long, but where *fault* is that none comes."""
    callspec = getattr(request.node, "callspec", None)
    return 1.0 if callspec is not None and callspec.params.get("fault") in SLOW else 20.0


@pytest.fixture
def provider(emulator: ReplicateEmulator, client: httpx.AsyncClient, patience_s: float) -> ReplicateProvider:
    return provider_at(emulator, client, timeout_s=patience_s)
