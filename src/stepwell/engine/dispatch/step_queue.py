"""The queue of ready steps: bounded slots, granted in a fair order of tenants and of each tenant's workflows.

Each pool has a queue. A pool is a provider, a model with its own limit, or None (steps without a provider). The
order is round-robin on three levels: pools take turns, in a pool its tenants, and in a tenant its workflows. The steps
of one workflow start in the order in which they were queued. LOCAL's tenants are ordered by the weight of their work
instead (`local_dispatcher`). So a workflow of 10,000 steps delays another workflow by
at most one step.

A grant or a release costs O(1), plus one check for each full pool and each tenant at its limit that a grant skips. A
grant of LOCAL costs O(waiting tenants).

An attempt that an earlier process began, and whose job may run at its provider, gets its slot at once, whatever the
limits are. Nothing new starts in its pool until fewer slots are taken than there are.

The limits of providers, models and tenants hold for all processes on the database. `LimitShares` says how much of them
this process may use.

A step of a model with a limit also takes one of its provider's slots. `StartRates` limits how often a model starts.
"""

import math
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from enum import Enum, auto
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from stepwell.engine.dispatch.limit_shares import LimitShares
from stepwell.engine.dispatch.local_dispatcher import LocalDispatcher
from stepwell.engine.dispatch.pools import (
    LOCAL,
    DividedPool,
    ModelPool,
    Pool,
    SlotLimits,
    provider_key,
    rate_key,
    tenant_key,
)
from stepwell.engine.dispatch.queue_position import QueuePositions, Rank, RoundRobinRank
from stepwell.engine.dispatch.start_rates import StartRates

K = TypeVar("K", bound=Hashable)

# Steps of one tenant that have lent their slots. Beyond this number, its further steps of that pool wait in the queue.
MOST_LENT = 32


class Slot(Struct, frozen=True):
    """A granted slot, and the step that it was granted to."""

    workflow_id: UUID
    position: int
    tenant: str | None
    pool: Pool


class LimitKind(Enum):
    """The limit that keeps a queued step from starting."""

    TOTAL = auto()
    PROVIDER = auto()
    MODEL = auto()
    TENANT = auto()
    RATE = auto()


class QueuedSteps(Struct, frozen=True):
    """The steps of one workflow in the queue of one pool, and the limit that they wait for.

    `slots`: how many slots of that limit this process has; `all_slots`: how many all processes have together. `used`:
    how many of its slots are taken. `due_in_s`: seconds until the pool's next start, if they wait for
    `LimitKind.RATE`; else 0.
    """

    pool: Pool
    limit_kind: LimitKind
    slots: int
    all_slots: int
    used: int
    due_in_s: float
    positions: QueuePositions


_TenantQueue = OrderedDict[UUID, deque[int]]
_PoolQueue = OrderedDict[str | None, _TenantQueue]


