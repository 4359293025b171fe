"""Claims workflows that need a process and have none, and keeps the lease of this process.

This is the only claim: the same claim runs at boot, after an outage in which a result was lost, after this process
has lost a workflow, and after another process or its lease has ended.

What must hold:
- An idle process that is alone on its database sends no statement. A notification reports when another process comes
  to life, for the first time or again.
- An idle process that shares its database with living ones sends one statement per lease period, and holds no lease.
- Whatever makes the process busy wakes `run`, so that the lease is renewed from then on.
- The work of a process that died is taken over within about one lease period, and at once if that process ended in
  order.
- A row that can't be read, or whose writes are refused, keeps no other workflow from being claimed.
- After several unclean ends, workflows are tried one after the other before all others (`Trials`).
- No verb waits for a claim or a trial. `hold` brings its workflow into memory, starts nothing of it, and keeps its dead
  owner.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.claim_requests import RENEWED_AFTER, ClaimRequests
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.limit_divider import LimitDivider
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.timers import wait_until_set
from stepwell.engine.execution.trials import Trials, start_claimed
from stepwell.lifecycle.records import AdmissionResult, LoadedWorkflow
from stepwell.ports.clock import Clock
from stepwell.ports.processes import Coordination
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.offloop import off_loop
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

RUNS_ELSEWHERE = "another process runs the workflow, and it alone can change it; ask that one, or later"
NEEDS_NEWER_VERSION = (
    "only a newer version of Stepwell understands the workflow; ask a process of that version, or later"
)
REFUSED = "workflow: the database refused to store its progress"
UNLOADABLE = "this process can't read or write the rows of the workflow; its log says why"
_PAGE, _RELEASED = 200, 1_000
_MIN_PAUSE_S = 0.05


class Claimer(Protocol):
    """Takes over work of dead processes that isn't a workflow. It needs the lease while it does that work."""

    @property
    def busy(self) -> bool:
        """True while it needs the lease."""

    async def take_over(self) -> None:
        """Take over what dead processes have left, and what this process may have lost. Raises `Unavailable`."""


