"""Admission of workflows: those beyond the bounds wait in the database, and enter memory in a fair order.

A workflow that waits for admission is RUNNING and has no owner. Nothing of it is in memory.

What must hold:
- Every waiting workflow is admitted at last, while some process lives whose slots become free. So a process
  looks for waiting workflows when it may have missed some: at the start, after a claim, after an outage, and when
  another process announces some. Otherwise it knows those that it has stored itself.
- A process that knows of no waiting workflow, or has no free slot, sends no statement.
- Two processes never run the same workflow: the database gives each waiting workflow to one of them, with a new epoch.
  A verb on a waiting workflow is written only if the workflow wasn't admitted in the meantime, and is repeated then.
- While workflows are tried alone after crashes, all others wait (`Ownership.holds_back`). The claim then admits them.
- A workflow is admitted while no claim of this process runs. Otherwise the claim could take it for one that this
  process owns without knowing it.
- A parked workflow that is due waits for admission. A process looks for those that are due when it may not know when
  the next one is, as above, and at that time. A process that parks a workflow knows when that is due; if it dies,
  others look when its lease has ended (`LeaseStore.next_expiry`).
- An announcement may get lost. Then this process alone admits what it has stored, until another one looks. If this
  process dies, others look as soon as its lease has ended.
"""

import asyncio
from collections import Counter

import structlog

from stepwell.basics.errors import TooManyRequests, Unavailable
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.ownership import Ownership
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.engine.execution.workflow_slots import WorkflowUse
from stepwell.ports.clock import Clock
from stepwell.ports.processes import Coordination
from stepwell.ports.storage import WorkflowStore

log = structlog.get_logger()

_PAGE = 200  # workflows that are admitted at once
_UNPARKED = 1_000  # parked workflows that one statement lets wait for admission
_RETRY_S = 0.5
_ANNOUNCE_S = 0.1  # between two announcements
_COUNT_S = 1.0  # a count that is older is repeated before a request is refused


