"""Slots for active workflows: counts who holds and who waits, and decides who gets the next ones.

What must hold:
- A workflow becomes active only if all its slots are free, in total and of its tenant. A slot that is reserved for a
  workflow on its way into memory counts as taken.
- A workflow that needs more slots than are left becomes active all the same if its tenant has nothing active, and one
  slot is left. Otherwise it could wait for ever. So the total exceeds its bound by one workflow at most.
- Workflows that are claimed from a dead process, or loaded for a verb, take their slots even if none are free.
- A workflow gets a slot at its start only if no other workflow of its tenant waits. So those of one tenant get slots
  in the order of their start.
- Tenants with waiting workflows take turns: a turn is one slot, or those of one large workflow. After its turn, a
  tenant goes to the end of the queue.
- The number of waiting workflows may be too high, because other processes admit some, but never too low, except by
  those that other processes have stored since the last count. A wrong number costs a statement, but no slot.
- A tenant within its share is refused only if the total is reached. Then the error says that the service is full.
- A sub-workflow may always wait, because its parent may hold a slot until it has ended. Without sub-workflows, a
  tenant has at most half of the waiting workflows. So what a tenant has beyond that takes nothing from other tenants.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec import Struct

from stepwell.basics.errors import TooManyRequests, Unavailable
from stepwell.basics.workflow_limits import WorkflowLimits
from stepwell.lifecycle.records import WaitingCount
from stepwell.rules.threshold import may_hold, units_left

_SLOW_RETRY_S, _LONGEST_RETRY_S = 2, 60


class WorkflowUse(Struct, frozen=True):
    """A tenant's limits and use: its active and its waiting workflows, and the start of the longest waiting one."""

    active: int
    max_active: int
    waiting: int
    max_waiting: int
    oldest: datetime | None


