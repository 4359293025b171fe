"""Ctrl-C and SIGTERM while a command runs."""

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
# Some senders (timeout, or a shell together with its terminal) deliver one signal twice in a row.
_SAME_S = 0.1


class Signals:
    """The handlers of SIGINT and SIGTERM, which mean the same. Main thread only.

    The first signal asks the command to stop; the second ends the process at once. Outside of `interrupting` and
    `calling`, the first signal is only stored, and `check` raises it.
    """

    def __init__(self) -> None:
        self._requested_at: float | None = None
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
    def requested(self) -> bool:
        return self._requested_at is not None

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.requested:
            raise KeyboardInterrupt

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """In this context the first signal raises KeyboardInterrupt. Use it only around code that waits for others.

        Imports and forks run callbacks of the interpreter, which would print the exception and ignore it.
        """
        self._interrupting = True
        try:
            self.check()
            yield
        finally:
            self._interrupting = False

    @contextmanager
    def calling(self, stop: Callable[[], object]) -> Iterator[None]:
        """In this context the first signal calls *stop* in the running loop.

        Ctrl-C reaches every process of the terminal's foreground group. Both signals are blocked here, and processes
        that are started meanwhile inherit that. Otherwise a child process that doesn't ignore them yet would die, and
        its attempt would fail.
        """
        self._call = partial(asyncio.get_running_loop().call_soon_threadsafe, stop)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)
        ended = threading.Event()
        waiting = threading.Thread(target=self._wait, args=(ended,), name="signals", daemon=True)
        waiting.start()
        if self.requested:
            stop()
        try:
            yield
        finally:
            ended.set()
            assert waiting.ident is not None
            signal.pthread_kill(waiting.ident, signal.SIGINT)
            waiting.join()
            self._call = None
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _wait(self, ended: threading.Event) -> None:
        while True:
            number = signal.sigwait(_NUMBERS)
            if ended.is_set():
                return
            self._receive(number)

    def _receive(self, number: int, _frame: FrameType | None = None) -> None:
        now = time.monotonic()
        if self._requested_at is None:
            self._requested_at = now
            if self._call is not None:
                self._call()
            elif self._interrupting:
                raise KeyboardInterrupt
        elif now - self._requested_at > _SAME_S:
            # Child processes end with this one, and committed rows are safe, as after a crash.
            os._exit(128 + number)


class Stop:
    """A request to stop an asyncio task. It cancels the task, unless it has called `take_over` and stops by itself."""

    def __init__(self, asyncio_task: asyncio.Task[Any]) -> None:
        self._asyncio_task = asyncio_task
        self._requested = asyncio.Event()
        self._taken_over = False

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def take_over(self) -> None:
        self._taken_over = True

    async def wait(self, at_most_s: float | None = None) -> None:
        """Wait until a stop is requested, for at most *at_most_s* seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._requested.wait()

    def request(self) -> None:
        self._requested.set()
        if not self._taken_over:
            self._asyncio_task.cancel()


def run_stoppable(signals: Signals, body: Callable[[Stop], Coroutine[Any, Any, int]], *, stopped: int) -> int:
    """Run *body* in a new event loop, and return its result; *stopped* if a signal cancelled it.

    An exception of *body* is raised without the exception groups around it.
    """

    async def main() -> int:
        asyncio_task = asyncio.current_task()
        assert asyncio_task is not None
        stop = Stop(asyncio_task)
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
        # Task groups wrap exceptions; the caller wants the original one.
        raise _innermost(errors) from errors


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
