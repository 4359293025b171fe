"""The event loop of a worker process."""

import asyncio
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from uuid import uuid4

import pytest
from anyio import to_thread
from msgspec.structs import replace

from executors.test_celery_messages_to_workers import MESSAGE
from stepwell.executors.celery import WorkerLoop
from stepwell.providers.celery.messages import encode
from support.processes.celery_workers import RedisServer
from support.service.installed_settings import read_settings


async def test_a_worker_process_that_ends_ends_its_attempts_and_its_thread(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    environ = {"STEPWELL_CELERY_BROKER_URL": redis_server.url, "STEPWELL_ARTIFACT_DIR": str(tmp_path)}
    before = set(threading.enumerate())
    loop = WorkerLoop(read_settings(environ, executor="celery"))
    (thread,) = set(threading.enumerate()) - before
    job_id = str(uuid4())
    redis_server.client.set(f"stepwell-claim-{job_id}", "another", px=60_000)
    attempt = loop.execute(job_id, encode(replace(MESSAGE, task_id=job_id)), "worker")
    async with asyncio.timeout(60):
        await to_thread.run_sync(loop.close)
    assert not thread.is_alive()
    with pytest.raises(CancelledError):
        attempt.result(0)
    loop.close()  # again, as after an attempt that couldn't start
