"""Measures the work of a load as a plain Celery canvas, with workers of its own. It doesn't import Celery itself."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct, json

from stepwell.bench.child_processes import child_process
from stepwell.bench.loads import Load

BROKER_VARIABLE, FOLDER_VARIABLE = "STEPWELL_BENCH_BROKER", "STEPWELL_BENCH_FOLDER"
_MODULE = "stepwell.bench.celery_canvas"
_RUN_S = 24 * 3_600.0
# What a worker does besides its tasks would only make it slower.
_WORKER_OPTIONS = ("--concurrency=1", "--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat")


class CanvasOrder(Struct, frozen=True):
    """The order to run *load* as a chain and as a chord, when so many *workers* answer."""

    load: Load
    workers: int


class CanvasSeconds(Struct, frozen=True):
    """The seconds from the first canvas that is handed in to the last result."""

    chain_s: float
    chord_s: float


async def run_plain_celery(load: Load, workers: int, broker_url: str, folder: Path) -> CanvasSeconds:
    """Run *load* on *workers* workers with one process each. Images are files in *folder*. Raises `ProcessEnded`."""
    env = {BROKER_VARIABLE: broker_url, FOLDER_VARIABLE: str(folder)}
    async with AsyncExitStack() as stack:
        for number in range(workers):
            command = [sys.executable, "-m", "celery", "-A", _MODULE, "worker", *_WORKER_OPTIONS]
            command += ["--hostname", f"plain{number}@localhost"]
            await stack.enter_async_context(child_process(f"Celery worker {number}", command, env, cwd=folder))
        driver = await stack.enter_async_context(
            child_process("Celery client", [sys.executable, "-m", _MODULE], env, cwd=folder)
        )
        async with asyncio.timeout(_RUN_S):
            await driver.send(json.encode(CanvasOrder(load, workers)) + b"\n")
            return json.decode(await driver.line(), type=CanvasSeconds)
