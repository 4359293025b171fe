"""Images and waits on Celery workers: through Stepwell, and as a plain Celery canvas on the same broker. Run by hand:

    PYTHONPATH=tests python -m bench.plain_celery [--work image] [--shape chain] [--workers 2] [--image-size 512]

Both sides have the same number of worker processes, acknowledge late, and prefetch one task. The canvas writes its
images into a folder, and has its state in a Redis that stores nothing on the disk. Stepwell also commits each step to
PostgreSQL, makes each file durable, and records its digest.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, json

from stepwell.bench.celery_worker import redis_server
from stepwell.bench.loads import Load, Shape, Work
from stepwell.bench.subprocesses import child_process
from support.database.postgres import fresh_folder

BROKER_VARIABLE, FOLDER_VARIABLE = "STEPWELL_BENCH_BROKER", "STEPWELL_BENCH_FOLDER"
_MODULE = "bench.celery_canvas"
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


async def run_plain_celery(load: Load, workers: int, broker_url: str, folder: Path) -> CanvasSeconds:
    """Run *load* on a worker with *workers* processes. Images are files in *folder*. Raises `ProcessEnded`."""
    env = {
        BROKER_VARIABLE: broker_url,
        FOLDER_VARIABLE: str(folder),
        "PYTHONPATH": str(Path(__file__).parents[1]),
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


async def run_stepwell(load: Load, workers: int, broker_url: str, folder: Path) -> float:
    """Run *load* by `stepwell bench` on a data folder in *folder*. Return its steps per second."""
    options = {
        "shape": load.shape,
        "work": load.work,
        "workflows": load.workflows,
        "steps": load.steps,
        "concurrency": load.concurrency,
        "image-size": load.image_size,
        "workers": workers,
        "executor": "celery",
        "data-dir": folder / "data",
    }
    command = [sys.executable, "-m", "stepwell", "bench", "--json", *(f"--{name}={options[name]}" for name in options)]
    async with (
        child_process("stepwell bench", command, {"STEPWELL_CELERY_BROKER_URL": broker_url}) as bench,
        asyncio.timeout(_RUN_S),
    ):
        while not (line := await bench.line()).startswith(b"{"):
            pass
        return float(json.decode(line)["steps_per_s"])


async def compare(load: Load, workers: int) -> dict[str, Any]:
    """Run *load* on both. Return the steps per second of each, and the ratio to the canvas of the same shape."""
    with fresh_folder() as folder:
        async with redis_server(folder) as broker_url:
            stepwell = await run_stepwell(load, workers, broker_url, folder)
            seconds = await run_plain_celery(load, workers, broker_url, folder)
    return report_of(load, stepwell, seconds)


def report_of(load: Load, stepwell: float, seconds: CanvasSeconds) -> dict[str, Any]:
    """Return the figures of both. LAYERED and MIXED have no canvas of the same shape."""
    report = {"stepwell": stepwell, "chain": load.total_steps / seconds.chain_s}
    report["chord"] = load.total_steps / seconds.chord_s
    same = {Shape.CHAIN: "chain", Shape.FAN: "chord"}.get(load.shape)
    return report if same is None else report | {"times_celery": stepwell / report[same]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Work, default=Work.IMAGE)
    parser.add_argument("--shape", type=Shape, default=Shape.CHAIN)
    for name, usual in (("workflows", 12), ("steps", 5), ("concurrency", 12), ("image-size", 1024), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args(arguments)
    load = Load(
        given.shape, given.workflows, given.steps, given.concurrency, work=given.work, image_size=given.image_size
    )
    for name, value in asyncio.run(compare(load, given.workers)).items():
        print(f"{name:<14} {value:.2f}")


if __name__ == "__main__":
    main()
