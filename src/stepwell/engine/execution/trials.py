"""Trials: after several unclean ends, the workflows that had an attempt under way are tried one after the other.

What must hold:
- The trials come before anything else is claimed or admitted. After `TRIALS_S` they end, however many workflows are
  left. See `lifecycle.unclean_ends`.
- A workflow on trial stays the only one under way. Verbs change it on hold (`Ownership.hold`), so they don't change how
  its deaths are counted.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.lifecycle.inputs import GiveUp, TrialBegun
from stepwell.lifecycle.unclean_ends import CALM_S, TRIAL_S, TRIALS_S, failure_after
from stepwell.ports.clock import Clock

log = structlog.get_logger()

_POLL_S = 0.05


class Trials:
    """Tries one workflow at a time that may have crashed its process. `Ownership` claims it first.

    `suspect` is the workflow on trial, or the one whose trial is about to begin.
    """

    def __init__(self, scheduler: Scheduler, lease: Lease, clock: Clock) -> None:
        self._scheduler, self._lease, self._clock = scheduler, lease, clock
        self._booted_at = 0.0
        self.calm_s, self.trial_s, self.trials_s = CALM_S, TRIAL_S, TRIALS_S
        self._end: float | None = None  # monotonic; None until a claim has found a workflow to try
        self.suspect: UUID | None = None

    @property
    def may_begin(self) -> bool:
        """True if the next claim may find a workflow to try."""
        return self._end is None or self._clock.monotonic() < self._end

    @property
    def holds_back(self) -> bool:
        """True while no other workflow may become active."""
        return (self._end is not None and self._clock.monotonic() < self._end) or self.suspect is not None

    def boot(self) -> None:
        """Begin the calm time at the start of the process, in which no trial begins."""
        self._booted_at = self._clock.monotonic()

    def nothing_to_try(self) -> None:
        """End the trials because the claim has found no workflow to try."""
        if self._end is not None:
            self._end = min(self._end, self._clock.monotonic())

    def reset(self) -> None:
        """Let trials begin again with the next claim. Called when everything is claimed."""
        self._end = None

    def begin(self, workflow_id: UUID) -> None:
        """Hold all other workflows back until `end`, because this one is to be tried."""
        self._end = self._end or self._clock.monotonic() + self.calm_s + self.trials_s
        self.suspect = workflow_id

    def end(self) -> None:
        self.suspect = None

    async def prepare(self, workflow_id: UUID, deaths: int) -> str | None:
        """Wait until a trial may begin. Return why the workflow must fail without one; None if it may be tried.

        Raises `Unavailable`.
        """
        log.warning("recovery.trial", action="claim", workflow_id=str(workflow_id), deaths=deaths)
        failure = failure_after(deaths)
        if failure is None:
            await self._wait_while(lambda: self._clock.monotonic() < self._booted_at + self.calm_s)
        return failure

    async def try_alone(self, workflow: ActiveWorkflow, deaths: int, failure: str | None) -> None:
        """Run the workflow until it has a checkpoint of its own, ends, only waits, or has run for `trial_s`.

        With a *failure* it fails at once. Raises `Unavailable`.
        """
        workflow_id = workflow.workflow_id
        with self._scheduler.pin(workflow):
            if failure is None:
                self._scheduler.apply(workflow, TrialBegun(deaths + 1))
                written = asyncio.gather(self._scheduler.checkpointer.flushed(workflow_id), return_exceptions=True)
                await self._wait_while(lambda: not written.done())
            if workflow.evicted.is_set() or not workflow.run.active or self._scheduler.stopping:
                return
            start_claimed(self._scheduler, workflow, failure)
        end, resting = self._clock.monotonic() + self.trial_s, False
        while not workflow.evicted.is_set() and self._clock.monotonic() < end and not self._scheduler.stopping:
            was_resting, resting = resting, workflow.is_resting
            if not workflow.run.state.crashes or (was_resting and resting):  # resting: it waits for time to pass
                return
            await self._lease.ensure()
            await asyncio.sleep(_POLL_S)

    async def _wait_while(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* is false or the service stops, and keep the lease. Raises `Unavailable`."""
        while condition() and not self._scheduler.stopping:
            await self._lease.ensure()
            await asyncio.sleep(_POLL_S)


def start_claimed(scheduler: Scheduler, workflow: ActiveWorkflow, failure: str | None) -> None:
    """Start the pending work of a workflow in memory. *failure* is why it can't be run any further."""
    workflow.on_hold = False
    if failure is not None:
        scheduler.apply(workflow, GiveUp(failure))
    if not workflow.evicted.is_set():
        scheduler.start_pending(workflow)  # after a failure, its jobs at providers are ended all the same
