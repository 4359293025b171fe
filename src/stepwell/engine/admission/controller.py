"""Admission control: bounded slots for steps, granted in a fair order of tenants and of each tenant's workflows.

Each pool has a queue. A pool is a provider, a model with a limit of its own, or None (steps without a provider). The
order is round-robin on three levels: pools take turns, in a pool its tenants, and in a tenant its workflows. The steps
of one workflow start in the order in which they were queued. LOCAL's tenants are ordered by the weight of their work
instead (`local_admission`). So a workflow of 10,000 steps delays another workflow by
at most one step.

A grant or a release costs O(1), plus one check for each full pool and each tenant at its limit that a grant skips. A
grant of LOCAL costs O(waiting tenants).

A step of a model with a limit also takes one of its provider's slots. The generic cell rate algorithm (ITU-T I.371)
limits how often a model starts: starts are spaced evenly, and a burst has at most one second's worth of them.
"""

import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from enum import Enum, auto
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.domain.prices import ANY_MODEL
from stepwell.engine.admission.local_admission import LocalAdmission
from stepwell.engine.admission.queue_position import QueuePositions, Rank, RoundRobinRank

K = TypeVar("K", bound=Hashable)

_BURST_S = 1.0
# Clients choose model names. Beyond this number, the oldest model is forgotten once its next start is due.
_MOST_RATES = 1_000
# Steps of one tenant that have lent their slots. Beyond this number, its further steps of that pool wait in the queue.
MOST_LENT = 32


class ModelPool(Struct, frozen=True):
    """A model with a limit of its own."""

    provider: ProviderType
    model: str
    limit: ModelLimit


Pool = ProviderType | ModelPool | None


