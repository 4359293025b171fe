"""Ctrl-C and SIGTERM, for as long as a command runs."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Self

import uvloop

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
# Some senders (timeout, a shell and a terminal together) deliver what is meant as one signal twice in a row.
_SAME_S = 0.1


class Signals:
    """The first signal asks the command to stop, the second ends the process at once; both kinds mean the same.

    The first is noted, for `check`, where neither `interrupting` nor `calling` says more. Main thread only.
    """

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._interrupting = False
        self._call: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in _NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        return self._asked_at is not None

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within, the first signal raises KeyboardInterrupt: only for what waits for somebody else.

        Imports and forks run callbacks of the interpreter, which would swallow it and say so on stderr.
        """
        self._interrupting = True
        try:
            self.check()
            yield
        finally:
            self._interrupting = False

    @contextmanager
    def calling(self, stop: Callable[[], object]) -> Iterator[None]:
        """Within, the first signal calls *stop* in the running loop.

        Ctrl-C reaches every process of the terminal's foreground group. Processes that are started meanwhile inherit
        that both signals are blocked: else one that isn't yet set to ignore them would die, and fail its attempt.
        """
        self._call = partial(asyncio.get_running_loop().call_soon_threadsafe, stop)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
        over = threading.Event()
        waiting = threading.Thread(target=self._wait, args=(over,), name="signals", daemon=True)
        waiting.start()
        if self.asked:
            stop()
        try:
            yield
        finally:
            over.set()
            assert waiting.ident is not None
            signal.pthread_kill(waiting.ident, signal.SIGINT)
            waiting.join()
            self._call = None
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _wait(self, over: threading.Event) -> None:
        while True:
            number = signal.sigwait(_NUMBERS)
            if over.is_set():
                return
            self._receive(number)

    def _receive(self, number: int, _frame: FrameType | None = None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            if self._call is not None:
                self._call()
            elif self._interrupting:
                raise KeyboardInterrupt
        elif now - self._asked_at > _SAME_S:
            # What this process has started ends with it, and what is committed is safe: that is what crashes teach.
            os._exit(128 + number)


class Stop:
    """A request to stop, as a task sees it: cancelled by it, until `take_over` says that it ends things in order."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._requested = asyncio.Event()
        self._taken_over = False

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def take_over(self) -> None:
        self._taken_over = True

    async def wait(self, at_most_s: float | None = None) -> None:
        """Until it is requested, or that time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._requested.wait()

    def request(self) -> None:
        self._requested.set()
        if not self._taken_over:
            self._task.cancel()


def run_stoppable(signals: Signals, body: Callable[[Stop], Coroutine[Any, Any, int]], *, stopped: int) -> int:
    """Run *body* in a loop of its own and return what it does; *stopped* if a signal cancelled it.

    What it raises comes out of all task groups around it.
    """

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        stop = Stop(task)
        with signals.calling(stop.request):
            try:
                return await body(stop)
            except asyncio.CancelledError:
                if not stop.requested:
                    raise
                return stopped

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())
    except BaseExceptionGroup as errors:
        # Task groups wrap whatever is raised in them; who called us wants what it was.
        raise _innermost(errors) from errors


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
