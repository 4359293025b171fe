"""The monitor of jobs, on a real Redis."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from stepwell.providers.celery import job_monitor
from stepwell.providers.celery.job_monitor import BackendAway, JobMonitor
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

    redis: Any = Redis.from_url(redis_server.url)
    monitor = JobMonitor(redis, _no_probe)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(monitor.run(notify), name="monitor")
        await _until_connected(monitor)
        for task_id in (first, second):  # nothing is published, so a sweep reads them
            job = await monitor.watch(str(task_id), uuid4(), task_id, "stepwell")
            redis_server.client.set(result_key(job.id), data)
            while task_id not in notified:
                await asyncio.sleep(0.01)
            assert job.record.phase is (JobPhase.FAILURE if data == NESTED else JobPhase.SUCCESS)
        run.cancel()
    await redis.aclose()


async def test_no_job_is_subscribed_on_a_connection_that_is_being_closed(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis: Any = Redis.from_url(redis_server.url)
    monitor = JobMonitor(redis, _no_probe)
    client: Any = redis_server.client
    close: Any = PubSub.aclose
    refused = asyncio.Event()

    async def watch_and_close(pubsub: Any) -> None:
        job_id = str(uuid4())
        with pytest.raises(BackendAway):
            await monitor.watch(job_id, uuid4(), uuid4(), "stepwell")
        assert client.pubsub_numsub(result_key(job_id)) == [(result_key(job_id).encode(), 0)]
        refused.set()
        await close(pubsub)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(monitor.run(lambda _workflow_id, _task_id: None), name="monitor")
        await _until_connected(monitor)
        monkeypatch.setattr(PubSub, "aclose", watch_and_close)
        client.client_kill_filter(_type="pubsub")
        await refused.wait()
        monkeypatch.undo()
        await _until_connected(monitor)
        await monitor.watch(str(uuid4()), uuid4(), uuid4(), "stepwell")
        run.cancel()
    await redis.aclose()


async def test_all_results_of_an_outage_are_read_in_parts(redis_server: RedisServer) -> None:
    redis: Any = Redis.from_url(redis_server.url)
    ids = [uuid4() for _ in range(45)]
    notified: list[UUID] = []
    client: Any = redis_server.client
    monitor = JobMonitor(redis, _no_probe)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        run = group.create_task(monitor.run(lambda _workflow_id, task_id: notified.append(task_id)), name="monitor")
        await _until_connected(monitor)
        jobs = [await monitor.watch(str(task_id), uuid4(), task_id, "stepwell") for task_id in ids]
        for job in jobs:
            client.set(result_key(job.id), '{"status": "SUCCESS", "result": "%s"}' % ("x" * 100_000))
        client.client_kill_filter(_type="pubsub")
        while len(notified) < len(jobs):
            await asyncio.sleep(0.01)
        run.cancel()
    assert notified == ids
    assert {job.record.phase for job in jobs} == {JobPhase.SUCCESS}
    await redis.aclose()


async def _no_probe(_probe_id: str, _queue: str) -> None:
    """Send nothing."""


async def _until_connected(monitor: JobMonitor) -> None:
    while monitor.trouble is not None:
        await asyncio.sleep(0.01)
