"""Divides the limits among this process and the others on its database. The rules are in `rules.limit_division`.

What must hold:
- A process that is alone sends two statements when it needs the limits after it got a lease, and none besides.
- A process with nothing to start gives its shares up, and sends none after that.
- A process that others wait for, or that waits itself, reads the division again within a third of a lease, because
  notifications get lost.
- A change that is refused because another one came first is decided again. A change whose result is lost gives this
  process nothing.
- A division that this process can't read, or can't decide on, is read again soon. Until then nothing changes,
  here or in the database, and nothing is claimed.
- While this process claims workflows, the shares of dead processes count. They count no more once its own shares count
  the attempts that it has claimed.
- A claim takes nothing if others have found this process dead since its claim began.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import structlog

from stepwell.basics.errors import Unavailable
from stepwell.engine.dispatch.limit_demand import divide, needs_shares
from stepwell.engine.dispatch.limit_shares import LATE_S, ReservedStarts
from stepwell.engine.dispatch.pools import DividedPool, ModelPool, rate_key
from stepwell.engine.dispatch.start_rates import leeway_s
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.timers import wait_until_set
from stepwell.ports.clock import Clock
from stepwell.ports.processes import LimitStore
from stepwell.rules.limit_division import (
    Division,
    DivisionChange,
    Membership,
    PoolUse,
    Share,
    Starts,
    first_unknown_start,
    is_alone,
    other_claimers,
    uncounted,
)
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()


_TRIES = 20
_BETWEEN_S = 0.03  # from one division to the next


class _Moment:
    """The time of a read, by both clocks. The database's clock was read between the two monotonic times."""

    def __init__(self, database: float, before: float, after: float) -> None:
        self.database, self.before, self.after = database, before, after

    def monotonic(self, at: float) -> float:
        """Return a time of the database in monotonic seconds, or somewhat later."""
        return self.after + at - self.database

    def in_database(self, at: float) -> float:
        """Return a monotonic time as a time of the database, or somewhat later."""
        return self.database + at - self.before


