"""Run a function in a worker process that can be killed, and that never outlives us."""

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
    """anyio's worker processes. How many run at once is the caller's business; idle ones are reused.

    A worker's start costs a third of a second, a call of one that is there two milliseconds.
    """

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(math.inf)

    async def run(self, function: Callable[[Argument], Result], argument: Argument) -> Result:
        """The result of *function*, which must be importable; *argument* and the result must be picklable.

        Cancellation kills the worker at once. Raises a retryable `AttemptError` if the worker died (killed for its
        memory, say); what *function* raises comes through.
        """
        try:
            await self._ready_worker()
            return await to_process.run_sync(function, argument, cancellable=True, limiter=self._limiter)
        except (BrokenWorkerProcess, ProcessLookupError) as error:  # the latter if it died while it was starting
            raise AttemptError("the worker process died (out of memory, or killed)", retryable=True) from error

    async def _ready_worker(self) -> None:
        """See to it that a prepared worker waits for us: the one used last, or a new one."""
        # anyio forgets a worker that is cancelled while it starts, so the start is shielded from that.
        with CancelScope(shield=True):
            for tries_left in reversed(range(_TRIES)):
                try:
                    await to_process.run_sync(_prepare, os.getpid(), limiter=self._limiter)
                except BrokenWorkerProcess:  # it died while it was idle; nothing of the job is lost
                    if not tries_left:
                        raise
                else:
                    return


_prepared = False


def _prepare(parent: int) -> None:
    """In the worker: leave Ctrl-C to the parent, die with it, and give way to its event loop."""
    global _prepared  # noqa: PLW0603 - a fact about this process
    if _prepared:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # An idle worker ends when its input does; one that computes would first go on to its end.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.nice(_NICENESS)
    _prepared = True
