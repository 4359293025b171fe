"""Lets workflows that only wait leave memory: they are parked.

What must hold:
- A workflow that only waits, and for long, leaves memory `after_s` after its last change, or at once if others wait for
  its place.
- A workflow that is never parked costs one comparison for each of its decisions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Input, Park
from stepwell.ports.clock import Clock

PARK_AFTER_S: Final = 10.0


class Parking:
    """Applies `Park` to workflows that only wait. *apply* and *fail_fast* are the scheduler's.

    `is_crowded` says whether other workflows wait for the places of those in memory.
    """

    def __init__(
        self,
        clock: Clock,
        apply: Callable[[ActiveWorkflow, Input], object],
        fail_fast: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        self._clock, self._apply, self._fail_fast = clock, apply, fail_fast
        self.after_s = PARK_AFTER_S
        self.is_crowded: Callable[[], bool] = lambda: False

    def consider(self, workflow: ActiveWorkflow) -> None:
        """Park the workflow later, if it only waits. Called after each change of it."""
        if (run := workflow.flow_run) is None:  # hot path
            return
        if workflow.park_timer is not None:
            workflow.park_timer.cancel()
            workflow.park_timer = None
        if run.may_park(self._clock.now()):
            seconds = 0.0 if self.is_crowded() else self.after_s
            workflow.park_timer = self._clock.call_later(seconds, self._fail_fast(partial(self._park, workflow)))

    def _park(self, workflow: ActiveWorkflow) -> None:
        workflow.park_timer = None
        self._apply(workflow, Park())
