"""Runs a function in a child process. A cancellation kills the child process, which never outlives this process."""

import json
import math
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar, cast

from anyio import BrokenWorkerProcess, CancelScope, CapacityLimiter, get_cancelled_exc_class, run_process, to_process

from stepwell.basics.errors import AttemptError
from stepwell.ports.providers import LIGHT, LIGHT_MEMORY, WorkWeight
from stepwell.runtime.child_process_main import bind_to_parent

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_NICENESS = 5  # of processes for light work
_HEAVY_NICENESS = 15
_KILLED_FIRST = "500"  # the kernel's out-of-memory killer prefers a child process to this one
_HEADROOM = 64 * 1024 * 1024  # bytes of address space, for what the allocator reserves and doesn't use
_TRIES = 4
_HEAVY_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from stepwell.providers.local.pool import serve_one_call
serve_one_call()
"""


class NamedFunction(Generic[Argument, Result]):
    """A function `module:name` that only the child process imports, because its module needs much memory."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return resolve_name, (self._name,)  # so the child process imports it, before its memory is limited

    def __call__(self, argument: Argument) -> Result:
        function: Callable[[Argument], Result] = resolve_name(self._name)
        return function(argument)


class Pool:
    """Child processes. The caller limits how many run at once.

    The child processes of anyio do light work, and are reused: to start one takes a third of a second; a call to a
    running one takes two milliseconds. Heavy work runs in a new process, which ends with the work: so its memory is
    free again, and an ordinary user can't lower its nice value for light work.

    An idle process may still hold `LIGHT_MEMORY`. Before heavy work begins, idle processes are ended as long as all
    processes together could exceed *max_memory* bytes.
    """

    def __init__(self, max_memory: float = math.inf) -> None:
        self._limiter = CapacityLimiter(math.inf)
        self._max_memory = max_memory
        self._heavy = 0  # bytes of the heavy work in progress
        self._light = self._busy = 0  # the number of light processes, and of those that work

    async def run(
        self, function: Callable[[Argument], Result], argument: Argument, weight: WorkWeight = LIGHT
    ) -> Result:
        """Return the result of *function*, which must be importable. *argument* and the result must be picklable.

        The function can't use far more memory than *weight* says: it raises MemoryError.

        A cancellation kills the process at once. Raises a retryable `AttemptError` if the process died, for example by
        the kernel's out-of-memory killer. Errors of *function* are raised as they are.
        """
        call = _LimitedCall(function, weight.memory)
        return await (self._run_light(call, argument) if weight.light else self._run_heavy(call, argument, weight))

    async def _run_heavy(
        self, call: "_LimitedCall[Argument, Result]", argument: Argument, weight: WorkWeight
    ) -> Result:
        self._heavy += weight.memory
        try:
            while self._light > self._busy and self._heavy + self._light * LIGHT_MEMORY > self._max_memory:
                await self._end_idle_process()
            return await _run_once(call, argument)
        finally:
            self._heavy -= weight.memory

    async def _run_light(self, call: "_LimitedCall[Argument, Result]", argument: Argument) -> Result:
        self._busy += 1
        self._light = max(self._light, self._busy)  # anyio starts a process only if none is idle
        try:
            await self._ready_process()
            return await to_process.run_sync(call, argument, cancellable=True, limiter=self._limiter)
        except (BrokenWorkerProcess, ProcessLookupError) as error:  # ProcessLookupError: it died during its start
            self._light -= 1
            raise _died() from error
        except get_cancelled_exc_class():
            self._light -= 1
            raise
        finally:
            self._busy -= 1

    async def _end_idle_process(self) -> None:
        self._light -= 1
        with CancelScope(shield=True), suppress(BrokenWorkerProcess):
            await to_process.run_sync(os._exit, 0, limiter=self._limiter)

    async def _ready_process(self) -> None:
        """Make sure that a prepared process is idle: the one used last, or a new one."""
        # anyio forgets a process whose start is cancelled, so the start is shielded.
        with CancelScope(shield=True):
            for tries_left in reversed(range(_TRIES)):
                try:
                    await to_process.run_sync(_prepare, os.getpid(), _NICENESS, limiter=self._limiter)
                except BrokenWorkerProcess:  # it died while it was idle, so no work is lost
                    if not tries_left:
                        raise
                else:
                    return


class _LimitedCall(Generic[Argument, Result]):
    """A call of *function* that can't use far more than *memory* bytes, beside what its process has reserved before."""

    def __init__(self, function: Callable[[Argument], Result], memory: int) -> None:
        self._function, self._memory = function, memory

    def __call__(self, argument: Argument) -> Result:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _address_space() + self._memory * 3 // 2 + _HEADROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
        try:
            return self._function(argument)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


async def _run_once(call: _LimitedCall[Argument, Result], argument: Argument) -> Result:
    """Make the call in a new process for heavy work."""
    request = pickle.dumps((os.getpid(), call, argument), pickle.HIGHEST_PROTOCOL)
    command = [sys.executable, "-c", _HEAVY_PROGRAM, json.dumps(sys.path)]
    process = await run_process(command, input=request, check=False, stderr=subprocess.DEVNULL)
    if process.returncode:
        raise _died()
    returned, value = pickle.loads(process.stdout)  # noqa: S301 - our own process wrote it
    if not returned:
        raise value
    return cast(Result, value)


def serve_one_call() -> None:
    """Make one call in this process: read it from stdin, and write to stdout whether it returned, and what."""
    parent, call, argument = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent wrote it
    output, sys.stdout = sys.stdout, sys.stderr
    _prepare(parent, _HEAVY_NICENESS)
    result: tuple[bool, Any]
    try:
        result = True, call(argument)
    except Exception as error:  # noqa: BLE001 - raised again by the caller
        result = False, error
    pickle.dump(result, output.buffer, pickle.HIGHEST_PROTOCOL)
    output.flush()


def _died() -> AttemptError:
    return AttemptError("the child process died (out of memory, or killed)", retryable=True)


def _address_space() -> int:
    """Return the size of this process's address space in bytes, most of which it doesn't use."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - a third of the time
        return int(statm.read().split()[0]) * resource.getpagesize()


_prepared = False


def _prepare(parent: int, niceness: int) -> None:
    """Bind this child process to its parent, and let the kernel prefer it when memory runs out."""
    global _prepared  # noqa: PLW0603 - a fact about this process
    if _prepared:
        return
    bind_to_parent(parent, niceness)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write(_KILLED_FIRST)
    _prepared = True
