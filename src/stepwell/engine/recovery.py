"""Take over what needs a process and has none. There is no recovery but this: the same claim runs at boot, after an
outage in which an answer was lost, and when another process's lease has ended.
"""

import asyncio
import contextlib
import time
from uuid import UUID

import structlog

from stepwell.domain.errors import Unavailable
from stepwell.domain.inputs import GiveUp
from stepwell.domain.records import EVERY_TENANT, LoadedWorkflow
from stepwell.engine.handle import Handle
from stepwell.engine.scheduler import Scheduler
from stepwell.ports import Journal

log = structlog.get_logger()

_PAGE = 200
_CRASHES = 20
_RETRY_S = 0.5


class Recovery:
    """*lease_s* null means that no other process can live on this database: then nothing is waited for."""

    def __init__(self, journal: Journal, scheduler: Scheduler, owner: UUID, lease_s: float | None) -> None:
        self._journal, self._scheduler, self._owner, self._lease_s = journal, scheduler, owner, lease_s
        self._renewed = -float("inf")
        self._stirred = asyncio.Event()
        self._claim_wanted = False

    async def boot(self) -> None:
        """Establish this process and claim all that can be claimed now."""
        await self._journal.set_clock()
        await self._journal.renew_lease(self._owner, self._lease_s)
        self._renewed = time.monotonic()
        if self._lease_s is None:
            await self._journal.expire_others(self._owner)
        await self._claim()

    def request(self) -> None:
        """Claim again soon: the answer to a write was lost, so there may be workflows that only the database knows."""
        self._claim_wanted = True
        self._stirred.set()

    async def hold_lease(self) -> None:
        """Make sure that the lease has some time left; a workflow must not be owned by a process that seems dead."""
        if self._lease_s is not None and time.monotonic() - self._renewed > self._lease_s / 4:
            started = time.monotonic()
            await self._journal.renew_lease(self._owner, self._lease_s)
            self._renewed = started
            self._stirred.set()

    async def run(self) -> None:
        """Renew the lease while there is work, and claim when there is reason to. No statement while idle and alone."""
        # At boot the dead may still look alive: come back when their leases have ended.
        next_claim = self._lease_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause(next_claim)):
                    await self._stirred.wait()
            self._stirred.clear()
            if self._claim_wanted or next_claim is not None:
                self._claim_wanted = True
            next_claim = await self._round()

    def _pause(self, next_claim: float | None) -> float | None:
        if self._claim_wanted:
            return _RETRY_S
        if self._lease_s is not None and self._scheduler.handles:
            return min(self._lease_s / 3, next_claim or self._lease_s)
        return next_claim

    async def _round(self) -> float | None:
        """Seconds until the next claim is due; null: when it is requested."""
        try:
            if self._scheduler.handles:
                await self.hold_lease()
            if self._claim_wanted:
                self._claim_wanted = False
                await self._claim()
            return None if self._lease_s is None else await self._journal.next_expiry(self._owner)
        except Unavailable:
            self._claim_wanted = True
            return None

    async def _claim(self) -> None:
        while True:
            held = list(self._scheduler.handles)
            loaded = await self._journal.claim(self._owner, held, _PAGE)
            if not loaded:
                return
            log.info("recovery.claimed", action="claim", workflows=len(loaded))
            await self._take_up(loaded)

    async def _take_up(self, page: list[LoadedWorkflow]) -> None:
        handles = [Handle(loaded) for loaded in page]
        await load_results(self._journal, handles)
        for handle in handles:
            if handle.run.state.crashes >= _CRASHES:
                reason = f"workflow: its process ended {handle.run.state.crashes} times without progress"
                self._scheduler.adopt(handle)
                self._scheduler.feed(handle, GiveUp(reason))
            else:
                self._scheduler.recover(handle)
            await asyncio.sleep(0)


async def load_results(journal: Journal, handles: list[Handle]) -> None:
    """Put the stored results that mappings will read into the runs, in one round trip."""
    wanted = {handle.workflow_id: positions for handle in handles if (positions := handle.run.wanted_results())}
    if wanted:
        found = await journal.results(EVERY_TENANT, wanted)
        for handle in handles:
            handle.put_results(found.get(handle.workflow_id, {}))
