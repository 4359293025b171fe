"""The end of a worker in order."""

import asyncio

from executors.conftest import Workshop
from executors.test_celery_steps import note
from support.providers.ledger import read_ledger
from support.providers.scripted import eventually
from support.service.live_service import Service


async def test_a_worker_that_is_stopped_ends_its_steps_first(service: Service, workshop: Workshop) -> None:
    created = await service.create(note(config={"work_s": 2}))
    await eventually(lambda: bool(read_ledger(workshop.ledger)), "the worker has begun", within_s=60)
    assert await asyncio.to_thread(workshop.worker.stop) == 0
    [run] = read_ledger(workshop.ledger)
    assert run.ended_at is not None
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"]) == ("COMPLETED", 0)
