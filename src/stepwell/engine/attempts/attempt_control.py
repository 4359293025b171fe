"""The control handle of one running attempt. Through it the attempt is stopped, timed and woken, and it reports.

What must hold:
- A report reaches only the workflow that the attempt belongs to, and only while that workflow is in memory.
- An attempt that is cancelled stops at the next await inside its scope, even if it was cancelled before it had one.
- An attempt that only waits for time can be stopped at any moment without losing anything: its job goes on at the
  provider, and the next process finds it.
- The time in which an attempt waits for memory counts for none of its deadlines.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from anyio import CancelScope, current_time, fail_after, move_on_after
from msgspec import Struct
from msgspec.structs import replace

from stepwell.lifecycle.inputs import Input


class AttemptSuperseded(Exception):
    """Raised in an attempt to stop it: the run ignores it from now on, or the next process continues it."""


class JobObservation(Struct, frozen=True):
    """The last observation of an attempt's job at its provider.

    `word` is the provider's own word for the status, unchanged since the time `since`. `progress` is 0 to 1; None if
    the provider reports none. `poll_error` says why the latest call about the job had no usable answer.
    """

    word: str | None = None
    since: datetime | None = None
    progress: float | None = None
    poll_error: str | None = None


class AttemptControl:
    """The control of one attempt, or of the follow-up of one.

    *report* hands an input to the attempt's workflow; it returns False if the workflow ignores the input, because the
    attempt isn't the step's any more. *flushed* waits until everything reported so far is committed, and raises
    `checkpointer.NotWritten` if that never happens.

    To stop the attempt, its scope is cancelled and not its `asyncio.Task`, because that could interrupt the start of a
    child process half-way.
    """

    def __init__(self, report: Callable[[Input], bool], flushed: Callable[[], Awaitable[None]]) -> None:
        self.report, self.flushed = report, flushed
        self.cancelled = False  # the attempt is to end, for whatever reason
        self.resting = False  # the attempt waits for time, and for nothing that could be lost
        self.waits_for_memory = self.evaluates_mappings = False
        self.callback_body: bytes | None = None  # of the provider's latest callback
        self.observation: JobObservation | None = None  # None before the first poll
        self._scope: CancelScope | None = None
        self._inner_scopes: list[CancelScope] = []
        self._stop_scope: CancelScope | None = None
        self._paused_deadline: float | None = None
        self._stopping = False
        self._woken: asyncio.Event | None = None
        self._callback_unseen = False

    def within(self, timeout_s: float) -> CancelScope:
        """Return the scope for everything that the attempt waits for.

        The scope is cancelled after *timeout_s*, or when the attempt is cancelled.
        """
        self._scope = CancelScope(deadline=current_time() + timeout_s)
        if self.cancelled:
            self._scope.cancel()
        return self._scope

    def cancel(self) -> None:
        """Cancel the attempt. It stops at its next await inside the scope."""
        self.cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def cancel_at_rest(self) -> None:
        """Cancel the attempt as soon as it only waits for time to pass."""
        self._stopping = True
        if self._stop_scope is not None:
            self._stop_scope.cancel()
        if self.resting:
            self.cancel()

    @contextmanager
    def until_process_stops(self) -> Iterator[Callable[[], None]]:
        """A context for a wait that the next process can continue. It yields a function.

        Once that function is called, the stop of the process ends the context, even within a shielded scope, and raises
        `AttemptSuperseded`.
        """

        def allow_stop() -> None:
            self._stop_scope = scope
            if self._stopping:
                scope.cancel()

        with CancelScope() as scope:
            try:
                yield allow_stop
            finally:
                self._stop_scope = None
        if scope.cancelled_caught:
            raise AttemptSuperseded

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Mark a wait that loses nothing if it is stopped. If the service is stopping, it ends at once."""
        if self._stopping:
            self.cancel()
        self.resting = True
        try:
            yield
        finally:
            self.resting = False

    @contextmanager
    def evaluating_mappings(self) -> Iterator[None]:
        """Mark the wait for a process that evaluates the mappings. The stop of the service ends the wait at once."""
        self.evaluates_mappings = True
        try:
            with self.at_rest():
                yield
        finally:
            self.evaluates_mappings = False

    def set_deadline(self, seconds: float) -> None:
        """Set the deadline to *seconds* from now."""
        self._paused_deadline = None
        if self._scope is not None:
            self._scope.deadline = current_time() + seconds

    def pause_deadline(self) -> None:
        """Suspend the deadline until `resume_deadline` or the next `sleep`."""
        if self._scope is not None and self._paused_deadline is None:
            self._paused_deadline, self._scope.deadline = self._scope.deadline, math.inf

    def resume_deadline(self) -> None:
        """End `pause_deadline`. A deadline that has passed meanwhile cancels the scope at once."""
        if self._scope is not None and self._paused_deadline is not None:
            self._scope.deadline, self._paused_deadline = self._paused_deadline, None

    @property
    def seconds_left(self) -> float:
        """The seconds until the deadline; infinite without one, or while it is suspended."""
        return math.inf if self._scope is None else self._scope.deadline - current_time()

    def shorten_deadlines(self, seconds: float) -> None:
        """Bring the deadlines nearer by *seconds*, as if they had passed. For tests that move the clock."""
        for scope in (self._scope, *self._inner_scopes):
            if scope is not None:
                scope.deadline -= seconds
        if self._paused_deadline is not None:
            self._paused_deadline -= seconds

    @contextmanager
    def fail_after(self, seconds: float) -> Iterator[None]:
        """Raise TimeoutError if the context takes longer, without the time in which the attempt waits for memory."""
        with fail_after(seconds) as scope:
            self._inner_scopes.append(scope)
            try:
                yield
            finally:
                self._inner_scopes.remove(scope)

    @contextmanager
    def waiting_for_memory(self, *, resting: bool) -> Iterator[None]:
        """Suspend all deadlines within the context. *resting*: the attempt may be stopped within it."""
        scopes = [scope for scope in (self._scope, *self._inner_scopes) if scope is not None]
        deadlines, began = [scope.deadline for scope in scopes], current_time()
        for scope in scopes:
            scope.deadline = math.inf
        if resting and self._stopping:
            self.cancel()
        rested, self.resting, self.waits_for_memory = self.resting, resting, True
        try:
            yield
        finally:
            self.resting, self.waits_for_memory = rested, False
            waited = current_time() - began
            for scope, deadline in zip(scopes, deadlines, strict=True):
                scope.deadline = deadline + waited
            if self._paused_deadline is not None:
                self._paused_deadline += waited

    def record_status(self, word: str, progress: float | None, at: datetime) -> None:
        before = self.observation
        since = before.since if before is not None and before.word == word else at
        self.observation = JobObservation(word, since, progress)

    def record_poll_error(self, error: str) -> None:
        self.observation = replace(self.observation or JobObservation(), poll_error=error)

    def wake(self, callback_body: bytes) -> None:
        """Record a provider's callback, and end the attempt's sleep or skip its next one."""
        self.callback_body, self._callback_unseen = callback_body, True
        if self._woken is not None:
            self._woken.set()

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds*, or until the provider calls back."""
        self.resume_deadline()
        if self._stopping:
            self.cancel()
        if self._callback_unseen:
            self._callback_unseen = False
            return
        with self.at_rest():
            self._woken = woken = asyncio.Event()
            with move_on_after(seconds):
                await woken.wait()
                self._callback_unseen = False