class StepQueue:
    """Queues ready steps, and grants them slots in a fair order. *now* returns monotonic seconds.

    `retry_in_s`: if the last `grant` returned None, the seconds until a rate limit allows a start; None if only a
    release or a new step can change anything.
    `is_backed_up` returns whether so many bytes of a tenant wait to be written that none of its steps without a
    provider should start.
    """

    def __init__(
        self, limits: SlotLimits, now: Callable[[], float] = time.monotonic, shares: LimitShares | None = None
    ) -> None:
        self.limits, self._now = limits, now
        self.shares = shares or LimitShares(None, now)
        self.local = LocalDispatcher(limits.local, limits.local_memory)
        self.rates = StartRates(self.shares, now)
        self.retry_in_s: float | None = None
        self._queues: OrderedDict[Pool, _PoolQueue] = OrderedDict()
        self.used = 0  # slots
        self.waiting = 0
        self.waiting_by_pool: Counter[Pool] = Counter()
        self._used_by_pool: Counter[DividedPool] = Counter()
        self._used_by_tenant: dict[str | None, int] = {}
        self._lent: Counter[str | None] = Counter()  # by tenant
        self._continued: deque[Slot] = deque()  # of attempts that an earlier process began
        self.closed = False
        self.is_backed_up: Callable[[str | None], bool] = lambda _: False

    def used_by(self, pool: DividedPool) -> int:
        """Return the number of slots of *pool* that are taken. A provider's include those of its models."""
        return self._used_by_pool[pool]

    def used_by_tenant(self, tenant: str | None) -> int:
        return self._used_by_tenant.get(tenant, 0)

    @property
    def model_pools(self) -> int:
        """The number of models that this object holds state for."""
        pools = {*self._queues, *self._used_by_pool, *self.rates.pools}
        return sum(isinstance(pool, ModelPool) for pool in pools)

    def enqueue(self, tenant: str | None, workflow_id: UUID, position: int, pool: Pool) -> None:
        """Add a step to the queue of *pool*. A slot for it is granted once."""
        if (queue := self._queues.get(pool)) is None:
            queue = self._queues[pool] = OrderedDict()
        if (by_workflow := queue.get(tenant)) is None:
            by_workflow = queue[tenant] = OrderedDict()
        if (steps := by_workflow.get(workflow_id)) is None:
            by_workflow[workflow_id] = deque((position,))
        else:
            steps.append(position)
        self.waiting += 1
        self.waiting_by_pool[pool] += 1

    def enqueue_continued(self, tenant: str | None, workflow_id: UUID, position: int, pool: Pool) -> None:
        """Take a slot at once for an attempt that an earlier process began. `grant` returns it."""
        slot = Slot(workflow_id, position, tenant, pool)
        self._take(slot)
        self._continued.append(slot)
        self.waiting += 1

    def withdraw(self, tenant: str | None, workflow_id: UUID) -> None:
        for slot in [slot for slot in self._continued if slot.workflow_id == workflow_id]:
            self._continued.remove(slot)
            self.waiting -= 1
            self.release(slot)
        for pool, queue in list(self._queues.items()):
            if (by_workflow := queue.get(tenant)) is not None and (
                steps := by_workflow.pop(workflow_id, None)
            ) is not None:
                self.waiting -= len(steps)
                self.waiting_by_pool[pool] -= len(steps)
                if not by_workflow:
                    self._forget_tenant(pool, tenant)

    def take_all(self, pool: Pool) -> list[tuple[UUID, int]]:
        """Remove all steps of a pool, and return the workflow and the position of each."""
        queue: _PoolQueue = self._queues.pop(pool, OrderedDict())
        steps_of_pool = [
            (key, step) for by_workflow in queue.values() for key, steps in by_workflow.items() for step in steps
        ]
        self.waiting -= len(steps_of_pool)
        del self.waiting_by_pool[pool]
        return steps_of_pool

    def grant(self) -> Slot | None:
        """Return a slot for the step whose turn it is; None if no queued step can have one. `release` takes it back."""
        self.retry_in_s = None
        if self.closed or not self.waiting:
            return None
        if self._continued:
            self.waiting -= 1
            return self._continued.popleft()
        if self.used >= self.limits.total:
            return None
        for pool, queue in self._queues.items():
            if pool is not None and not (self._has_slot(pool) and self._is_allowed(pool)):
                continue
            weighed = pool is not None and self._is_local(pool)
            for tenant in self.local.in_order(queue, self._used_by_pool[LOCAL]) if weighed else queue:
                if self._may_start(pool, tenant):
                    self._queues.move_to_end(pool)
                    return self._take_next(pool, queue, tenant)
        return None

    def take_at_once(self, tenant: str | None, workflow_id: UUID, position: int) -> Slot | None:
        """Return a slot for a step without a provider if no step waits for a slot, and one is free; None otherwise."""
        if self.waiting or self.closed or self.used >= self.limits.total or not self._may_start(None, tenant):
            return None
        slot = Slot(workflow_id, position, tenant, None)
        self._take(slot)
        return slot

    def release(self, slot: Slot) -> None:
        pool, tenant = slot.pool, slot.tenant
        self.used -= 1
        if pool is not None:
            self._release_of_pool(slot, pool)
        left = self._used_by_tenant[tenant] - 1
        if left:
            self._used_by_tenant[tenant] = left
        else:
            del self._used_by_tenant[tenant]
        if not self.shares.whole:
            self._report_release(slot)

    def _release_of_pool(self, slot: Slot, pool: DividedPool) -> None:
        if self._is_local(pool):
            self.local.release_slot(slot.tenant, (slot.workflow_id, slot.position))
        self._used_by_pool[pool] -= 1
        if isinstance(pool, ModelPool):
            self._used_by_pool[pool.provider] -= 1
            if not self._used_by_pool[pool]:
                del self._used_by_pool[pool]

    def lend(self, slot: Slot) -> None:
        """Let others use the slot of a step without a provider, which waits for something else. `take_back` ends it."""
        self.release(slot)
        self._lent[slot.tenant] += 1

    def take_back(self, slot: Slot) -> None:
        """Record the end of a step that has lent its slot."""
        self._lent[slot.tenant] -= 1
        if not self._lent[slot.tenant]:
            del self._lent[slot.tenant]

    def queued_steps(self, tenant: str | None, workflow_id: UUID) -> list[QueuedSteps]:
        """Return what a workflow waits for, by pool. Costs O(queued workflows of those pools)."""
        queues = []
        for pool, queue in self._queues.items():
            if (by_workflow := queue.get(tenant)) is not None and (steps := by_workflow.get(workflow_id)) is not None:
                in_tenant = _rank({key: len(queued) for key, queued in by_workflow.items()}, workflow_id)
                turns = {key: sum(map(len, queued.values())) for key, queued in queue.items()}
                weighed = self._is_local(pool) and self.limits.local_memory is not None
                in_pool: Rank = self.local.rank(turns, tenant) if weighed else _rank(turns, tenant)
                kind, slots, used = self._binding_limit(pool, tenant)
                all_slots = self._all_slots(kind, pool, slots)
                due_in_s = self.rates.due_in_s(pool) if kind is LimitKind.RATE else 0.0
                positions = QueuePositions(steps, in_tenant, in_pool)
                queues.append(QueuedSteps(pool, kind, slots, all_slots, used, due_in_s, positions))
        return queues

    def waiting_by_limit(self) -> Counter[LimitKind]:
        """Count the queued steps by the limit that they wait for.

        Costs O(pools), or O(queued workflows) if tenants have a limit.
        """
        counts: Counter[LimitKind] = Counter()
        for pool, queue in self._queues.items():
            if self.limits.per_tenant is None:
                counts[self._binding_limit(pool, None)[0]] += self.waiting_by_pool[pool]
                continue
            for tenant, by_workflow in queue.items():
                counts[self._binding_limit(pool, tenant)[0]] += sum(map(len, by_workflow.values()))
        return counts

    def _binding_limit(self, pool: Pool, tenant: str | None) -> tuple[LimitKind, int, int]:
        """Return the limit that keeps this pool's steps of *tenant* from starting, with its slots and those taken.

        The limits are checked in the same order as by `grant`.
        """
        limits, used = self.limits, self._used_by_pool
        provider = pool.provider if isinstance(pool, ModelPool) else pool
        if self.used >= limits.total:
            return LimitKind.TOTAL, limits.total, self.used
        if isinstance(pool, ModelPool) and pool.limit.concurrency is not None and used[pool] >= self._slots_of(pool):
            return LimitKind.MODEL, self._slots_of(pool), used[pool]
        if provider is not None and used[provider] >= self._slots_of(provider):
            return LimitKind.PROVIDER, self._slots_of(provider), used[provider]
        if isinstance(pool, ModelPool) and self.rates.seconds_until_allowed(pool) > 0:
            return LimitKind.RATE, limits.of(pool), used[pool]
        if pool is None and self._lent[tenant] >= MOST_LENT:
            return LimitKind.TENANT, MOST_LENT, self._lent[tenant]
        if limits.per_tenant is not None and not self._has_tenant_slot(tenant, limits.per_tenant):
            return LimitKind.TENANT, self._tenant_slots(tenant, limits.per_tenant), self._used_by_tenant.get(tenant, 0)
        return LimitKind.TOTAL, limits.total, self.used

    def _take_next(self, pool: Pool, queue: _PoolQueue, tenant: str | None) -> Slot:
        by_workflow = queue[tenant]
        workflow_id, steps = next(iter(by_workflow.items()))
        position = steps.popleft()
        self.waiting -= 1
        self.waiting_by_pool[pool] -= 1
        if steps:
            by_workflow.move_to_end(workflow_id)
            queue.move_to_end(tenant)
        elif len(by_workflow) > 1:
            del by_workflow[workflow_id]
            queue.move_to_end(tenant)
        else:
            self._forget_tenant(pool, tenant)
        slot = Slot(workflow_id, position, tenant, pool)
        if pool is not None:
            if isinstance(pool, ModelPool):
                self.rates.count_start(pool)
            if self._is_local(pool):
                self.local.take_slot(tenant, (workflow_id, position))
        self._take(slot)
        return slot

    def _take(self, slot: Slot) -> None:
        pool, tenant = slot.pool, slot.tenant
        self.used += 1
        if pool is not None:
            self._used_by_pool[pool] += 1
            if isinstance(pool, ModelPool):
                self._used_by_pool[pool.provider] += 1
        self._used_by_tenant[tenant] = self._used_by_tenant.get(tenant, 0) + 1

    def _forget_tenant(self, pool: Pool, tenant: str | None) -> None:
        """Drop the queue of a tenant that has no step in it, and that of the pool with its last tenant.

        Clients choose model names, so the number of pools isn't bounded.
        """
        queue = self._queues[pool]
        del queue[tenant]
        if not queue:
            del self._queues[pool], self.waiting_by_pool[pool]

    def _is_local(self, pool: Pool) -> bool:
        """Return whether the steps of *pool* are LOCAL's, in child processes of this machine."""
        return pool is LOCAL and not self.limits.local_on_workers

    def _has_slot(self, pool: DividedPool) -> bool:
        if self._is_local(pool) and self.limits.local_memory is not None:
            return True  # which tenants may have one is decided there
        if self._used_by_pool[pool] >= (slots := self._slots_of(pool)):
            if slots < self.limits.of(pool):
                self.shares.want(pool.key if isinstance(pool, ModelPool) else provider_key(pool))
            return False
        return not isinstance(pool, ModelPool) or self._has_slot(pool.provider)

    def _slots_of(self, pool: DividedPool) -> int:
        limit = self.limits.of(pool)
        if pool is LOCAL or self.shares.whole:
            return limit
        if not isinstance(pool, ModelPool):
            return self.shares.slots(provider_key(pool), limit)
        # A model without its own concurrency has the slots of its provider, which is checked as well.
        return limit if pool.limit.concurrency is None else self.shares.slots(pool.key, limit)

    def _tenant_slots(self, tenant: str | None, limit: int) -> int:
        return self.shares.slots(tenant_key(tenant), limit)

    def _all_slots(self, kind: LimitKind, pool: Pool, slots: int) -> int:
        """Return how many slots of a limit all processes have together. *slots* is how many this one has."""
        match kind:
            case LimitKind.PROVIDER:
                return self.limits.of(pool.provider if isinstance(pool, ModelPool) else pool)
            case LimitKind.MODEL:
                return self.limits.of(pool)
            case LimitKind.TENANT if self.limits.per_tenant is not None:
                return max(self.limits.per_tenant, slots)
            case _:
                return slots

    def _report_release(self, slot: Slot) -> None:
        pool, shares = slot.pool, self.shares
        if isinstance(pool, ModelPool) and shares.is_wanted(pool.key):
            shares.released(pool.key, self._used_by_pool[pool], idle=not self.waiting_by_pool[pool])
        provider = pool.provider if isinstance(pool, ModelPool) else pool
        if provider is not None and shares.is_wanted(key := provider_key(provider)):
            waits = any(each == provider or isinstance(each, ModelPool) for each in self._queues)
            shares.released(key, self._used_by_pool[provider], idle=not waits)
        if shares.is_wanted(key := tenant_key(slot.tenant)):
            shares.released(key, self.used_by_tenant(slot.tenant), idle=not self.waiting)

    def _is_allowed(self, pool: Pool) -> bool:
        if not isinstance(pool, ModelPool) or (wait_s := self.rates.seconds_until_allowed(pool)) <= 0:
            return True
        if wait_s < math.inf:
            self.retry_in_s = wait_s if self.retry_in_s is None else min(self.retry_in_s, wait_s)
        else:
            self.shares.want(rate_key(pool.key))
        return False

    def _may_start(self, pool: Pool, tenant: str | None) -> bool:
        if pool is None and (self._lent.get(tenant, 0) >= MOST_LENT or self.is_backed_up(tenant)):
            return False
        return self.limits.per_tenant is None or self._has_tenant_slot(tenant, self.limits.per_tenant)

    def _has_tenant_slot(self, tenant: str | None, limit: int) -> bool:
        slots = self._tenant_slots(tenant, limit)
        if self._used_by_tenant.get(tenant, 0) < slots:
            return True
        if slots < limit:
            self.shares.want(tenant_key(tenant))
        return False

    # For the division of limits

    def pools_in_use(self) -> set[DividedPool]:
        """Return the pools that limits are divided for, if steps have slots of them."""
        return {pool for pool, number in self._used_by_pool.items() if number and pool is not LOCAL}

    def pools_waited_for(self) -> dict[str | None, list[DividedPool]]:
        """Return the divided pools that steps wait for, by tenant. A pool is listed once: for its next tenant."""
        pools: dict[str | None, list[DividedPool]] = defaultdict(list)
        for pool, queue in self._queues.items():
            if pool is not None and pool is not LOCAL:
                pools[next(iter(queue), None)].append(pool)
        return pools

    def tenants_in_use(self) -> dict[str | None, int]:
        """Return the number of waiting steps of each tenant that has slots or waits for some."""
        waiting: dict[str | None, int] = dict.fromkeys(self._used_by_tenant, 0)
        for queue in self._queues.values():
            for tenant in queue:
                waiting[tenant] = waiting.get(tenant, 0) + _length(queue, tenant)
        return waiting

    def waiting_in(self, pool: Pool) -> dict[str | None, int]:
        queue = self._queues.get(pool, OrderedDict())
        return {tenant: _length(queue, tenant) for tenant in queue}


def _length(queue: _PoolQueue, tenant: str | None) -> int:
    return sum(map(len, queue[tenant].values()))


def _rank(turns: Mapping[K, int], own: K) -> RoundRobinRank:
    """Return the rank of *own* in a queue. *turns* is how many turns each participant still needs, in queue order."""
    names = list(turns)
    at = names.index(own)
    return RoundRobinRank([turns[name] for name in names[:at]], [turns[name] for name in names[at + 1 :]])
