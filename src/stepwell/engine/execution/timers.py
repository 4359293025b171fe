"""Timers of workflows in memory (a step's next attempt, a workflow's deadline, its parking), and waits with a limit.

A workflow that only waits is parked: it leaves memory.

What must hold:
- A workflow that only waits, and for long, leaves memory `park_after_s` after its last change, or at once if others
  wait for its slot.
- A workflow that is never parked costs one comparison for each of its decisions.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.lifecycle.effects import DeadlineAt, WakeAt
from stepwell.lifecycle.inputs import DeadlinePassed, Input, Park, RetryDue
from stepwell.ports.clock import Clock

_AT_ONCE = 100  # timers that fire in one iteration of the event loop, because thousands may be due at once
PARK_AFTER_S: Final = 10.0


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
    ends the scheduler. *queue* knows whether other workflows wait for the slots of those in memory.
    """

    def __init__(
        self,
        clock: Clock,
        queue: WorkflowQueue,
        apply: Callable[[ActiveWorkflow, Input], object],
        fail_fast: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        self._clock, self._queue, self._apply, self._fail_fast = clock, queue, apply, fail_fast
        self._fired = 0  # in this iteration of the event loop
        self._late: deque[tuple[ActiveWorkflow, Input]] = deque()
        self.park_after_s = PARK_AFTER_S

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

    def wake(self, workflow: ActiveWorkflow, effect: WakeAt) -> None:
        self.set(workflow, effect.position, effect.at, RetryDue(effect.position))

    def set_deadline(self, workflow: ActiveWorkflow, effect: DeadlineAt) -> None:
        self.set(workflow, None, effect.at, DeadlinePassed())

    def cancel_all(self, workflow: ActiveWorkflow) -> None:
        for timer in workflow.timers.values():
            timer.cancel()
        workflow.timers.clear()
        _cancel_parking(workflow)

    def consider_parking(self, workflow: ActiveWorkflow) -> None:
        """Park the workflow later, if it only waits. Called after each change of it."""
        if (parking := workflow.run.parking) is None:  # hot path
            return
        _cancel_parking(workflow)
        if parking.may_begin(self._clock.now()):
            seconds = 0.0 if self._queue.is_crowded else self.park_after_s
            workflow.park_timer = self._clock.call_later(seconds, self._fail_fast(partial(self._park, workflow)))

    def _park(self, workflow: ActiveWorkflow) -> None:
        workflow.park_timer = None
        self._apply(workflow, Park())

    def _fire(self, workflow: ActiveWorkflow, position: int | None, due: Input) -> None:
        workflow.timers.pop(position, None)
        if not self._fired:
            asyncio.get_running_loop().call_soon(self._fail_fast(self._begin_iteration))
        self._fired += 1
        if self._fired > _AT_ONCE:
            self._late.append((workflow, due))
        else:
            self._apply(workflow, due)

    def _begin_iteration(self) -> None:
        self._fired = min(len(self._late), _AT_ONCE)
        if not self._fired:
            return
        asyncio.get_running_loop().call_soon(self._fail_fast(self._begin_iteration))
        for _ in range(self._fired):
            self._apply(*self._late.popleft())


def _cancel_parking(workflow: ActiveWorkflow) -> None:
    if workflow.park_timer is not None:
        workflow.park_timer.cancel()
        workflow.park_timer = None