class Ownership:
    """Renews the lease while this process has work, and claims workflows that need a process."""

    def __init__(
        self,
        workflow_store: WorkflowStore,
        scheduler: Scheduler,
        lease: Lease,
        claims: ClaimRequests,
        coordination: Coordination,
        clock: Clock,
        runner: AttemptRunner,
        *,
        limits: LimitDivider,
    ) -> None:
        self._workflow_store, self._scheduler, self._lease, self._clock = workflow_store, scheduler, lease, clock
        self._limits, self._runner, self._coordination = limits, runner, coordination
        self.claims, self.trials = claims, Trials(scheduler, lease, clock)
        self._claimers: Sequence[Claimer] = ()
        self._claiming = asyncio.Lock()
        self.claimed = asyncio.Event()  # set once this process has claimed, and may run what it stores
        self.unloadable: set[UUID] = set()  # not claimed again: this process can't read or write their rows
        self._waiting = False
        self.caught_up = asyncio.Event()  # set once everything that could be claimed at the start is claimed
        self.others_alive = False  # as far as this process knows
        self.rounds = 0  # rounds of `run`, including the one that it waits to begin

    @property
    def resting(self) -> bool:
        """True while `run` waits and nothing has woken it."""
        return self._waiting and not self.claims.woken.is_set()

    @property
    def holds_back(self) -> bool:
        """True while no other workflow may become active: during trials, and before the first claim."""
        return self.trials.holds_back or not self.claimed.is_set()

    async def boot(self) -> None:
        """Set the clock and get the first lease. `run` then claims page by page."""
        self.trials.boot()
        await self._workflow_store.set_clock()
        await self._lease.acquire()
        self.claims.request()

    async def hold(self, workflow_id: UUID) -> None:
        """Bring a workflow that no live process runs into memory for a verb, on hold: see `ActiveWorkflow`.

        If this process has lost the workflow, wait until the last attempt of it has ended here. Nothing happens if a
        live process runs it. Raises `Unavailable`, also if this version can't read or write the workflow.
        """
        if workflow_id not in self._scheduler.workflows:
            await self._scheduler.leaving.wait_until_quiet(workflow_id)
        async with self._claiming:
            await self._hold(workflow_id)
        if workflow_id in self.unloadable:
            raise Unavailable(UNLOADABLE, 5)

    async def _hold(self, workflow_id: UUID) -> ActiveWorkflow | None:
        """Return the workflow as it is in memory, or on hold. None if a live process runs it, or no process has to."""
        if workflow_id not in self._scheduler.held | self.unloadable:
            loaded = await self._workflow_store.fence(self._lease.owner, workflow_id)
            if loaded is not None and not loaded.is_understood:
                raise Unavailable(NEEDS_NEWER_VERSION, 5)
            for workflow in await self._build_all([] if loaded is None else [loaded]):
                workflow.on_hold = True
                self._scheduler.register(workflow)
        return self._scheduler.workflows.get(workflow_id)

    async def admit(self, wanted: Mapping[str | None, int]) -> AdmissionResult:
        """Take waiting workflows into memory, for so many slots of each tenant. Raises `Unavailable`."""
        await self._lease.ensure()
        async with self._claiming:
            if self.holds_back:  # a claim has begun trials meanwhile
                return AdmissionResult([], {})
            used = [each.workflow_id for each in self._scheduler.workflows.values() if not each.run.active]
            result = await self._workflow_store.admit(self._lease.owner, wanted, used)
            await self.register(result.loaded)
        return result

    async def run(self, claimers: Sequence[Claimer]) -> None:
        """Renew the lease while there is work, and claim when there is reason to. Ends when the lease is released.

        *claimers* take over what isn't a workflow, after each claim.
        """
        self._claimers, claims, next_expiry_s = claimers, self.claims, math.inf
        while not self._lease.released:
            claims.idle, claims.pause_s = not self._busy, self._pause_s(next_expiry_s)
            self.rounds += 1
            self._waiting = True
            await wait_until_set(claims.woken, self._clock, claims.pause_s)
            self._waiting = claims.idle = False
            claims.woken.clear()
            next_expiry_s = await self._round()
            self.others_alive = next_expiry_s < math.inf
            if self.others_alive:
                self._limits.wake()  # the notification may have been lost

    @property
    def _busy(self) -> bool:
        return bool(self._scheduler.workflows) or any(claimer.busy for claimer in self._claimers)

    def _pause_s(self, next_expiry_s: float) -> float:
        if self.claims.wanted:
            return OUTAGE_RETRY_S
        return next_pause_s(self._lease.seconds, next_expiry_s, busy=self._busy)

    async def _round(self) -> float:
        """Do what is due. Return the seconds until another process's lease may have ended.

        Infinite: no other process is alive, or the database was away, so that the claim must be repeated.
        """
        try:
            if self._busy:
                await self._lease.ensure()
            if not self.claims.wanted and (next_expiry_s := await self._coordination.next_expiry_s()) != 0:
                return next_expiry_s
            self.claims.wanted = False
            await self._lease.ensure()
            async with self._limits.claiming():
                await self._claim_pages()
            next_expiry_s = await self._coordination.next_expiry_s()
        except Unavailable:
            self.claims.wanted = True
            return math.inf
        # Whatever is left can't be claimed now, and asking all the time doesn't change that.
        return next_expiry_s or self._lease.seconds / 3

    async def _claim_pages(self) -> None:
        await self._release_idle()
        total, claimed = 0, _PAGE
        while claimed and not self._scheduler.stopping:
            await self._lease.ensure()
            claimed = await self._claim_next()
            total += claimed
        self.trials.reset()  # only now: after an outage, and between the pages, they don't begin again
        for claimer in self._claimers:
            if not self._scheduler.stopping:
                await claimer.take_over()
        if total:
            log.info("recovery.claimed", action="claim", workflows=total)
        self.caught_up.set()

    async def _release_idle(self) -> None:
        """Let workflows of dead processes wait for admission if they have no attempt: there may be too many."""
        released = _RELEASED
        while released == _RELEASED and not self._scheduler.stopping:
            async with self._claiming:
                held, now = self._held, self._clock.now()
                released = await self._workflow_store.release_idle(self._lease.owner, held, now, _RELEASED)

    @property
    def _held(self) -> set[UUID]:
        """The ids of the workflows that a claim must leave alone."""
        suspect = self.trials.suspect
        return self._scheduler.held | self.unloadable | (set() if suspect is None else {suspect})

    async def _claim_next(self) -> int:
        """Claim a page and register it, or claim one workflow and try it alone. Return the number of workflows."""
        async with self._claiming:  # for one page: a verb may need a workflow earlier
            owner, held, now, divided = self._lease.owner, self._held, self._clock.now(), self._limits.divided
            may_try = self.trials.may_begin
            loaded = await self._workflow_store.claim(owner, held, now, _PAGE, trials=may_try, divided=divided)
            self.claimed.set()
            deaths = loaded[0].crashes_on_trial if loaded else None
            if deaths is None:
                self.trials.nothing_to_try()
                await self.register(loaded)
                return len(loaded)
            workflow_id = loaded[0].state.id
            self.trials.begin(workflow_id)
        try:
            failure = await self.trials.prepare(workflow_id, deaths)
            async with self._claiming:
                workflow = await self._hold(workflow_id)  # verbs may have changed it since the claim
            if workflow is not None and workflow.run.state.owner is not None:
                await self.trials.try_alone(workflow, deaths, failure)
        finally:
            self.trials.end()
        return len(loaded)

    async def register(self, page: list[LoadedWorkflow]) -> None:
        """Take claimed workflows into memory, and start their pending work."""
        for workflow in await self._build_all(page):
            workflow.refusals = self.claims.refusals.pop(workflow.workflow_id, 0)
            if workflow.workflow_id in self._scheduler.held:
                # Claimed although this process runs it, and now can't write it any more. That should not happen. If it
                # does, the workflow is claimed again later.
                self._scheduler.drop(workflow.workflow_id)
            else:
                self._scheduler.register(workflow)
                start_claimed(self._scheduler, workflow, REFUSED if workflow.refusals else None)
            await asyncio.sleep(0)

    async def _build_all(self, page: list[LoadedWorkflow]) -> list[ActiveWorkflow]:
        workflows = []
        for loaded in page:
            if (workflow := await off_loop(partial(self._build, loaded), steps=loaded.unit_count)) is not None:
                workflows.append(workflow)
            await self._lease.ensure()  # a page may be long
            await asyncio.sleep(0)
        await load_results(self._workflow_store, workflows)
        return workflows

    def _build(self, loaded: LoadedWorkflow) -> ActiveWorkflow | None:
        workflow_id = loaded.state.id
        try:
            if self.claims.refusals.get(workflow_id, 0) <= 1:
                return ActiveWorkflow(loaded, self._runner.works_here)
            log.error("recovery.unwritable", action="claim", workflow_id=str(workflow_id))
        except Exception:  # one row that can't be read must not stop all others
            log.exception("recovery.unreadable", action="claim", workflow_id=str(workflow_id))
        self.unloadable.add(workflow_id)
        return None