class SlotLimits(Struct, frozen=True):
    """Numbers of slots: in total, for LOCAL, for each other provider, and for each tenant (None: no limit).

    `models`: limits by provider and model. The model `*` stands for each one that isn't named. `local_memory`: bytes
    for all worker processes of LOCAL; None if LOCAL's work isn't weighed. `local_on_workers`: other machines do LOCAL's
    work, so its slots are those of a remote provider.
    """

    total: int = 1_000
    local: int = 1
    per_provider: int = 100
    per_tenant: int | None = None
    models: Mapping[ProviderType, Mapping[str, ModelLimit]] = {}
    local_memory: int | None = None
    local_on_workers: bool = False

    def of_model(self, provider: ProviderType, model: str) -> ModelLimit | None:
        """Return the limit of a model; None if it has none of its own."""
        models = self.models.get(provider, {})
        return models.get(model) or models.get(ANY_MODEL)

    def pool(self, provider: ProviderType, model: str) -> Pool:
        """Return the pool in which steps of a model wait."""
        limit = self.of_model(provider, model)
        return provider if limit is None else ModelPool(provider, model, limit)

    def of(self, pool: Pool) -> int:
        """Return the number of slots of a pool."""
        match pool:
            case ModelPool(_, _, limit):
                return limit.concurrency or self.per_provider
            case None:
                return self.total
            case ProviderType.LOCAL if not self.local_on_workers:
                return self.local
            case _:
                return self.per_provider


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

    `slots`: how many slots that limit has; `used`: how many of them are taken. `due_in_s`: seconds until the pool's
    next start, if they wait for `LimitKind.RATE`; else 0.
    """

    pool: Pool
    limit_kind: LimitKind
    slots: int
    used: int
    due_in_s: float
    positions: QueuePositions


_TenantQueue = OrderedDict[UUID, deque[int]]
_PoolQueue = OrderedDict[str | None, _TenantQueue]


class AdmissionController:
    """Queues ready steps, and grants them slots in a fair order. *now* returns monotonic seconds.

    `retry_in_s`: if the last `grant` returned None, the seconds until a rate limit allows a start; None if only a
    release or a new step can change anything.
    """

    def __init__(self, limits: SlotLimits, now: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._now = limits, now
        self.local = LocalAdmission(limits.local, limits.local_memory)
        self._next_start_at: dict[ModelPool, float] = {}  # at an even pace
        self.retry_in_s: float | None = None
        self._queues: OrderedDict[Pool, _PoolQueue] = OrderedDict()
        self._used = 0
        self.waiting = 0
        self.waiting_by_pool: Counter[Pool] = Counter()
        self._used_by_pool: Counter[Pool] = Counter()
        self._used_by_tenant: dict[str | None, int] = defaultdict(int)
        self._lent: Counter[str | None] = Counter()  # by tenant
        self.closed = False

    @property
    def used(self) -> int:
        """The number of slots that are taken."""
        return self._used

    def used_by(self, pool: Pool) -> int:
        """Return the number of slots of *pool* that are taken. A provider's include those of its models."""
        return self._used_by_pool[pool]

    def used_by_tenant(self, tenant: str | None) -> int:
        """Return the number of slots that steps of *tenant* have."""
        return self._used_by_tenant.get(tenant, 0)

    @property
    def model_pools(self) -> int:
        """The number of models that this object holds state for."""
        pools = {*self._queues, *self._used_by_pool, *self._next_start_at}
        return sum(isinstance(pool, ModelPool) for pool in pools)

    def enqueue(self, tenant: str | None, workflow_id: UUID, position: int, pool: Pool) -> None:
        """Add a step to the queue of *pool*. A slot for it is granted once."""
        by_workflow = self._queues.setdefault(pool, OrderedDict()).setdefault(tenant, OrderedDict())
        by_workflow.setdefault(workflow_id, deque()).append(position)
        self.waiting += 1
        self.waiting_by_pool[pool] += 1

    def withdraw(self, tenant: str | None, workflow_id: UUID) -> None:
        """Remove all steps of a workflow."""
        for pool, queue in list(self._queues.items()):
            if (by_workflow := queue.get(tenant)) is not None and (
                steps := by_workflow.pop(workflow_id, None)
            ) is not None:
                self.waiting -= len(steps)
                self.waiting_by_pool[pool] -= len(steps)
                if not by_workflow:
                    del queue[tenant]
                    self._forget_if_empty(pool)

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
        if self.closed or not self.waiting or self._used >= self.limits.total:
            return None
        for pool, queue in self._queues.items():
            if queue and self._has_slot(pool) and self._is_allowed(pool):
                local = self._is_local(pool)
                for tenant in self.local.in_order(queue, self._used_by_pool[pool]) if local else queue:
                    if self._may_start(pool, tenant):
                        self._queues.move_to_end(pool)
                        return self._take_next(pool, queue, tenant, queue[tenant])
        return None

    def release(self, slot: Slot) -> None:
        """Take a slot back."""
        if self._is_local(slot.pool):
            self.local.slot_released(slot.tenant, (slot.workflow_id, slot.position))
        self._used -= 1
        self._used_by_pool[slot.pool] -= 1
        if isinstance(slot.pool, ModelPool):
            self._used_by_pool[slot.pool.provider] -= 1
            if not self._used_by_pool[slot.pool]:
                del self._used_by_pool[slot.pool]
        self._used_by_tenant[slot.tenant] -= 1
        if not self._used_by_tenant[slot.tenant]:
            del self._used_by_tenant[slot.tenant]

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
                due_in_s = self._seconds_until_allowed(pool) if kind is LimitKind.RATE else 0.0
                queues.append(QueuedSteps(pool, kind, slots, used, due_in_s, QueuePositions(steps, in_tenant, in_pool)))
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
        if self._used >= limits.total:
            return LimitKind.TOTAL, limits.total, self._used
        if isinstance(pool, ModelPool) and pool.limit.concurrency is not None and used[pool] >= limits.of(pool):
            return LimitKind.MODEL, limits.of(pool), used[pool]
        if provider is not None and used[provider] >= limits.of(provider):
            return LimitKind.PROVIDER, limits.of(provider), used[provider]
        if self._seconds_until_allowed(pool) > 0:
            return LimitKind.RATE, limits.of(pool), used[pool]
        if pool is None and self._lent[tenant] >= MOST_LENT:
            return LimitKind.TENANT, MOST_LENT, self._lent[tenant]
        if limits.per_tenant is not None and not self._has_room(tenant):
            return LimitKind.TENANT, limits.per_tenant, self._used_by_tenant.get(tenant, 0)
        return LimitKind.TOTAL, limits.total, self._used

    def _take_next(self, pool: Pool, queue: _PoolQueue, tenant: str | None, by_workflow: _TenantQueue) -> Slot:
        workflow_id, steps = next(iter(by_workflow.items()))
        position = steps.popleft()
        if steps:
            by_workflow.move_to_end(workflow_id)
        else:
            del by_workflow[workflow_id]
        if by_workflow:
            queue.move_to_end(tenant)
        else:
            del queue[tenant]
        self.waiting -= 1
        self.waiting_by_pool[pool] -= 1
        self._forget_if_empty(pool)
        self._used += 1
        self._used_by_pool[pool] += 1
        if isinstance(pool, ModelPool):
            self._used_by_pool[pool.provider] += 1
            self._count_start(pool)
        self._used_by_tenant[tenant] += 1
        if self._is_local(pool):
            self.local.slot_taken(tenant, (workflow_id, position))
        return Slot(workflow_id, position, tenant, pool)

    def _forget_if_empty(self, pool: Pool) -> None:
        """Drop an empty queue, because clients choose model names: the number of pools isn't bounded."""
        if not self._queues[pool]:
            del self._queues[pool], self.waiting_by_pool[pool]

    def _is_local(self, pool: Pool) -> bool:
        """Return whether the steps of *pool* are LOCAL's, in worker processes of this machine."""
        return pool is ProviderType.LOCAL and not self.limits.local_on_workers

    def _has_slot(self, pool: Pool) -> bool:
        if self._is_local(pool) and self.limits.local_memory is not None:
            return True  # which tenants may have one is decided there
        if self._used_by_pool[pool] >= self.limits.of(pool):
            return False
        return not isinstance(pool, ModelPool) or self._has_slot(pool.provider)

    def _is_allowed(self, pool: Pool) -> bool:
        if not isinstance(pool, ModelPool) or (wait_s := self._seconds_until_allowed(pool)) <= 0:
            return True
        self.retry_in_s = wait_s if self.retry_in_s is None else min(self.retry_in_s, wait_s)
        return False

    def _seconds_until_allowed(self, pool: Pool) -> float:
        """Return the seconds until the rate limit allows a start; 0 or less if it allows one now."""
        if not isinstance(pool, ModelPool) or pool.limit.per_minute is None:
            return 0.0
        return self._next_start_at.get(pool, 0.0) - self._now() - _leeway_s(pool.limit.per_minute)

    def _count_start(self, pool: ModelPool) -> None:
        if pool.limit.per_minute is not None:
            now = self._now()
            self._next_start_at[pool] = max(self._next_start_at.pop(pool, 0.0), now) + 60 / pool.limit.per_minute
            if (
                len(self._next_start_at) > _MOST_RATES
                and self._next_start_at[oldest := next(iter(self._next_start_at))] <= now
            ):
                del self._next_start_at[oldest]

    def _may_start(self, pool: Pool, tenant: str | None) -> bool:
        return self._has_room(tenant) and (pool is not None or self._lent.get(tenant, 0) < MOST_LENT)

    def _has_room(self, tenant: str | None) -> bool:
        limit = self.limits.per_tenant
        return limit is None or self._used_by_tenant.get(tenant, 0) < limit


def _rank(turns: Mapping[K, int], own: K) -> RoundRobinRank:
    """Return the rank of *own* in a queue. *turns* is how many turns each participant still needs, in queue order."""
    names = list(turns)
    at = names.index(own)
    return RoundRobinRank([turns[name] for name in names[:at]], [turns[name] for name in names[at + 1 :]])


def _leeway_s(per_minute: float) -> float:
    """Return how early a start may be: so early that a burst has one second's worth of starts, and at least one."""
    return max(_BURST_S - 60 / per_minute, 0.0)
