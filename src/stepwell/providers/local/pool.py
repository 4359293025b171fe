"""Runs a function in a worker process. A cancellation kills the process, and it never outlives this one."""

import ctypes
import math
import os
import signal
from collections.abc import Callable
from typing import TypeVar

from anyio import BrokenWorkerProcess, CancelScope, CapacityLimiter, to_process

from stepwell.domain.errors import AttemptError

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_NICENESS = 5
_TRIES = 4


class Pool:
    """anyio's worker processes. The caller limits how many run at once; idle ones are reused.

    Starting a worker takes a third of a second; a call to a running one takes two milliseconds.
    """

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(math.inf)

    async def run(self, function: Callable[[Argument], Result], argument: Argument) -> Result:
        """Return the result of *function*, which must be importable. *argument* and the result must be picklable.

        A cancellation kills the worker at once. Raises a retryable `AttemptError` if the worker died, for example by
        the kernel's out-of-memory killer. Errors of *function* are raised as they are.
        """
        try:
            await self._ready_worker()
            return await to_process.run_sync(function, argument, cancellable=True, limiter=self._limiter)
        except (BrokenWorkerProcess, ProcessLookupError) as error:  # the latter if it died during its start
            raise AttemptError("the worker process died (out of memory, or killed)", retryable=True) from error

    async def _ready_worker(self) -> None:
        """Make sure that a prepared worker is idle: the one used last, or a new one."""
        # anyio forgets a worker whose start is cancelled, so the start is shielded.
        with CancelScope(shield=True):
            for tries_left in reversed(range(_TRIES)):
                try:
                    await to_process.run_sync(_prepare, os.getpid(), limiter=self._limiter)
                except BrokenWorkerProcess:  # it died while it was idle, so no work is lost
                    if not tries_left:
                        raise
                else:
                    return


_prepared = False


def _prepare(parent: int) -> None:
    """Prepare the worker: ignore Ctrl-C, die with the parent, and have a lower priority than its event loop."""
    global _prepared  # noqa: PLW0603 - a fact about this process
    if _prepared:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # An idle worker ends when its input is closed. A busy one wouldn't notice before it has finished.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.nice(_NICENESS)
    _prepared = True
