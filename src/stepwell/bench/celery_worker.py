"""The broker and the Celery worker of a benchmark."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

from msgspec import json
from msgspec.structs import replace

from stepwell.bench.broker import reach_broker, redis_server
from stepwell.bench.child_processes import child_process
from stepwell.domain.setting_values import TaskQueues
from stepwell.settings import Settings


@asynccontextmanager
async def celery_settings(settings: Settings, folder: Path) -> AsyncIterator[Settings]:
    """Yield settings with a broker and with a queue of their own. A Redis runs as long as no broker is configured.

    Raises `NoBroker` and `ProcessEnded`.
    """
    own_broker = settings.celery_broker_url is None
    if settings.celery_broker_url is not None:
        await reach_broker(settings.celery_broker_url)
    async with redis_server(folder) if own_broker else nullcontext(settings.celery_broker_url) as broker_url:
        yield replace(
            settings,
            executor="celery",
            celery_broker_url=broker_url,
            celery_result_backend=None if own_broker else settings.celery_result_backend,
            celery_queues=TaskQueues({"*": f"stepwell-bench-{uuid4().hex}"}),
        )


@asynccontextmanager
async def celery_worker(settings: Settings, workers: int, env: Mapping[str, str]) -> AsyncIterator[None]:
    """Run `stepwell worker` with *workers* processes. *env* is added to its environment."""
    command = [sys.executable, "-m", "stepwell", "worker", "--concurrency", str(workers)]
    configured = {
        "STEPWELL_EXECUTOR": "celery",
        "STEPWELL_CELERY_BROKER_URL": settings.celery_broker_url,
        "STEPWELL_CELERY_RESULT_BACKEND": settings.result_backend,
        "STEPWELL_CELERY_QUEUES": json.encode(settings.celery_queues).decode(),
        "STEPWELL_ARTIFACT_DIR": str(settings.artifacts),
        "STEPWELL_LOG_LEVEL": os.environ.get("STEPWELL_LOG_LEVEL", "warning"),
    }
    present = {name: value for name, value in configured.items() if value is not None}
    async with child_process("Celery worker", command, present | dict(env)) as child, asyncio.TaskGroup() as group:
        watch = group.create_task(child.fail_at_end(), name="Celery worker")
        yield
        watch.cancel()
