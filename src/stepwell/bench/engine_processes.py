"""Runs a load in several processes that share a database, and collects what they measure."""

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from msgspec import json

from stepwell.bench.engine_process import (
    LENGTH_BYTES,
    EngineMessage,
    EngineOrder,
    EngineProgress,
    EngineReady,
    EngineResult,
)
from stepwell.bench.loads import Load
from stepwell.bench.measurements import Measurements, of_all_processes
from stepwell.bench.subprocesses import ChildProcess, ProcessEnded, child_process
from stepwell.settings import Settings

_READY_S = 120.0
_RUN_S = 24 * 3_600.0

T = TypeVar("T")


class EngineProcesses:
    """Processes that are ready to run their parts of a load."""

    def __init__(self, children: Sequence[ChildProcess]) -> None:
        self._children = children

    async def run(self, on_progress: Callable[[int], None]) -> Measurements:
        """Run the load, once. *on_progress* gets the number of transitions that all have committed."""
        progress = dict.fromkeys(self._children, 0)

        async def run_part(child: ChildProcess) -> Measurements:
            await child.send(b"\n")
            while True:
                match await _message(child):
                    case EngineProgress(transitions):
                        progress[child] = transitions
                        on_progress(sum(progress.values()))
                    case EngineResult(measurements):
                        return measurements

        async with asyncio.timeout(_RUN_S):
            return of_all_processes(await _of_each(self._children, run_part))


@asynccontextmanager
async def engine_processes(
    number: int, settings: Settings, dsn: str, load: Load, env: Mapping[str, str], *, warm_up: int = 1
) -> AsyncIterator[EngineProcesses]:
    """Start *number* processes, and wait until all are ready. *env* is added to their environment.

    Each runs *warm_up* workflows before. Raises `ProcessEnded`.
    """
    command = [sys.executable, "-m", "stepwell.bench.engine_process"]
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(child_process(f"engine process {index}", command, env))
            for index in range(number)
        ]

        async def prepare(child: ChildProcess) -> None:
            concurrency = max(load.concurrency // number, 1)
            order = pickle.dumps(EngineOrder(settings, dsn, load, children.index(child), number, concurrency, warm_up))
            await child.send(len(order).to_bytes(LENGTH_BYTES, "big") + order)
            assert isinstance(await _message(child), EngineReady)

        try:
            async with asyncio.timeout(_READY_S):
                await _of_each(children, prepare)
        except TimeoutError:
            raise ProcessEnded(f"the engine processes have run no workflow within {_READY_S:g} s") from None
        yield EngineProcesses(children)


async def _of_each(children: Sequence[ChildProcess], call: Callable[[ChildProcess], Coroutine[Any, Any, T]]) -> list[T]:
    """Call *call* with all children at once. Raises the first `ProcessEnded` alone."""
    try:
        async with asyncio.TaskGroup() as group:
            asyncio_tasks = [group.create_task(call(child), name=child.name) for child in children]
    except* ProcessEnded as errors:
        raise errors.exceptions[0] from None
    return [asyncio_task.result() for asyncio_task in asyncio_tasks]


async def _message(child: ChildProcess) -> EngineMessage:
    message: EngineMessage = json.decode(await child.line(), type=EngineMessage)
    return message
