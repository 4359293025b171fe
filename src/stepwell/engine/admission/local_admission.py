"""Admission of LOCAL's work: child processes are shared out by the weight of the work, not by its count.

A step of LOCAL passes two stages. First it gets a slot, in the order of `AdmissionController`. With the slot it fetches
its files, and its work is weighed. Then it waits for a worker.

What must hold:
- Tenants are served by start-time fair queueing (Goyal, Vin and Cheng, 1996): each start has a tag, the weight that the
  tenant was served before. The least tag is next, for slots and for workers. A tenant that had nothing to do begins at
  the tag of the latest start, so it neither saves up service nor waits for the service of others.
- A step whose weight isn't known yet is charged like the latest weighed step of its tenant, and the difference when it
  is weighed.
- No tenant waits for a slot that another tenant holds: beyond the limit, a tenant without a slot gets one.
- At most `slots` workers run at once. One more may run a light step of a tenant without a worker, while heavy steps
  have all of them.
- The memory of the workers together is at most `max_memory`. The extra worker's share, `LIGHT_MEMORY`, is kept free for
  it. Whoever is first in the order and doesn't fit holds up all who come after it, apart from the extra worker. So
  heavy work isn't overtaken for ever.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from uuid import UUID

from msgspec import Struct

from stepwell.engine.admission.queue_position import WeightedRank, WeightedTurns
from stepwell.ports.providers import LIGHT_MEMORY, WorkWeight

_FIRST_COST = 1.0  # megapixels: the expected cost of a tenant's first step
_LEAST_COST = 0.001  # so that positions in the queue can be computed
_MOST_TAGS = 1_000  # beyond this number, tags that no longer matter are dropped

StepKey = tuple[UUID, int]  # a workflow, and the position of a step in it


class _WeighedAttempt(Struct, eq=False):
    """An attempt of a weighed step that waits for a worker or has one. `turn` is set when it gets one."""

    step: StepKey
    tenant: str | None
    tag: float
    weight: WorkWeight
    turn: asyncio.Future[None]


class _ChildProcess(Struct, frozen=True):
    tenant: str | None
    weight: WorkWeight
    extra: bool


class LocalAdmission:
    """Shares LOCAL's slots and workers out. *max_memory* is in bytes; if it is None, work is not weighed."""

    def __init__(self, slots: int, max_memory: int | None) -> None:
        self.slots, self.max_memory = slots, max_memory
        self._now = 0.0  # the tag of the latest start
        self._tags: dict[str | None, float] = {}  # of each tenant's next start
        self._numbers: dict[str | None, int] = {}  # decide between equal tags
        self._next_number = count()
        self._expected: dict[str | None, float] = {}
        self._held: Counter[str | None] = Counter()  # slots by tenant
        self._starts: dict[StepKey, float] = {}  # the tags of the steps that hold slots
        self._charged: dict[StepKey, float] = {}
        # By attempt, because one may still end while the next one of the same step begins.
        self._waiting: dict[_WeighedAttempt, None] = {}  # in the order in which they came
        self._workers: dict[_WeighedAttempt, _ChildProcess] = {}

    @property
    def working(self) -> int:
        """The number of workers that are taken."""
        return len(self._workers)

    def may_start(self, tenant: str | None, used: int) -> bool:
        """Return whether *tenant* may get a slot, while *used* slots are taken."""
        return used < self.slots or (self.max_memory is not None and not self._held[tenant])

    def in_order(self, tenants: Iterable[str | None], used: int) -> Iterator[str | None]:
        """Return those of *tenants* that may get a slot, while *used* slots are taken, the first in the order first."""
        allowed = [tenant for tenant in tenants if self.may_start(tenant, used)]
        return iter(allowed if self.max_memory is None else sorted(allowed, key=self._order))

    def tag(self, tenant: str | None) -> float:
        """Return the tag of the tenant's next start."""
        return max(self._now, self._tags.get(tenant, 0.0))

    def _order(self, tenant: str | None) -> tuple[float, int]:
        return self.tag(tenant), self._numbers.setdefault(tenant, next(self._next_number))

    def expected_cost(self, tenant: str | None) -> float:
        return self._expected.get(tenant, _FIRST_COST)

    def rank(self, turns: Mapping[str | None, int], own: str | None) -> WeightedRank:
        """Return the rank of the tenant *own*. *turns* is how many steps each tenant has in the queue."""
        in_order = sorted(turns, key=lambda tenant: self._order(tenant)[1])
        all_turns = [WeightedTurns(self.tag(name), self.expected_cost(name), turns[name]) for name in in_order]
        at = in_order.index(own)
        return WeightedRank(all_turns[at], all_turns[:at], all_turns[at + 1 :])

    def slot_taken(self, tenant: str | None, step: StepKey) -> None:
        """Charge a start."""
        if self.max_memory is None:
            return
        tag, cost = self.tag(tenant), self.expected_cost(tenant)
        self._now = tag
        self._tags[tenant], self._starts[step], self._charged[step] = tag + cost, tag, cost
        self._held[tenant] += 1

    def slot_released(self, tenant: str | None, step: StepKey) -> None:
        if self.max_memory is None:
            return
        self._starts.pop(step, None)
        self._charged.pop(step, None)
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        if len(self._tags) > _MOST_TAGS:
            old = [name for name, tag in self._tags.items() if tag <= self._now and not self._held[name]]
            for name in old:
                del self._tags[name]
                self._expected.pop(name, None)
                self._numbers.pop(name, None)

    @asynccontextmanager
    async def worker(self, tenant: str | None, step: StepKey, weight: WorkWeight) -> AsyncIterator[None]:
        """Hold a worker: wait for it, and give it back at the end.

        Raises `AttemptError`, not retryable, if there can never be enough memory.
        """
        if self.max_memory is None:
            yield
            return
        weight.check_fits(self.max_memory)
        attempt = _WeighedAttempt(step, tenant, self._starts.get(step, self._now), weight, asyncio.Future())
        self._waiting[attempt] = None
        try:
            self._assign()
            await attempt.turn
            yield
        finally:
            self._waiting.pop(attempt, None)
            self._workers.pop(attempt, None)
            self._assign()

    def queue(self) -> list[tuple[StepKey, WorkWeight]]:
        """Return the steps that wait for a worker, in their order, and their weights."""
        return [(attempt.step, attempt.weight) for attempt in self._in_turn()]

    def _in_turn(self) -> list[_WeighedAttempt]:
        return sorted(self._waiting, key=lambda attempt: attempt.tag)

    def charge(self, tenant: str | None, step: StepKey, cost: float) -> None:
        """Charge the true cost of a step that holds a slot."""
        if (charged := self._charged.get(step)) is not None:
            cost = max(cost, _LEAST_COST)
            self._tags[tenant] += cost - charged
            self._charged[step] = self._expected[tenant] = cost

    def _assign(self) -> None:
        """Give free workers to those who are first in the order."""
        for attempt in self._in_turn():
            if not self._has_worker(attempt.weight):
                break
            self._start(attempt, extra=False)
        # The extra worker may be used if all others have heavy work, or wait for memory.
        if not any(worker.extra or worker.weight.light for worker in self._workers.values()):
            busy = {worker.tenant for worker in self._workers.values()}
            for attempt in self._in_turn():
                if attempt.weight.light and attempt.tenant not in busy:
                    self._start(attempt, extra=True)
                    return

    def _start(self, attempt: _WeighedAttempt, *, extra: bool) -> None:
        del self._waiting[attempt]
        self._workers[attempt] = _ChildProcess(attempt.tenant, attempt.weight, extra)
        if not attempt.turn.done():  # else it was cancelled, and gives the worker back at once
            attempt.turn.set_result(None)

    def _has_worker(self, weight: WorkWeight) -> bool:
        assert self.max_memory is not None
        regular = [worker.weight.memory for worker in self._workers.values() if not worker.extra]
        return len(regular) < self.slots and sum(regular) + weight.memory <= self.max_memory - LIGHT_MEMORY
