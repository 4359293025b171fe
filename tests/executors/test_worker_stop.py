"""The end of a worker in order."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.conftest import Workshop, running_workshop
from executors.test_celery_steps import note
from support.processes.celery_workers import running_redis
from support.providers.ledger import read_ledger
from support.providers.scripted import eventually
from support.service.live_service import Service

pytestmark = pytest.mark.extended


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A broker and a worker of this test's own."""
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis") as server, running_workshop(server, tmp_path / "workshop") as workshop:
        yield workshop


async def test_a_worker_that_is_stopped_ends_its_steps_first(service: Service, workshop: Workshop) -> None:
    created = await service.create(note(config={"work_s": 1}))
    await eventually(lambda: bool(read_ledger(workshop.ledger)), "the worker has begun", within_s=60)
    assert await asyncio.to_thread(workshop.worker.stop) == 0
    [run] = read_ledger(workshop.ledger)
    assert run.ended_at is not None
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"]) == ("COMPLETED", 0)
