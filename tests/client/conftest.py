from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stepwell.persistence.clock import DatabaseClock
from stepwell.testing import MemoryDatabase
from support.service.live_service import Service, running_service


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """The whole service over a database in memory, because the client can't tell it from another one."""
    async with running_service(MemoryDatabase(DatabaseClock()), tmp_path) as running:
        yield running


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client repeat a request at once."""
    monkeypatch.setattr("stepwell.client.retries.random.uniform", lambda *_: 0)
