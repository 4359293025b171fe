"""The shares of limits that this process has now. `execution.limit_divider` changes them.

While the process is alone, it has all limits for itself, and this costs one comparison for each start. Then each start
of a model with a rate is paced here, by the controller. Otherwise the starts are reserved in the database.

What must hold:
- Nothing starts while the lease has ended: others may use the limits then.
- What this process knew of its shares is void once its lease has ended, even if it gets another one.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

LATE_S = 0.5  # a reserved start that is later than this is lost


class LeaseTerm(Protocol):
    """The lease of this process. `holds` is true until it has ended: then others may run this one's workflows.

    `term` changes with each lease that doesn't continue the one before.
    """

    @property
    def holds(self) -> bool: ...
    @property
    def term(self) -> int: ...


class ReservedStarts(Struct):
    """Reserved starts, in monotonic seconds. `number` are left, the next of them at `next_at` or up to 1 s earlier.

    `lead_s` is how much earlier. At `expires_at` the last one is lost.
    """

    next_at: float
    interval_s: float
    number: int
    lead_s: float
    expires_at: float


class LimitShares:
    """The part of each pool that this process may use. *now* returns monotonic seconds.

    `changed` is set when a step could start with a larger share that isn't requested yet, and when others wait
    for a slot that this process doesn't need any more. `LimitDivider` waits for that.
    """

    def __init__(self, lease: LeaseTerm | None, now: Callable[[], float]) -> None:
        self._lease, self._now = lease, now
        self.changed = asyncio.Event()
        self._term: int | None = None  # of the lease for which the rest was read
        self._sole = False
        self._allowed: dict[str, int] = {}
        self._wanted_by_others: set[str] = set()
        self._lacking: set[str] = set()  # for which larger shares are requested
        self._starts: dict[str, ReservedStarts] = {}
        self.starts_from = -math.inf  # while alone: no start is known before it; monotonic

    @property
    def unshared(self) -> bool:
        """True if no other process can be on the database."""
        return self._lease is None

    @property
    def whole(self) -> bool:
        """True if this process may use all limits."""
        lease = self._lease
        return lease is None or (self._sole and lease.term == self._term and lease.holds)

    @property
    def known(self) -> bool:
        """True if the shares are those of the present lease."""
        return self._lease is None or (self._term is not None and self._lease.term == self._term)

    @property
    def lapsed(self) -> bool:
        """True if the shares are those of an earlier lease, and others may have found this process dead."""
        return self._term is not None and not self.known

    def slots(self, pool: str, limit: int) -> int:
        """Return how many slots of *pool* this process may use. *limit* is the pool's own."""
        if self.whole:
            return limit
        if not self.known or self._lease is None or not self._lease.holds:
            return 0
        return min(self._allowed.get(pool, 0), limit)

    def want(self, pool: str) -> None:
        """Report that a step waits for a larger share of *pool*, or for a start."""
        if pool not in self._lacking or not self.known:
            self.changed.set()

    def is_wanted(self, pool: str) -> bool:
        """Return whether other processes wait for slots of *pool*."""
        return pool in self._wanted_by_others

    def released(self, pool: str, used: int, *, idle: bool) -> None:
        """Report that a slot of *pool* was released, so that *used* are left. *idle*: no step waits for it here."""
        if idle or used >= self._allowed.get(pool, 0):
            self.changed.set()

    def seconds_until_start(self, pool: str) -> float | None:
        """Return the seconds until the next reserved start; 0 or less if it is now. None if there is none."""
        starts = self._starts.get(pool)
        if starts is None or not self.known or self._lease is None or not self._lease.holds:
            return None
        if self._now() > starts.expires_at:
            del self._starts[pool]
            return None
        return starts.next_at - starts.lead_s - self._now()

    def count_start(self, pool: str) -> None:
        if (starts := self._starts.get(pool)) is not None:
            starts.number -= 1
            starts.next_at += starts.interval_s
            if not starts.number:
                del self._starts[pool]

    # Called by the divider

    def has_starts(self, pool: str) -> bool:
        return self.seconds_until_start(pool) is not None

    def allowed(self, pool: str) -> int:
        return self._allowed.get(pool, 0) if self.known else 0

    def restrict(self, term: int, allowed: dict[str, int]) -> None:
        """Before the change of the division is written: use no more than before it, and no more than after it."""
        if self._term != term:
            self._allowed = {}
        elif self._sole:
            self._allowed = dict(allowed)
        else:
            self._allowed = {pool: min(slots, self._allowed.get(pool, 0)) for pool, slots in allowed.items()}
        self._term, self._sole = term, False

    def use_shares(
        self, allowed: dict[str, int], wanted: set[str], lacking: set[str], starts: dict[str, ReservedStarts]
    ) -> None:
        """After the change is written: use what it gives this process.

        *wanted*: the pools for which others wait. *lacking*: those of which this process wants more.
        """
        self._allowed, self._wanted_by_others, self._lacking = allowed, wanted, lacking
        self._starts.update(starts)

    def use_whole(self, term: int, starts_from: float) -> None:
        """After the change is written: use all limits."""
        self._term, self._sole, self.starts_from = term, True, starts_from
        self._allowed, self._wanted_by_others, self._lacking, self._starts = {}, set(), set(), {}
