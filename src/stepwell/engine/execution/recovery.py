"""Take over what needs a process and has none. There is no recovery but this: the same claim runs at boot, after an
outage in which an answer was lost, when a run was lost, and when another process has ended, or its lease.

What must hold, for a process that is idle:
- Alone it asks the database nothing: it is told of a process that comes to life, for the first time or again.
- Beside others that are alive it asks one question a lease period, and holds no lease.
- Whatever makes it busy wakes it, so that its lease is renewed from then on.
- What a process has left is taken over within about a lease, and at once if it ended in order.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import structlog

from stepwell.domain.errors import Unavailable
from stepwell.domain.lifecycle.inputs import GiveUp
from stepwell.domain.records import LoadedWorkflow
from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.timers import wait_until_set
from stepwell.offloop import off_loop
from stepwell.ports.clock import Clock
from stepwell.ports.events import Presence
from stepwell.ports.storage import WorkflowStore

log = structlog.get_logger()

RUNS_ELSEWHERE = "another process runs the workflow, and it alone can change it; ask that one, or later"
_PAGE = 200
_CRASHES = 20
_RETRY_S = 0.5
_MIN_PAUSE_S = 0.05
_LISTEN_AGAIN_S = 1.0


class Recovery:
    """*lease_s* and *presence* null mean that no other process can live on this database: then nothing is waited for.
    *statement_s* is how long a statement whose answer was lost may still be at work in the database.
    """

    def __init__(
        self,
        journal: WorkflowStore,
        scheduler: Scheduler,
        clock: Clock,
        owner: UUID,
        lease_s: float | None,
        presence: Presence | None,
        *,
        statement_s: float = 10.0,
    ) -> None:
        self._journal, self._scheduler, self._clock = journal, scheduler, clock
        self._owner, self._lease_s, self._statement_s = owner, lease_s, statement_s
        self._presence = presence
        self._renewed = -float("inf")
        self._stirred = asyncio.Event()
        self._claim_wanted = False
        self.caught_up = asyncio.Event()  # set once all that could be claimed at the start has been
        self._claiming, self._leasing = asyncio.Lock(), asyncio.Lock()
        self._hopeless: set[UUID] = set()
        self._closed = False
        self._resting = False  # until it is stirred, or the next claim is due: no lease is renewed
        # What else may be left by the dead, and be a reason to hold a lease.
        self.take_over: Callable[[], Awaitable[None]] | None = None
        self.also_busy: Callable[[], bool] = lambda: False
        scheduler.on_lost, scheduler.on_adopted = self.request, self._wake

    async def boot(self) -> None:
        """Establish this process. What it can take over it claims page by page, once it runs."""
        await self._journal.set_clock()
        await self._journal.renew_lease(self._owner, self._lease_s)
        self._renewed = self._clock.monotonic()
        if self._lease_s is None:
            await self._journal.expire_others(self._owner)
        self.request()

    def request(self, *, unsure: bool = False) -> None:
        """Claim again soon: there may be workflows of this process that only the database knows. *unsure*: once more
        when no statement can be at work any more that makes one.
        """
        self._claim_wanted = True
        self._stirred.set()
        if unsure:
            self._clock.call_later(self._statement_s + 1, self.request)

    async def claim(self, workflow_id: UUID) -> None:
        """Take that one over now, if that can be: somebody asks for it, before its page has come."""
        async with self._claiming:
            if workflow_id not in self._scheduler.held | self._hopeless:
                await self._take_page(1, workflow_id)

    async def hold_lease(self) -> None:
        """Make sure that the lease has some time left; a workflow must not be owned by a process that seems dead."""
        if self._lease_s is None or not self._lease_aged(self._lease_s):
            return
        async with self._leasing:
            if self._lease_aged(self._lease_s) and not self._closed:
                started = self._clock.monotonic()
                await self._journal.renew_lease(self._owner, self._lease_s)
                self._renewed = started
                self._stirred.set()

    async def keep_lease(self) -> None:
        """As `hold_lease`, and it will have some as long as there is `also_busy`."""
        await self.hold_lease()
        self._wake()

    async def release(self) -> None:
        """End the lease in order, for good: the workflows of this process may be claimed at once."""
        self._closed = True
        async with self._leasing:
            await self._journal.release(self._owner)

    async def run(self) -> None:
        """Renew the lease while there is work, and claim when there is reason to."""
        next_look = None
        while not self._closed:
            pause = self._pause(next_look)
            self._resting = not self._busy
            await wait_until_set(self._stirred, self._clock, pause)
            self._stirred.clear()
            self._resting = False
            next_look = await self._round()

    async def watch(self) -> None:
        """Look around when others come to life, or end in order. Until it is cancelled."""
        while self._presence is not None:
            try:
                async with self._presence.watching(self._stirred.set) as ear:
                    self._stirred.set()  # what was told before hasn't been heard
                    await ear.until_deaf()
            except Unavailable:
                pass
            except Exception as error:  # noqa: BLE001 - a database that knows no LISTEN must not end the service
                log.warning("recovery.unheard", action="claim", error=repr(error))
            await asyncio.sleep(_LISTEN_AGAIN_S)

    def _wake(self) -> None:
        """There is something to do; `run` may not have seen it when it was last awake."""
        if self._lease_s is not None and self._resting:
            self._stirred.set()

    @property
    def _busy(self) -> bool:
        return bool(self._scheduler.handles) or self.also_busy()

    def _lease_aged(self, lease_s: float) -> bool:
        return self._clock.monotonic() - self._renewed > lease_s / 4

    def _pause(self, next_look: float | None) -> float | None:
        if self._claim_wanted:
            return _RETRY_S
        if next_look is not None:
            next_look = max(next_look, _MIN_PAUSE_S)
        if self._lease_s is not None and self._busy:
            return min(self._lease_s / 3, next_look or self._lease_s)
        if self._lease_s is not None and next_look is not None and next_look >= self._lease_s * 2 / 3:
            return max(next_look, self._lease_s)  # of one that renews in time, as who lives does
        return next_look

    async def _round(self) -> float | None:
        """Seconds until the next look around; null: when a claim is requested, or others are heard of."""
        try:
            if self._busy:
                await self.hold_lease()
            if not self._claim_wanted and (next_look := await self._next_look()) != 0:
                return next_look
            self._claim_wanted = False
            await self._claim_all()
            next_look = await self._next_look()
        except Unavailable:
            self._claim_wanted = True
            return None
        # What is left all the same can't be claimed now, and not the sooner for asking all the time.
        return self._lease_s / 3 if self._lease_s is not None and next_look == 0 else next_look

    async def _next_look(self) -> float | None:
        return None if self._lease_s is None else await self._journal.next_expiry(self._owner)

    async def _claim_all(self) -> None:
        total, found = 0, _PAGE
        while found and not self._scheduler.stopping:
            await self.hold_lease()
            async with self._claiming:  # for one page: a request may want one out of turn
                found = await self._take_page(_PAGE)
            total += found
        if self.take_over is not None and not self._scheduler.stopping:
            await self.take_over()
        if total:
            log.info("recovery.claimed", action="claim", workflows=total)
        self.caught_up.set()

    async def _take_page(self, limit: int, only: UUID | None = None) -> int:
        held = self._scheduler.held | self._hopeless
        loaded = await self._journal.claim(self._owner, held, self._clock.now(), limit, only)
        if loaded:
            await self._take_up(loaded)
        return len(loaded)

    async def _take_up(self, page: list[LoadedWorkflow]) -> None:
        handles = []
        for loaded in page:
            if (handle := await off_loop(partial(self._handle, loaded), steps=len(loaded.steps))) is not None:
                handles.append(handle)
            await self.hold_lease()  # a page may be long
            await asyncio.sleep(0)
        await load_results(self._journal, handles)
        for handle in handles:
            if handle.workflow_id in self._scheduler.held:
                # Claimed under a run of ours, which can't write any more. It shouldn't be; then it comes again.
                self._scheduler.lose(handle.workflow_id)
            elif (reason := self._why_not(handle)) is not None:
                self._scheduler.adopt(handle)
                self._scheduler.feed(handle, GiveUp(reason))
                if self._scheduler.handles.get(handle.workflow_id) is handle:
                    self._scheduler.take_up(handle)  # what it has at providers is ended all the same
            else:
                self._scheduler.recover(handle)
            await asyncio.sleep(0)

    def _handle(self, loaded: LoadedWorkflow) -> ActiveWorkflow | None:
        workflow_id = loaded.state.id
        try:
            if self._scheduler.refused[workflow_id] <= 1:
                return ActiveWorkflow(loaded)
            log.error("recovery.unwritable", action="claim", workflow_id=str(workflow_id))
        except Exception:  # one row that can't be read must not stop all others
            log.exception("recovery.unreadable", action="claim", workflow_id=str(workflow_id))
        self._hopeless.add(workflow_id)
        return None

    def _why_not(self, handle: ActiveWorkflow) -> str | None:
        """Why the workflow can't be run any further."""
        if handle.run.state.crashes >= _CRASHES:
            return f"workflow: its process ended {handle.run.state.crashes} times without progress"
        if self._scheduler.refused[handle.workflow_id]:
            return "workflow: the database refused to store its progress"
        return None


async def load_results(journal: WorkflowStore, handles: list[ActiveWorkflow]) -> None:
    """Put the stored results that mappings will read into the runs, in one round trip."""
    wanted = {handle.workflow_id: positions for handle in handles if (positions := handle.run.wanted_results())}
    if wanted:
        found = await journal.results(EVERY_TENANT, wanted)
        for handle in handles:
            handle.put_results(found.get(handle.workflow_id, {}))
