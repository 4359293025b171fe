"""A request is recorded before it is sent. Else a process that dies in between leads to a second, paid one."""

import asyncio
from pathlib import Path

from stepwell.ports.providers import Attempt, AttemptIO, Request
from stepwell.testing import MemoryDatabase
from support.database.failing_store import use_failing_store
from support.providers.held_jobs import HeldJobs
from support.providers.scripted import eventually
from support.service.live_service import serving

_PASSES = 100  # of the event loop, within which a request that waits for nothing is sent


class _PreparedJobs(HeldJobs):
    """Tells when a request is prepared, which is the last thing before its record."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared, self.go_on = asyncio.Event(), asyncio.Event()

    async def prepare(self, attempt: Attempt, io: AttemptIO, /) -> Request:
        self.prepared.set()
        await self.go_on.wait()
        return await super().prepare(attempt, io)


async def test_no_request_is_sent_before_its_record_is_committed(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = _PreparedJobs()
    async with serving(memory, tmp_path, provider) as service:
        store = use_failing_store(service)
        step = {"id": "step", "task_type": "GENERATION", "provider_config": {"provider_type": "CUSTOM"}}
        created = await service.create(step | {"config": {"prompt": "x"}})
        await provider.prepared.wait()
        store.gate.clear()
        tried = len(store.batches)
        provider.go_on.set()
        await eventually(lambda: len(store.batches) > tried, "the record is on its way to the database")
        for _ in range(_PASSES):
            await asyncio.sleep(0)
        assert provider.jobs == {}
        store.gate.set()
        await eventually(lambda: len(provider.jobs) == 1, "the request is sent")
        provider.end(provider.jobs["job-0"])
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
