"""Measures the work of a load as a plain Celery canvas, with workers of its own. It doesn't import Celery itself."""

import asyncio
import sys
from pathlib import Path

from msgspec import Struct, json

from stepwell.bench.child_processes import child_process
from stepwell.bench.loads import Load
from stepwell.settings import Settings

BROKER_VARIABLE, BACKEND_VARIABLE = "STEPWELL_BENCH_BROKER", "STEPWELL_BENCH_BACKEND"
FOLDER_VARIABLE, QUEUE_VARIABLE = "STEPWELL_BENCH_FOLDER", "STEPWELL_BENCH_QUEUE"
_MODULE = "stepwell.bench.celery_canvas"
_RUN_S = 24 * 3_600.0
# Anything that a worker does besides its tasks would make it slower.
_WORKER_OPTIONS = ("--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat")


class CanvasOrder(Struct, frozen=True):
    """The order to run *load* as a chain and as a chord. The worker has *workers* processes."""

    load: Load
    workers: int


class CanvasSeconds(Struct, frozen=True):
    """The seconds from the first canvas that is handed in to the last result."""

    chain_s: float
    chord_s: float


async def run_plain_celery(load: Load, workers: int, settings: Settings, folder: Path) -> CanvasSeconds:
    """Run *load* on a worker with *workers* processes. Images are files in *folder*.

    *settings* name the broker, the result backend and the queue, see `celery_settings`. Raises `ProcessEnded`.
    """
    assert settings.celery_broker_url is not None
    assert settings.result_backend is not None
    env = {
        BROKER_VARIABLE: settings.celery_broker_url,
        BACKEND_VARIABLE: settings.result_backend,
        FOLDER_VARIABLE: str(folder),
        QUEUE_VARIABLE: settings.celery_queues["*"],
    }
    command = [sys.executable, "-m", "celery", "-A", _MODULE, "worker", *_WORKER_OPTIONS, "--concurrency", str(workers)]
    client = [sys.executable, "-m", _MODULE]
    async with (
        child_process("plain Celery worker", command, env, cwd=folder),
        child_process("Celery client", client, env, cwd=folder) as driver,
        asyncio.timeout(_RUN_S),
    ):
        await driver.send(json.encode(CanvasOrder(load, workers)) + b"\n")
        return json.decode(await driver.line(), type=CanvasSeconds)