def next_pause_s(lease_s: float, next_expiry_s: float, *, busy: bool) -> float:
    """Return how many seconds to wait before the lease is renewed, or the leases of others are read again.

    *next_expiry_s* is the seconds until the first of the others' leases ends. If it is infinite, nobody else is alive,
    so only a notification ends the pause.
    """
    next_expiry_s = max(next_expiry_s, _MIN_PAUSE_S)
    if busy:
        return min(lease_s * RENEWED_AFTER, next_expiry_s)
    if next_expiry_s >= lease_s * (1 - RENEWED_AFTER):
        # The process has renewed its lease just now. If it dies before it renews the lease again, this pause ends
        # within 1 + `RENEWED_AFTER` leases.
        return max(next_expiry_s, lease_s)
    return next_expiry_s


async def load_results(workflow_store: WorkflowStore, workflows: list[ActiveWorkflow]) -> None:
    """Load the stored results that mappings will read, in one round trip, and put them into the runs.

    Attempts load the results of a workflow that has larger ones.
    """
    positions_of = {
        each.workflow_id: positions
        for each in workflows
        if (positions := each.run.results_in_memory.to_load(each.run.output_budget.result_bytes))
    }
    if positions_of:
        results = await workflow_store.results(EVERY_TENANT, positions_of)
        for workflow in workflows:
            workflow.run.results_in_memory.put(results.get(workflow.workflow_id, {}))
