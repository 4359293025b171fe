"""One of the processes of a benchmark that run the engine on one database.

`python -m stepwell.bench.engine_process` reads a pickled `EngineOrder` from stdin, with its length before it. It prints
a line of JSON when it is ready, waits for a line on stdin, runs its part of the load, and prints its progress and then
its measurements. It ends with the end of stdin, or by SIGTERM.
"""

import asyncio
import os
import pickle
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice

import uvloop
from msgspec import Struct, json
from msgspec.structs import replace

from stepwell.app import PostgresSource, Service, running_app
from stepwell.bench.driver import drive, in_process
from stepwell.bench.loads import Load
from stepwell.bench.measurements import TRANSITIONS, Measurements, measure
from stepwell.runtime.freed_memory import tune_gc
from stepwell.runtime.telemetry import configure_logging
from stepwell.settings import Settings

_CLAIM_S = 30.0
_PROGRESS_S = 0.5
LENGTH_BYTES = 8


class EngineOrder(Struct, frozen=True):
    """The order to run each workflow of *load* whose number modulo *processes* is *index*.

    *concurrency* of them run at a time. Before, *warm_up* workflows run at once.
    """

    settings: Settings
    dsn: str
    load: Load
    index: int
    processes: int
    concurrency: int
    warm_up: int


class EngineReady(Struct, frozen=True, tag="ready"):
    """The process has connections to the database and has run a workflow of the load."""


class EngineProgress(Struct, frozen=True, tag="progress"):
    """So many *transitions* have been committed since the start of the load."""

    transitions: int


class EngineResult(Struct, frozen=True, tag="result"):
    """The process has run its part of the load."""

    measurements: Measurements


EngineMessage = EngineReady | EngineProgress | EngineResult


def main() -> None:
    length = int.from_bytes(sys.stdin.buffer.read(LENGTH_BYTES), "big")
    order: EngineOrder = pickle.loads(sys.stdin.buffer.read(length))  # noqa: S301 - the parent wrote it
    configure_logging(order.settings.log_format, "warning")
    tune_gc()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(order))
    except Exception as error:  # noqa: BLE001 - the parent reports it
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        sys.exit(f"{type(cause).__name__}: {cause}")


async def _run(order: EngineOrder) -> None:
    source, url_secret = PostgresSource(order.dsn), secrets.token_bytes(32)
    async with running_app(order.settings, source=source, url_secret=url_secret, exclusive=False) as app:
        async with asyncio.timeout(_CLAIM_S):
            await app.engine.ownership.caught_up.wait()
        warm_up = replace(order.load, workflows=order.warm_up)
        await drive(warm_up.bodies(), in_process(app.services), order.warm_up)
        _send(EngineReady())
        if await _line():
            async with measure(app.metrics) as measurements, _progress(app):
                part = islice(order.load.bodies(), order.index, None, order.processes)
                await drive(part, in_process(app.services), order.concurrency)
            _send(EngineResult(measurements))
            await _line()


@asynccontextmanager
async def _progress(app: Service) -> AsyncIterator[None]:
    before = app.metrics.value(TRANSITIONS)

    async def report() -> None:
        while True:
            await asyncio.sleep(_PROGRESS_S)
            _send(EngineProgress(int(app.metrics.value(TRANSITIONS) - before)))

    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(report(), name="progress")
        yield
        reporting.cancel()


async def _line() -> bytes:
    """Return the next line of stdin; nothing at its end. The wait has no deadline, because the parent's end ends it."""
    return await asyncio.to_thread(sys.stdin.buffer.readline)


def _send(message: EngineMessage) -> None:
    os.write(sys.stdout.fileno(), json.encode(message) + b"\n")


if __name__ == "__main__":
    main()
