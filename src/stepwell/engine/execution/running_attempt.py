"""What an attempt in this process is held by, and its line to its run."""

import asyncio
import math
from datetime import datetime
from typing import Protocol
from uuid import UUID

from anyio import CancelScope, current_time, move_on_after
from msgspec import Struct
from msgspec.structs import replace

from stepwell.domain.lifecycle.inputs import Input
from stepwell.engine.admission.controller import Slot
from stepwell.engine.admission.model_health import TrackedAttempt
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.checkpointer import Checkpointer


class JobObservation(Struct, frozen=True):
    """What an attempt in this process has seen of its job: the provider's own `word` for what it does, and since when
    it says so; `progress`, 0 to 1, where it tells; `trouble`: why the last call about it had no answer to go by.
    """

    word: str | None = None
    since: datetime | None = None
    progress: float | None = None
    trouble: str | None = None


class RunningAttempt(Struct):
    """An attempt in this process. `slot` is null once it is given back, `flight` for one that isn't counted or once its
    outcome is; `task` is for one that waits for something. It
    is cancelled by its scope: a worker process on its way up must not be torn from its parent half-way. `resting`: it
    waits for its time, and for nothing that would be lost. `told` is what its
    provider has called back with, last; `called`: that it has, and nobody has looked since. `look` is null before the
    first look at a job.
    """

    slot: Slot | None
    flight: TrackedAttempt | None = None
    task: asyncio.Task[None] | None = None
    scope: CancelScope | None = None
    cancelled: bool = False
    resting: bool = False
    nudged: asyncio.Event | None = None
    told: bytes | None = None
    called: bool = False
    look: JobObservation | None = None

    def noted(self, word: str, progress: float | None, at: datetime) -> None:
        """How its job stands."""
        same = self.look is not None and self.look.word == word
        since = self.look.since if self.look is not None and same else at
        self.look = JobObservation(word, since, progress)

    def troubled(self, error: str) -> None:
        """A call about its job had no answer to go by."""
        self.look = replace(self.look or JobObservation(), trouble=error)

    def nudge(self, told: bytes) -> None:
        """A provider has called back."""
        self.told, self.called = told, True
        if self.nudged is not None:
            self.nudged.set()

    def within(self, timeout_s: float) -> CancelScope:
        self.scope = CancelScope(deadline=current_time() + timeout_s)
        if self.cancelled:
            self.scope.cancel()
        return self.scope

    def cancel(self) -> None:
        self.cancelled = True
        if self.scope is not None:
            self.scope.cancel()


class Runs(Protocol):
    """The scheduler, as far as an attempt may go."""

    handles: dict[UUID, ActiveWorkflow]
    checkpointer: Checkpointer

    @property
    def stopping(self) -> bool: ...

    def feed(self, handle: ActiveWorkflow, given: Input) -> bool: ...


class AttemptControl:
    """`runner.Leash` of one attempt."""

    def __init__(self, runs: Runs, handle: ActiveWorkflow, live: RunningAttempt) -> None:
        self._runs, self._handle, self._live = runs, handle, live
        self._held: float | None = None  # the deadline, while it doesn't strike

    @property
    def cancelled(self) -> bool:
        return self._live.cancelled

    @property
    def told(self) -> bytes | None:
        return self._live.told

    def within(self, timeout_s: float) -> CancelScope:
        return self._live.within(timeout_s)

    def extend(self, seconds: float) -> None:
        self._held = None
        if self._live.scope is not None:
            self._live.scope.deadline = current_time() + seconds

    def hold(self) -> None:
        if self._live.scope is not None and self._held is None:
            self._held, self._live.scope.deadline = self._live.scope.deadline, math.inf

    def resume(self) -> None:
        if self._live.scope is not None and self._held is not None:
            self._live.scope.deadline, self._held = self._held, None

    def feed(self, given: Input) -> bool:
        present = self._runs.handles.get(self._handle.workflow_id) is self._handle
        return present and self._runs.feed(self._handle, given)

    async def committed(self) -> None:
        await self._runs.checkpointer.flushed(self._handle.workflow_id)

    def noted(self, word: str, progress: float | None, at: datetime) -> None:
        self._live.noted(word, progress, at)

    def troubled(self, error: str) -> None:
        self._live.troubled(error)

    async def nap(self, seconds: float) -> None:
        self.resume()
        if self._runs.stopping:
            self._live.cancel()
        if self._live.called:
            self._live.called = False
            return
        self._live.resting = True
        try:
            self._live.nudged = nudged = asyncio.Event()
            with move_on_after(seconds):
                await nudged.wait()
                self._live.called = False
        finally:
            self._live.resting = False
