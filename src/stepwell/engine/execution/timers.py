"""The timers of workflows in memory: a step's next attempt, a workflow's deadline; and waits with a time limit."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from stepwell.domain.lifecycle.inputs import Input
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.ports.clock import Clock


async def wait_until_set(event: asyncio.Event, clock: Clock, seconds: float | None) -> None:
    """Wait for *event*. After *seconds* of *clock* it is set by itself; None: never."""
    timer = None if seconds is None else clock.call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        if timer is not None:
            timer.cancel()


class Timers:
    """*fire* gets the handle and the input that is due; *guarded* makes a callback safe for the event loop."""

    def __init__(
        self,
        clock: Clock,
        fire: Callable[[ActiveWorkflow, Input], None],
        guarded: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        self._clock, self._deliver, self._guarded = clock, fire, guarded

    def set(self, handle: ActiveWorkflow, position: int | None, at: datetime | None, given: Input) -> None:
        """*position* is null for the workflow's own; a null time takes the earlier one back."""
        if (timer := handle.timers.pop(position, None)) is not None:
            timer.cancel()
        if at is not None:
            delay = max((at - self._clock.now()).total_seconds(), 0.0)
            fire = self._guarded(partial(self._fire, handle, position, given))
            handle.timers[position] = self._clock.call_later(delay, fire)

    def drop(self, handle: ActiveWorkflow) -> None:
        for timer in handle.timers.values():
            timer.cancel()
        handle.timers.clear()

    def _fire(self, handle: ActiveWorkflow, position: int | None, given: Input) -> None:
        handle.timers.pop(position, None)
        self._deliver(handle, given)
