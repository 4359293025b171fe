"""Timers of workflows in memory (a step's next attempt, a workflow's deadline), and waits with a time limit."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Input
from stepwell.ports.clock import Clock

_AT_ONCE = 100  # timers that fire in one turn of the event loop: the rest of thousands that are due at once follows


async def wait_until_set(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Wait until *event* is set. After *seconds* of *clock* this function sets it, unless they are infinite."""
    timer = clock.call_later(seconds, event.set) if seconds < math.inf else None
    try:
        await event.wait()
    finally:
        if timer is not None:
            timer.cancel()


class Timers:
    """Sets the timers of workflows. The workflows keep them, in `ActiveWorkflow.timers`.

    *apply* is called with the workflow and the input that is due. If a callback raises, *fail_fast*
    ends the scheduler.
    """

    def __init__(
        self,
        clock: Clock,
        apply: Callable[[ActiveWorkflow, Input], object],
        fail_fast: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        self._clock, self._apply, self._fail_fast = clock, apply, fail_fast
        self._fired = 0  # in this turn of the event loop
        self._late: deque[tuple[ActiveWorkflow, Input]] = deque()

    def set(self, workflow: ActiveWorkflow, position: int | None, at: datetime | None, due: Input) -> None:
        """Apply *due* at the time *at*, instead of what the timer of that position had; None cancels the timer.

        *position* is None for the workflow's own timer.
        """
        if (timer := workflow.timers.pop(position, None)) is not None:
            timer.cancel()
        if at is not None:
            delay = max((at - self._clock.now()).total_seconds(), 0.0)
            fire = self._fail_fast(partial(self._fire, workflow, position, due))
            workflow.timers[position] = self._clock.call_later(delay, fire)

    def cancel_all(self, workflow: ActiveWorkflow) -> None:
        for timer in workflow.timers.values():
            timer.cancel()
        workflow.timers.clear()
        if workflow.park_timer is not None:
            workflow.park_timer.cancel()
            workflow.park_timer = None

    def _fire(self, workflow: ActiveWorkflow, position: int | None, due: Input) -> None:
        workflow.timers.pop(position, None)
        if not self._fired:
            asyncio.get_running_loop().call_soon(self._fail_fast(self._begin_turn))
        self._fired += 1
        if self._fired > _AT_ONCE:
            self._late.append((workflow, due))
        else:
            self._apply(workflow, due)

    def _begin_turn(self) -> None:
        self._fired = min(len(self._late), _AT_ONCE)
        if not self._fired:
            return
        asyncio.get_running_loop().call_soon(self._fail_fast(self._begin_turn))
        for _ in range(self._fired):
            self._apply(*self._late.popleft())