class WorkflowAdmission:
    """Decides which workflows may be active in this process, and admits those that wait.

    A database that takes longer than *slow_s* for a write is slow. `unparked` counts the parked workflows that this
    process has found due.
    """

    busy = False  # `Ownership` renews the lease while workflows are in memory

    def __init__(
        self,
        queue: WorkflowQueue,
        workflow_store: WorkflowStore,
        scheduler: Scheduler,
        ownership: Ownership,
        clock: Clock,
        coordination: Coordination,
        slow_s: float,
    ) -> None:
        self.queue, self._slots = queue, queue.slots
        self._workflow_store, self._scheduler, self._slow_s = workflow_store, scheduler, slow_s
        self._ownership, self._clock, self._coordination = ownership, clock, coordination
        self._admitting, self._counting = asyncio.Lock(), asyncio.Lock()
        self._counted_at = -float("inf")
        self.unparked = 0

    @property
    def waiting(self) -> int:
        """The number of workflows that are known to wait."""
        return self._slots.waiting

    # Requests

    async def check(self, tenant: str | None, slots: int = 1, *, held: int = 0) -> None:
        """Raise `TooManyRequests` or `Unavailable` if the tenant may not start a workflow of so many *slots* now.

        It already holds *held* slots, if it is in memory.
        """
        slow = self._scheduler.checkpointer.is_slow(self._slow_s)
        try:
            self._slots.check(tenant, slots, held=held, slow=slow)
        except (TooManyRequests, Unavailable):
            if not self._is_count_old:
                raise
        else:
            return
        await self._count()
        self._slots.check(tenant, slots, held=held, slow=slow)

    async def use(self, tenant: str | None) -> WorkflowUse:
        """Return the limits and the use of the tenant. Raises `Unavailable`."""
        if (self._slots.waiting or self.queue.uncounted) and self._is_count_old:
            await self._count()
        return self._slots.use(tenant)

    def quota(self, tenant: str | None) -> tuple[int, int]:
        """Return how many workflows the tenant may have active and waiting, and how many it may start now."""
        limits = self._slots.limits
        return limits.active_of(tenant) + limits.waiting_of(tenant), self._slots.remaining(tenant)

    def may_run(self, workflow: ActiveWorkflow) -> bool:
        """Return whether a workflow in memory that is about to be started may be active."""
        if workflow.run.active:
            return True
        slots = workflow.slots
        return not self._ownership.holds_back and self._slots.has_slots(workflow.tenant, slots, held=slots)

    def take_slots(self, tenant: str | None, slots: int) -> bool:
        """Take slots for a new workflow. Return False if there are none: then the workflow must wait."""
        if has_slots := not self._ownership.holds_back and self._slots.has_slots(tenant, slots):
            self._slots.take(tenant, slots)
        return has_slots

    def give_back(self, tenant: str | None, slots: int) -> None:
        """Give back slots, just before the workflow is registered, or because it won't be."""
        self._slots.give_back(tenant, slots)
        if self._slots.waiting:  # it may not be registered, so that nothing else wakes them
            self.queue.woken.set()

    async def take_over(self) -> None:
        """Admit what may be admitted now. The claim has just released the workflows of dead processes.

        Only the first claim waits for that. Later, `run` admits them, so that a slow admission delays no claim.
        """
        self.queue.others_changed()
        if not self._ownership.caught_up.is_set():
            await self._admit_all()

    # Tasks

    async def run(self) -> None:
        """Admit workflows whenever there is reason to. Runs until it is cancelled."""
        while True:
            await self.queue.woken.wait()
            self.queue.woken.clear()
            try:
                if self.queue.overdue and not self._scheduler.stopping:
                    await self._unpark_due()
                await self._admit_all()
            except Unavailable:
                # They may have been admitted all the same. The claim finds those, and calls `take_over`.
                self._ownership.claims.request(unsure=True)

    async def announce(self) -> None:
        """Announce to other processes that workflows wait. Runs until it is cancelled."""
        presence = (await self._coordination.other_processes()).presence
        while True:
            await self.queue.unannounced.wait()
            self.queue.unannounced.clear()
            try:
                await presence.announce()
            except Unavailable:
                log.warning("admission.unannounced", action="announce")
            await asyncio.sleep(_ANNOUNCE_S)

    async def _unpark_due(self) -> None:
        """Let all parked workflows that are due wait for admission, and learn when the next one is due."""
        number, is_due = _UNPARKED, self.queue.next_due is None
        while number >= _UNPARKED:
            self.queue.overdue = False
            unparked = None
            try:
                unparked = await self._workflow_store.unpark(_UNPARKED)
            finally:
                self.queue.overdue |= unparked is None
            number = sum(unparked.waiting.values())
            self.unparked += number
            for tenant, waiting in unparked.waiting.items():
                self._slots.add_waiting(tenant, waiting)
            if number:
                self.queue.unannounced.set()
            # Another process may have let the one that this process knows of wait for admission, and have died then.
            self.queue.uncounted |= is_due and not number
            if unparked.paused:
                self.queue.add_due_paused(unparked.paused)
            if unparked.next_at is not None:
                self.queue.wake_at(unparked.next_at)

    async def _admit_all(self) -> None:
        async with self._admitting:
            while self._slots.free and not self._scheduler.stopping and not self._ownership.holds_back:
                if self.queue.uncounted:
                    await self._count()
                shares = self._slots.next_shares(_PAGE)
                if not shares:
                    return
                if not await self._admit(shares):
                    # A verb is changing them now, or they have ended. The next count shows that.
                    self._clock.call_later(_RETRY_S, self.queue.woken.set)
                    return

    async def _admit(self, shares: dict[str | None, int]) -> bool:
        """Admit workflows for *shares*, the slots by tenant. Return False if no workflow was found that waits."""
        for tenant, slots in shares.items():
            self._slots.take(tenant, slots)
        try:
            result = await self._ownership.admit(shares)
        finally:
            for tenant, slots in shares.items():
                self._slots.give_back(tenant, slots)
        filled, number = Counter[str | None](), Counter[str | None]()
        for each in result.loaded:
            filled[each.tenant] += each.slots
            number[each.tenant] += 1
        for tenant, slots in shares.items():
            next_slots = result.next_slots.get(tenant)
            self._slots.record_admission(tenant, number[tenant], next_slots)
            self.queue.uncounted |= next_slots is None and filled[tenant] < slots
        return bool(result.loaded or result.next_slots)

    @property
    def _is_count_old(self) -> bool:
        return self._clock.monotonic() - self._counted_at > _COUNT_S

    async def _count(self) -> None:
        async with self._counting:
            self.queue.uncounted, self._counted_at = False, self._clock.monotonic()
            self._slots.begin_count()
            counts = None
            try:
                counts = await self._workflow_store.waiting()
            finally:
                self.queue.uncounted |= counts is None
                self._slots.end_count(counts)
