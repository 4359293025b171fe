"""Runs functions that tenants can make slow, in worker processes: bounded in time and memory, and fair by tenant.

Such a function takes bytes and returns bytes. A thread would not do: it can't be killed, and holds the interpreter.

What must hold:
- One request of a pool runs at a time. Tenants that wait take turns, so a tenant waits for one request of each other.
- A request that waits holds no data: its data is made when its turn comes.
- A cancellation or the deadline kills the worker at once. No worker outlives this process. If the caller is cancelled
  again meanwhile, neither a process nor a turn is left behind.
- The processor time of a request and the memory of its worker are bounded by the kernel.
- A worker starts when it is needed, and ends when it was idle for a while.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    IncompleteRead,
    fail_after,
    open_process,
)
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct

from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.worker_main import Outcome

T = TypeVar("T")
_SIGXCPU = 24


class WorkerFailed(Exception):
    """A worker has no result. `repeatable`: another try may have one."""

    def __init__(self, why: str, *, repeatable: bool) -> None:
        super().__init__(why)
        self.repeatable = repeatable


class WorkerLimits(Struct, frozen=True):
    """The bounds of one worker.

    `cpu_s` and `wall_s` are for one request. `idle_s`: the worker ends after so many seconds without a request. `nice`
    is added to the nice value of this process.
    """

    memory_bytes: int = 384 * 1024 * 1024
    cpu_s: int = 10
    wall_s: float = 60.0
    idle_s: float = 60.0
    nice: int = 0


class WorkerPool:
    """A worker process, and the requests that wait for it. `begun` counts requests that had a turn."""

    def __init__(self, limits: WorkerLimits | None = None) -> None:
        self._limits, self._turns = limits or WorkerLimits(), FairTurns(1)
        self._idle: list[_Worker] = []
        self.begun = 0
        self._closed = False

    async def run(
        self, tenant: Hashable, function: Callable[[bytes], bytes], make_request: Callable[[], Sequence[bytes]]
    ) -> bytes:
        """Return the result of *function*, which must be importable, for the request that *make_request* returns.

        The request is sent in parts, and other tasks run between them. *tenant* takes turns with the other tenants.
        Raises `WorkerFailed`.
        """
        async with self._turns.turn(tenant):
            self.begun += 1
            worker: _Worker | None = None
            try:
                request = make_request()
                with fail_after(self._limits.wall_s):
                    if (worker := await self._idle_worker()) is not None:
                        try:
                            return await worker.call(function, request)
                        except WorkerFailed as error:
                            if worker.usable or not error.repeatable:
                                raise
                            await worker.kill()  # it may have died while it was idle
                    worker = await _Worker.start(self._limits)
                    return await worker.call(function, request)
            except TimeoutError:
                raise WorkerFailed(f"no answer within {self._limits.wall_s:g} s", repeatable=True) from None
            finally:
                await self._put_back(worker)

    async def aclose(self) -> None:
        """End all idle workers, and each other one with its request."""
        self._closed = True
        while self._idle:
            await self._idle.pop().kill()

    async def _idle_worker(self) -> "_Worker | None":
        while self._idle:
            worker = self._idle.pop()
            if worker.take():
                return worker
            await worker.kill()
        return None

    async def _put_back(self, worker: "_Worker | None") -> None:
        if worker is None:
            return
        if worker.usable and not self._closed:
            self._idle.append(worker)
            worker.end_after(self._limits.idle_s)
        else:
            await worker.kill()


async def _run_to_end(work: Coroutine[Any, Any, T], name: str) -> tuple[T, bool]:
    """Run *work* to its end, however often the caller is cancelled. Return its result, and whether it was cancelled.

    A scope alone doesn't shield it from `asyncio.Task.cancel`, which `asyncio.timeout` and task groups call.
    """
    is_cancelled = False
    with CancelScope(shield=True):
        task = asyncio.create_task(work, name=name)  # noqa: TID251 - it ends within this call
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                is_cancelled = True
    return task.result(), is_cancelled


class _Worker:
    """One worker process. `usable`: it has answered its last request, and can take another one."""

    def __init__(self, process: Process, limits: WorkerLimits) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._limits = process, limits
        self._requests, self._answers = process.stdin, BufferedByteReceiveStream(process.stdout)
        self._end: asyncio.TimerHandle | None = None
        self.usable = False

    @classmethod
    async def start(cls, limits: WorkerLimits) -> "_Worker":
        arguments = map(str, (os.getpid(), limits.memory_bytes, limits.nice))
        command = [sys.executable, "-m", "stepwell.runtime.worker_main", *arguments]
        # The environment may hold secrets, which a worker doesn't need.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        start = open_process(command, stderr=subprocess.DEVNULL, env=environment)
        process, is_cancelled = await _run_to_end(start, "start of a worker")
        worker = cls(process, limits)
        if is_cancelled:
            await worker.kill()
            raise asyncio.CancelledError
        return worker

    async def call(self, function: Callable[[bytes], bytes], request: Sequence[bytes]) -> bytes:
        name = f"{function.__module__}:{function.__qualname__} {self._limits.cpu_s}".encode()
        head = len(name).to_bytes(4, "big") + name + sum(map(len, request)).to_bytes(8, "big")
        self.usable = False
        try:
            await self._requests.send(head)
            for part in request:
                await self._requests.send(part)
            prefix = await self._answers.receive_exactly(9)
            answer = await self._answers.receive_exactly(int.from_bytes(prefix[1:], "big"))
        except (BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead, OSError) as error:
            raise await self._death() from error
        outcome = Outcome(prefix[0])
        if outcome is Outcome.OUT_OF_MEMORY:
            limit = self._limits.memory_bytes // 2**20
            raise WorkerFailed(f"takes more memory than the limit of {limit} MiB", repeatable=False)
        self.usable = True
        if outcome is Outcome.ERROR:
            raise WorkerFailed(f"internal error: {answer.decode()}", repeatable=True)
        return answer

    def take(self) -> bool:
        """Keep an idle worker from its end. Return whether it still runs."""
        if self._end is not None:
            self._end.cancel()
        return self._process.returncode is None

    def end_after(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().call_later(seconds, self._kill)

    async def kill(self) -> None:
        """Kill the process, and wait for its end."""
        if self._end is not None:
            self._end.cancel()
        self._kill()
        _, is_cancelled = await _run_to_end(self._process.aclose(), "end of a worker")
        if is_cancelled:
            raise asyncio.CancelledError

    async def _death(self) -> WorkerFailed:
        if await self._process.wait() == -_SIGXCPU:
            return WorkerFailed(f"takes more than {self._limits.cpu_s} s of processor time", repeatable=False)
        return WorkerFailed("the worker process died (out of memory, or killed)", repeatable=True)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