class WorkflowSlots:
    """Counts active and waiting workflows by tenant. *now* returns the database's time.

    `waiting`: the number of workflows that are known to wait.
    """

    def __init__(self, limits: WorkflowLimits, now: Callable[[], datetime]) -> None:
        self.limits, self._now = limits, now
        # The totals are kept beside the numbers by tenant, because there may be thousands of tenants.
        self._taken: Counter[str | None] = Counter()
        self._waiting: OrderedDict[str | None, int] = OrderedDict()  # in the order of turns
        self._storing: Counter[str | None] = Counter()  # being stored to wait
        self._all_taken = self.waiting = self._all_storing = 0
        self._all_counted = 0  # of those that wait: at most half of the bound for each tenant
        self._next: dict[str | None, int] = {}  # the slots that a tenant's first waiting workflow needs, if known
        self._oldest: dict[str | None, datetime] = {}
        self._oldest_of_all: datetime | None = None  # may be one that was admitted after the last count
        self._stored_since: Counter[str | None] | None = None  # since the present count began; None between counts

    @property
    def free(self) -> int:
        return max(self.limits.active - self._all_taken, 0)

    @property
    def _free_to_wait(self) -> int:
        """The number of workflows that may wait now, if their tenants have none that wait."""
        return self.limits.waiting - self._all_counted - self._all_storing

    def use(self, tenant: str | None) -> WorkflowUse:
        """Return the tenant's limits and use. `max_active` and `max_waiting` are what it may hold now at most."""
        limits, taken = self.limits, self._taken[tenant]
        waiting = self._waiting.get(tenant, 0) + self._storing[tenant]
        return WorkflowUse(
            active=taken,
            max_active=limits.active_of(tenant),
            waiting=waiting,
            max_waiting=limits.waiting_of(tenant),
            oldest=self._oldest.get(tenant),
        )

    def remaining(self, tenant: str | None) -> int:
        """Return how many workflows of one slot the tenant may start now: they would be active, or wait."""
        use = self.use(tenant)
        active = max(min(use.max_active - use.active, units_left(use.active, self.free)), 0)
        return active + max(min(use.max_waiting - use.waiting, units_left(use.waiting, self._free_to_wait)), 0)

    # Slots

    def take(self, tenant: str | None, slots: int = 1) -> None:
        self._taken[tenant] += slots
        self._all_taken += slots

    def give_back(self, tenant: str | None, slots: int = 1) -> None:
        self._taken[tenant] -= slots
        self._all_taken -= slots
        if not self._taken[tenant]:
            del self._taken[tenant]

    def has_slots(self, tenant: str | None, slots: int = 1, *, held: int = 0) -> bool:
        """Return whether a workflow of *tenant* that starts now gets its *slots*. It already holds *held* slots."""
        return not self._waiting.get(tenant) and self._may_take(tenant, slots, -held, -held)

    def _may_take(self, tenant: str | None, slots: int, more: int, all_more: int) -> bool:
        """Return whether the tenant may take *slots* after it has taken *more*, and all tenants *all_more*."""
        taken, free = self._taken[tenant] + more, self.limits.active - self._all_taken - all_more
        is_within = taken + slots <= self.limits.active_of(tenant) and may_hold(taken + slots, free)
        return is_within or (not taken and free > 0)

    def next_shares(self, most: int) -> dict[str | None, int]:
        """Return how many slots each waiting tenant gets now, and end their turns.

        Turns begin until *most* slots are granted. The last one may exceed that.
        """
        shares: dict[str | None, int] = {}
        turns: Counter[str | None] = Counter()
        queue = deque(self._waiting)
        granted, most = 0, min(most, self.free)
        while queue and granted < most:
            tenant = queue.popleft()
            share = shares.get(tenant, 0)
            slots = 1 if share else self._next.get(tenant, 1)
            if turns[tenant] < self._waiting[tenant] and self._may_take(tenant, slots, share, granted):
                shares[tenant] = share + slots
                turns[tenant] += 1
                granted += slots
                queue.append(tenant)
        for tenant in shares:
            self._waiting.move_to_end(tenant)
        return shares

    # Workflows that wait

    def check(self, tenant: str | None, slots: int = 1, *, held: int = 0, slow: bool) -> None:
        """Raise `TooManyRequests` or `Unavailable` if the tenant may not start a workflow of so many *slots* now.

        It already holds *held* slots. *slow*: the database is slow, so that tenants over their share must wait.
        """
        waiting = self._waiting.get(tenant, 0) + self._storing[tenant]
        is_over_share = self._taken[tenant] * len(self._taken) > self._all_taken
        if slow and (waiting or is_over_share):
            raise TooManyRequests("the database is slow, and the tenant has more than its share", _SLOW_RETRY_S)
        if self.has_slots(tenant, slots, held=held):
            return
        age_s = self._age_s(self._oldest.get(tenant))
        if waiting and age_s > self.limits.waiting_s:
            message = f"the tenant's workflows wait for {age_s:.0f} s to be admitted"
            raise TooManyRequests(message, self._retry_s(age_s))
        free, most = self._free_to_wait, self.limits.waiting_of(tenant)
        if free <= 0 and not waiting and most:
            raise Unavailable("the service is full", self._retry_s(self._age_s(self._oldest_of_all)))
        if waiting >= most or not may_hold(waiting + 1, free):
            message = f"{waiting} workflows of the tenant wait to be admitted, and more may not wait now"
            raise TooManyRequests(message, self._retry_s(age_s))

    def begin_storing(self, tenant: str | None) -> None:
        self._storing[tenant] += 1
        self._all_storing += 1

    def end_storing(self, tenant: str | None, *, waits: bool) -> None:
        """Report the end of what `begin_storing` began. *waits*: the workflow is stored, and waits."""
        self._storing[tenant] -= 1
        self._all_storing -= 1
        if not self._storing[tenant]:
            del self._storing[tenant]
        if waits:
            self.add_waiting(tenant)

    def add_waiting(self, tenant: str | None, number: int = 1) -> None:
        self._set_waiting(tenant, self._waiting.get(tenant, 0) + number)
        if tenant not in self._oldest:
            self._oldest[tenant] = now = self._now()
            self._oldest_of_all = self._oldest_of_all or now
        if self._stored_since is not None:
            self._stored_since[tenant] += number

    def record_admission(self, tenant: str | None, number: int, next_slots: int | None = None) -> None:
        """Report that *number* workflows of *tenant* wait no more.

        *next_slots* is how many slots the next one needs, if the tenant's share was too small for it. A tenant that
        could admit none for this reason comes first in the next turns.
        """
        before = self._waiting.get(tenant, 0)
        left = max(before - number, 0)
        self._set_waiting(tenant, left)
        self.forget_next(tenant)
        if left:
            if next_slots is not None:
                self._next[tenant] = next_slots
                if not number:
                    self._waiting.move_to_end(tenant, last=False)
        else:
            self._oldest.pop(tenant, None)
        if not self._waiting:
            self._oldest_of_all = None

    def forget_next(self, tenant: str | None) -> None:
        """Forget how many slots the first waiting workflow of *tenant* needs. `next_shares` assumes one then."""
        self._next.pop(tenant, None)

    def begin_count(self) -> None:
        self._stored_since = Counter()

    def end_count(self, counts: Iterable[WaitingCount] | None) -> None:
        """Replace the numbers by *counts*; None if the count failed."""
        since, self._stored_since = self._stored_since, None
        if counts is None:
            return
        counts_by_tenant = {each.tenant: each for each in counts}
        oldest = {tenant: each.oldest for tenant, each in counts_by_tenant.items()}
        # Those that were stored in the meantime may be counted twice, but are never missed.
        numbers = Counter({tenant: each.number for tenant, each in counts_by_tenant.items()}) + (since or Counter())
        turns = [tenant for tenant in self._waiting if tenant in numbers]
        turns += [tenant for tenant in numbers if tenant not in self._waiting]
        self._oldest = {tenant: oldest.get(tenant) or self._oldest.get(tenant, self._now()) for tenant in turns}
        self._oldest_of_all = min(self._oldest.values(), default=None)
        self._waiting, self.waiting, self._all_counted = OrderedDict(), 0, 0
        for tenant in turns:
            self._set_waiting(tenant, numbers[tenant])
        self._next.clear()

    def _set_waiting(self, tenant: str | None, number: int) -> None:
        before, most = self._waiting.get(tenant, 0), units_left(0, self.limits.waiting)
        self.waiting += number - before
        self._all_counted += min(number, most) - min(before, most)
        if number:
            self._waiting[tenant] = number
        else:
            self._waiting.pop(tenant, None)

    def _age_s(self, oldest: datetime | None) -> float:
        return 0.0 if oldest is None else max((self._now() - oldest).total_seconds(), 0.0)

    def _retry_s(self, age_s: float) -> int:
        """Return the time in which about a hundredth of a queue of that age is admitted."""
        return round(min(max(age_s / 100, 1), _LONGEST_RETRY_S))