class LimitDivider:
    """Keeps the shares of *step_queue* up to date, and lets *scheduler* start the steps that may start then."""

    def __init__(
        self, store: LimitStore, lease: Lease, step_queue: StepQueue, clock: Clock, scheduler: Scheduler
    ) -> None:
        self._store, self._lease, self._step_queue, self._clock = store, lease, step_queue, clock
        self._shares, self._scheduler = step_queue.shares, scheduler
        self.divided = not self._shares.unshared  # other processes can be on the database
        self._woken, self._dividing = self._shares.changed, asyncio.Lock()
        self._claims = 0
        self._lapsed = False  # the lease has ended since the last division that no other process claimed in
        self._is_member = False
        self._turn_ends = math.inf  # monotonic
        self._last_use: dict[str, Share] | None = None  # at the stop of this process
        self._unreadable: set[UUID] = set()  # processes whose shares can't be read
        self._failed = False  # the last division, for a reason that isn't the database's

    def wake(self) -> None:
        """Divide soon: another process may have come to life, have ended or changed its shares, or wait for some."""
        self._woken.set()

    async def run(self) -> None:
        """Divide whenever there is reason to. Runs until it is cancelled."""
        if not self.divided:
            return
        while True:
            await wait_until_set(self._woken, self._clock, self._pause_s())
            self._woken.clear()
            try:
                if self._has_reason:
                    await self._divide()
            except Unavailable:
                self._clock.call_later(OUTAGE_RETRY_S, self._woken.set)
            await asyncio.sleep(_BETWEEN_S)

    @asynccontextmanager
    async def claiming(self) -> AsyncIterator[None]:
        """A context for a claim. At its end the claimed workflows are in memory. Entering raises `Unavailable`."""
        if not self.divided:
            yield
            return
        self._claims += 1
        try:
            if not self._shares.whole:
                await self._divide()
            yield
        finally:
            self._claims -= 1
            self._woken.set()

    def begin_stop(self) -> None:
        """Note what is used now: jobs go on at providers when the process has ended."""
        use: dict[str, Share] = {}

        def part(pool: str, wanted: PoolUse) -> int:
            if wanted.used:
                use[pool] = Share(wanted.used, wanted.used, 0, 0.0)
            return 0

        divide(self._step_queue, part, lambda _pool, _per_minute, _number: None)
        self._last_use = use

    async def leave(self) -> None:
        """Give everything up, apart from what was used at the stop. Raises `Unavailable`."""
        if self.divided and self._shares.known and self._lease.holds:
            await self._divide()

    @property
    def _has_reason(self) -> bool:
        needed = needs_shares(self._step_queue)
        if not self._lease.holds:
            return needed
        return needed or self._is_member or self._shares.whole or bool(self._claims) or self._has_lapsed

    @property
    def _has_lapsed(self) -> bool:
        return self._lapsed or self._shares.lapsed

    def _pause_s(self) -> float:
        if self._shares.whole or not (self._is_member or self._has_lapsed):
            return math.inf
        until_turn_ends = max(self._turn_ends - self._clock.monotonic(), _BETWEEN_S)
        return min(self._lease.seconds / 3, until_turn_ends)

    async def _divide(self) -> None:
        """Divide once. Raises `Unavailable`, also if other processes were quicker each time."""
        async with self._dividing:
            for number in range(_TRIES):
                try:
                    is_divided = await self._try()
                except Unavailable:
                    raise
                except Exception as error:
                    if not self._failed:  # it is tried again all the time
                        log.exception("limits.undivided", action="limits")
                    self._failed = True
                    raise Unavailable("the division of limits can't be read") from error
                self._failed = False
                if is_divided:
                    self._scheduler.start_steps()
                    return
                await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(number, 6)))  # noqa: S311 - no secret
        raise Unavailable("other processes divide the limits all the time")

    async def _try(self) -> bool:
        """Read the division, and change it if needed. Return False if that must be repeated."""
        if not self._lease.holds:
            await self._lease.ensure()
        term, before = self._lease.term, self._clock.monotonic()
        self._lapsed = self._has_lapsed
        division = await self._store.read(self._lease.owner)
        moment = _Moment(division.now, before, self._clock.monotonic())
        if not division.alive or self._lease.term != term:
            return False
        self._log_unreadable(division)
        removed = uncounted(division, self._lease.owner, claiming=bool(self._claims))
        if self._last_use is None and is_alone(division, self._lease.owner, removed):
            return await self._use_whole(division, removed, term, moment)
        return await self._use_shares(division, removed, term, moment)

    def _log_unreadable(self, division: Division) -> None:
        unreadable = {each.owner for each in division.members if not each.readable}
        for owner in unreadable - self._unreadable:
            log.warning("limits.unreadable_shares", action="limits", process=str(owner))
        self._unreadable = unreadable

    async def _use_whole(self, division: Division, removed: set[UUID], term: int, moment: _Moment) -> bool:
        if self._shares.whole:
            return True
        starts_from = first_unknown_start(division, removed)
        change = DivisionChange(
            version=division.version,
            sole=self._lease.owner,
            claiming=False,
            shares=None,
            removed=removed,
            starts={},
            starts_from=starts_from,
            notify=False,
        )
        if not await self._store.write(self._lease.owner, change):
            return False
        if division.sole != self._lease.owner:
            self._step_queue.rates.continue_after({pool: moment.monotonic(at) for pool, at in division.starts.items()})
        self._shares.use_whole(term, moment.monotonic(starts_from))
        self._is_member = self._lapsed = False
        self._turn_ends = math.inf
        return True

    async def _use_shares(self, division: Division, removed: set[UUID], term: int, moment: _Moment) -> bool:
        starts = {pool: moment.in_database(at) for pool, at in self._step_queue.rates.next_starts().items()}
        keep_slots = self._lapsed and bool(other_claimers(division, self._lease.owner))
        membership = Membership(
            division, self._lease.owner, removed, starts, claiming=bool(self._claims), keep_slots=keep_slots
        )
        left_out: list[DividedPool] = []
        if self._last_use is None:
            left_out = divide(self._step_queue, membership.part, partial(self._reserve, membership))
        else:
            membership.keep(self._last_use)
        allowed = {pool: part.allowed for pool, part in membership.parts.items()}
        self._shares.restrict(term, allowed)
        change = membership.change()
        if change is not None and not await self._store.write(self._lease.owner, change):
            return False
        reserved = {pool: _in_monotonic(each, moment) for pool, each in membership.reserved.items()}
        wanted = {pool for pool, part in membership.parts.items() if part.others_wait}
        lacking = membership.lacking | {rate_key(pool) for pool in membership.unreserved}
        for pool in left_out:
            if isinstance(pool, ModelPool):
                lacking |= {pool.key, rate_key(pool.key)}
        self._shares.use_shares(allowed, wanted, lacking, reserved)
        self._is_member, self._lapsed = membership.is_member, keep_slots
        ends = [part.turn_ends for part in membership.parts.values() if part.turn_ends is not None]
        self._turn_ends = moment.monotonic(min(ends)) if ends else math.inf
        return True

    def _reserve(self, membership: Membership, pool: str, per_minute: float, number: int) -> None:
        if not self._shares.has_starts(pool):
            membership.reserve(pool, per_minute, number)


def _in_monotonic(starts: Starts, moment: _Moment) -> ReservedStarts:
    next_at = moment.monotonic(starts.first)
    # The process may have stood still after the read, so the end counts from before it.
    last_at = moment.before + starts.first - moment.database + (starts.number - 1) * starts.interval_s
    return ReservedStarts(next_at, starts.interval_s, starts.number, leeway_s(60 / starts.interval_s), last_at + LATE_S)
