"""The monitor of jobs, on a real Redis."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from stepwell.providers.celery import job_monitor
from stepwell.providers.celery.job_monitor import JobMonitor
from stepwell.providers.celery.job_records import JobPhase, result_key
from support.processes.celery_workers import RedisServer

NESTED = "[" * 100_000


@pytest.mark.parametrize("data", [NESTED, '{"status": "SUCCESS", "result": null}'])
async def test_a_fault_while_results_are_read_does_not_end_the_monitor(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.setattr(job_monitor, "_SWEEP_S", 0.05)
    first, second = uuid4(), uuid4()
    notified: list[UUID] = []

    def notify(_workflow_id: UUID, task_id: UUID) -> None:
        notified.append(task_id)
        if task_id == first:
            raise RuntimeError("a fault")

    async def no_probe(_probe_id: str, _queue: str) -> None:
        pass

    redis: Any = Redis.from_url(redis_server.url)
    monitor = JobMonitor(redis, notify, no_probe)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(monitor.run(), name="monitor")
        while monitor.trouble is not None:
            await asyncio.sleep(0.01)
        for task_id in (first, second):  # nothing is published, so a sweep reads them
            job = await monitor.watch(str(task_id), uuid4(), task_id, "stepwell")
            redis_server.client.set(result_key(job.id), data)
            while task_id not in notified:
                await asyncio.sleep(0.01)
            assert job.record.phase is (JobPhase.FAILURE if data == NESTED else JobPhase.SUCCESS)
        run.cancel()
    await redis.aclose()
