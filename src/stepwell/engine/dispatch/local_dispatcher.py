"""Divides the child processes of LOCAL by the weight of the work, not by its count.

A step of LOCAL passes two stages. First it gets a slot, in the order of `StepQueue`. With the slot it fetches
its files, and its work is weighed. Then it waits for a child process.

What must hold:
- Tenants are served by start-time fair queueing (Goyal, Vin and Cheng, 1996): each start has a tag, the weight that the
  tenant was served before. The least tag is next, for slots and for child processes. A tenant that had nothing to do
  begins at the tag of the latest start, so it neither saves up service nor waits for the service of others.
- A step whose weight isn't known yet is charged like the latest weighed step of its tenant, and the difference when it
  is weighed.
- No tenant waits for a slot that another tenant holds: beyond the limit, a tenant without a slot gets one.
- At most `slots` child processes run at once. An extra one may run a light step of a tenant without a child process,
  while heavy steps have all of them.
- The memory of the child processes together is at most `max_memory`, of which `LIGHT_MEMORY` stays free for the extra
  one. If the first step in the order doesn't fit, all later ones wait, except for a step in the extra child process.
  So heavy work isn't overtaken for ever.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from uuid import UUID

from msgspec import Struct

from stepwell.engine.dispatch.queue_position import WeightedRank, WeightedTurns
from stepwell.ports.providers import LIGHT_MEMORY, WorkWeight

_FIRST_COST = 1.0  # megapixels: the expected cost of a tenant's first step
_LEAST_COST = 0.001  # so that positions in the queue can be computed
_MOST_TAGS = 1_000  # beyond this number, tags that no longer matter are dropped

StepKey = tuple[UUID, int]  # a workflow, and the position of a step in it


class _WeighedAttempt(Struct, eq=False):
    """An attempt of a weighed step that waits for a child process or has one. `granted` is set when it gets one."""

    step: StepKey
    tenant: str | None
    tag: float
    weight: WorkWeight
    granted: asyncio.Future[None]


class _ChildProcess(Struct, frozen=True):
    tenant: str | None
    weight: WorkWeight
    extra: bool


class LocalDispatcher:
    """Divides LOCAL's slots and child processes. *max_memory* is in bytes; if it is None, work is not weighed."""

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
        self._processes: dict[_WeighedAttempt, _ChildProcess] = {}

    @property
    def used(self) -> int:
        return len(self._processes)

    def may_start(self, tenant: str | None, used: int) -> bool:
        """Return whether *tenant* may get a slot, while *used* slots are taken."""
        return used < self.slots or (self.max_memory is not None and not self._held[tenant])

    def in_order(self, tenants: Iterable[str | None], used: int) -> Iterator[str | None]:
        """Return those of *tenants* that may get a slot, while *used* slots are taken, the first in the order first."""
        allowed = [tenant for tenant in tenants if self.may_start(tenant, used)]
        return iter(allowed if self.max_memory is None else sorted(allowed, key=self._order))

    def tag(self, tenant: str | None) -> float:
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

    def take_slot(self, tenant: str | None, step: StepKey) -> None:
        if self.max_memory is None:
            return
        tag, cost = self.tag(tenant), self.expected_cost(tenant)
        self._now = tag
        self._tags[tenant], self._starts[step], self._charged[step] = tag + cost, tag, cost
        self._held[tenant] += 1

    def release_slot(self, tenant: str | None, step: StepKey) -> None:
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
    async def child_process(self, tenant: str | None, step: StepKey, weight: WorkWeight) -> AsyncIterator[None]:
        """Wait for a child process, and hold it within the context.

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
            await attempt.granted
            yield
        finally:
            self._waiting.pop(attempt, None)
            self._processes.pop(attempt, None)
            self._assign()

    def queue(self) -> list[tuple[StepKey, WorkWeight]]:
        """Return the steps that wait for a child process, in their order, and their weights."""
        return [(attempt.step, attempt.weight) for attempt in self._waiting_in_order()]

    def _waiting_in_order(self) -> list[_WeighedAttempt]:
        return sorted(self._waiting, key=lambda attempt: attempt.tag)

    def charge(self, tenant: str | None, step: StepKey, cost: float) -> None:
        """Charge the true cost of a step that holds a slot."""
        if (charged := self._charged.get(step)) is not None:
            cost = max(cost, _LEAST_COST)
            self._tags[tenant] += cost - charged
            self._charged[step] = self._expected[tenant] = cost

    def _assign(self) -> None:
        """Give free child processes to the attempts that are first in the order."""
        for attempt in self._waiting_in_order():
            if not self._has_child_process(attempt.weight):
                break
            self._start(attempt, extra=False)
        # The extra child process may be used if all others have heavy work, or wait for memory.
        if not any(process.extra or process.weight.light for process in self._processes.values()):
            busy = {process.tenant for process in self._processes.values()}
            for attempt in self._waiting_in_order():
                if attempt.weight.light and attempt.tenant not in busy:
                    self._start(attempt, extra=True)
                    return

    def _start(self, attempt: _WeighedAttempt, *, extra: bool) -> None:
        del self._waiting[attempt]
        self._processes[attempt] = _ChildProcess(attempt.tenant, attempt.weight, extra)
        if not attempt.granted.done():  # else it was cancelled, and gives the child process back at once
            attempt.granted.set_result(None)

    def _has_child_process(self, weight: WorkWeight) -> bool:
        assert self.max_memory is not None
        regular = [process.weight.memory for process in self._processes.values() if not process.extra]
        return len(regular) < self.slots and sum(regular) + weight.memory <= self.max_memory - LIGHT_MEMORY
