"""Runs functions that tenants can make slow, in child processes: bounded in time and memory, and fair by tenant.

Such a function takes bytes and returns bytes. A thread would not do: it can't be killed, and holds the interpreter.

What must hold:
- One request of a pool runs at a time. Tenants that wait take turns, so a tenant waits for one request of each other.
- A request that waits holds no data: its data is made when its turn comes.
- A cancellation or the deadline kills the child process at once. No child process outlives this process. If the caller
  is cancelled again meanwhile, neither a process nor a turn is left behind.
- The processor time of a request and the memory of its child process are bounded by the kernel.
- A child process starts when it is needed, and ends when it was idle for a while.
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

from stepwell.runtime.child_process_main import Outcome
from stepwell.runtime.fair_turns import FairTurns

T = TypeVar("T")
_SIGXCPU = 24


class ChildProcessFailed(Exception):
    """A child process has no result. `repeatable`: another try may have one."""

    def __init__(self, why: str, *, repeatable: bool) -> None:
        super().__init__(why)
        self.repeatable = repeatable


class ChildProcessLimits(Struct, frozen=True):
    """The bounds of one child process.

    `cpu_s` and `wall_s` are for one request. `idle_s`: the child process ends after so many seconds without a request.
    `nice` is added to the nice value of this process.
    """

    memory_bytes: int = 384 * 1024 * 1024
    cpu_s: int = 10
    wall_s: float = 60.0
    idle_s: float = 60.0
    nice: int = 0


class ChildProcessPool:
    """A child process, and the requests that wait for it. `begun` counts requests that had a turn."""

    def __init__(self, limits: ChildProcessLimits | None = None) -> None:
        self._limits, self._turns = limits or ChildProcessLimits(), FairTurns(1)
        self._idle: list[_ChildProcess] = []
        self.begun = 0
        self._closed = False

    async def run(
        self, tenant: Hashable, function: Callable[[bytes], bytes], make_request: Callable[[], Sequence[bytes]]
    ) -> bytes:
        """Return the result of *function*, which must be importable, for the request that *make_request* returns.

        The request is sent in parts, and other code runs between them. *tenant* takes turns with the other tenants.
        Raises `ChildProcessFailed`.
        """
        async with self._turns.turn(tenant):
            self.begun += 1
            child: _ChildProcess | None = None
            try:
                request = make_request()
                with fail_after(self._limits.wall_s):
                    if (child := await self._idle_process()) is not None:
                        try:
                            return await child.call(function, request)
                        except ChildProcessFailed as error:
                            if child.usable or not error.repeatable:
                                raise
                            await child.kill()  # it may have died while it was idle
                    child = await _ChildProcess.start(self._limits)
                    return await child.call(function, request)
            except TimeoutError:
                raise ChildProcessFailed(f"no result within {self._limits.wall_s:g} s", repeatable=True) from None
            finally:
                await self._put_back(child)

    async def aclose(self) -> None:
        """End all idle child processes, and each other one with its request."""
        self._closed = True
        while self._idle:
            await self._idle.pop().kill()

    async def _idle_process(self) -> "_ChildProcess | None":
        while self._idle:
            child = self._idle.pop()
            if child.take():
                return child
            await child.kill()
        return None

    async def _put_back(self, child: "_ChildProcess | None") -> None:
        if child is None:
            return
        if child.usable and not self._closed:
            self._idle.append(child)
            child.end_after(self._limits.idle_s)
        else:
            await child.kill()


async def _run_to_end(work: Coroutine[Any, Any, T], name: str) -> tuple[T, bool]:
    """Run *work* to its end, however often the caller is cancelled. Return its result, and whether it was cancelled.

    A scope alone doesn't shield it from `asyncio.Task.cancel`, which `asyncio.timeout` and task groups call.
    """
    is_cancelled = False
    with CancelScope(shield=True):
        asyncio_task = asyncio.create_task(work, name=name)  # noqa: TID251 - it ends within this call
        while not asyncio_task.done():
            try:
                await asyncio.wait({asyncio_task})
            except asyncio.CancelledError:
                is_cancelled = True
    return asyncio_task.result(), is_cancelled


class _ChildProcess:
    """One child process. `usable`: it has returned the result of its last request, and can take another one."""

    def __init__(self, process: Process, limits: ChildProcessLimits) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._limits = process, limits
        self._requests, self._responses = process.stdin, BufferedByteReceiveStream(process.stdout)
        self._end: asyncio.TimerHandle | None = None
        self.usable = False

    @classmethod
    async def start(cls, limits: ChildProcessLimits) -> "_ChildProcess":
        arguments = map(str, (os.getpid(), limits.memory_bytes, limits.nice))
        command = [sys.executable, "-m", "stepwell.runtime.child_process_main", *arguments]
        # The environment may hold secrets, which a child process doesn't need.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        start = open_process(command, stderr=subprocess.DEVNULL, env=environment)
        process, is_cancelled = await _run_to_end(start, "start of a child process")
        child = cls(process, limits)
        if is_cancelled:
            await child.kill()
            raise asyncio.CancelledError
        return child

    async def call(self, function: Callable[[bytes], bytes], request: Sequence[bytes]) -> bytes:
        name = f"{function.__module__}:{function.__qualname__} {self._limits.cpu_s}".encode()
        head = len(name).to_bytes(4, "big") + name + sum(map(len, request)).to_bytes(8, "big")
        self.usable = False
        try:
            await self._requests.send(head)
            for part in request:
                await self._requests.send(part)
            prefix = await self._responses.receive_exactly(9)
            response = await self._responses.receive_exactly(int.from_bytes(prefix[1:], "big"))
        except (BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead, OSError) as error:
            raise await self._death() from error
        outcome = Outcome(prefix[0])
        if outcome is Outcome.OUT_OF_MEMORY:
            limit = self._limits.memory_bytes // 2**20
            raise ChildProcessFailed(f"takes more memory than the limit of {limit} MiB", repeatable=False)
        self.usable = True
        if outcome is Outcome.ERROR:
            raise ChildProcessFailed(f"internal error: {response.decode()}", repeatable=True)
        return response

    def take(self) -> bool:
        """Keep an idle child process from its end. Return whether it still runs."""
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
        _, is_cancelled = await _run_to_end(self._process.aclose(), "end of a child process")
        if is_cancelled:
            raise asyncio.CancelledError

    async def _death(self) -> ChildProcessFailed:
        if await self._process.wait() == -_SIGXCPU:
            return ChildProcessFailed(f"takes more than {self._limits.cpu_s} s of processor time", repeatable=False)
        return ChildProcessFailed("the child process died (out of memory, or killed)", repeatable=True)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
