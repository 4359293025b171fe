"""The broker and the Celery worker of a benchmark."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

from anyio import fail_after, to_thread
from msgspec import json
from msgspec.structs import replace

from stepwell.basics.setting_values import TaskQueues
from stepwell.bench.broker import reach_broker, redis_server
from stepwell.bench.child_processes import child_process
from stepwell.settings import Settings

_DELETE_S = 10.0


@asynccontextmanager
async def celery_settings(settings: Settings, folder: Path) -> AsyncIterator[Settings]:
    """Yield settings with a broker and with a queue of their own. A Redis runs as long as no broker is configured.

    Raises `NoBroker` and `ProcessEnded`.
    """
    own_broker = settings.celery_broker_url is None
    if settings.celery_broker_url is not None:
        await reach_broker(settings.celery_broker_url)
    queue = f"stepwell-bench-{uuid4().hex}"
    async with redis_server(folder) if own_broker else nullcontext(settings.celery_broker_url) as broker_url:
        try:
            yield replace(
                settings,
                executor="celery",
                celery_broker_url=broker_url,
                celery_result_backend=None if own_broker else settings.celery_result_backend,
                celery_queues=TaskQueues({"*": queue}),
            )
        finally:
            if settings.celery_broker_url is not None:
                await _leave_no_queue(settings.celery_broker_url, queue)


async def _leave_no_queue(broker_url: str, queue: str) -> None:
    """Delete the queue and its exchange. If the broker doesn't answer, they stay, and a line on stderr says so."""
    try:
        with fail_after(_DELETE_S, shield=True):
            await to_thread.run_sync(_delete_queue, broker_url, queue, abandon_on_cancel=True)
    except Exception as error:  # noqa: BLE001 - transports raise many types; a text may contain the URL
        print(f"stepwell: the queue {queue} stays on the broker: {type(error).__name__}", file=sys.stderr)  # noqa: T201


def _delete_queue(broker_url: str, queue: str) -> None:
    from celery import Celery  # noqa: PLC0415 - it needs the extra

    from stepwell.providers.celery.configuration import publisher_configuration  # noqa: PLC0415

    app = Celery("stepwell", set_as_current=False, fixups=[])
    app.conf.update(publisher_configuration(broker_url))
    with app.connection_for_write() as connection:
        connection.connect()
        own = app.amqp.queues[queue](connection.channel())
        own.declare()  # with Redis, only the process that has declared a queue can delete it
        own.delete()
        own.exchange.delete()


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
