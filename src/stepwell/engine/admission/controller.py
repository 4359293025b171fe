"""Who may run next: bounded slots, and a fair order between tenants and between the workflows of a tenant.

Each pool (a provider, or none) has a queue of its own, and the pools take turns. A grant goes to the tenant that has
waited longest for a turn, within it to the workflow that has, and there to the first step; each then goes to the end
of its line. So a workflow of 10,000 steps holds up another one by one step at most. A grant or a release costs O(1),
but for pools that are full and tenants at their own limit, which are passed over.

A model with a limit of its own is a pool of its own, within its provider's. How often it may start is kept by the
generic cell rate algorithm (ITU-T I.371): starts are spread evenly, up to a second's worth of them at once.
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
from stepwell.domain.model_terms import ANY_MODEL
from stepwell.engine.admission.queue_position import QueuePositions, RoundRobinRank

K = TypeVar("K", bound=Hashable)

_BURST_S = 1.0
_RATES = 1_000  # of models whose next start is long due, so many are remembered


class ModelPool(Struct, frozen=True):
    """A model with a limit of its own."""

    provider: ProviderType
    model: str
    limit: ModelLimit


Pool = ProviderType | ModelPool | None


class SlotLimits(Struct, frozen=True):
    """Slots: of all steps, of LOCAL ones, of each other provider, and of each tenant (null: no limit). `models`: limits
    of models, by provider and name; `*` is for each that isn't named.
    """

    total: int = 1_000
    local: int = 1
    per_provider: int = 100
    per_tenant: int | None = None
    models: Mapping[ProviderType, Mapping[str, ModelLimit]] = {}

    def of_model(self, provider: ProviderType, model: str) -> ModelLimit | None:
        models = self.models.get(provider, {})
        return models.get(model) or models.get(ANY_MODEL)

    def pool(self, provider: ProviderType, model: str) -> Pool:
        limit = self.of_model(provider, model)
        return provider if limit is None else ModelPool(provider, model, limit)

    def of(self, pool: Pool) -> int:
        match pool:
            case ModelPool(_, _, limit):
                return limit.concurrency or self.per_provider
            case None:
                return self.total
            case ProviderType.LOCAL:
                return self.local
            case _:
                return self.per_provider


class Slot(Struct, frozen=True):
    workflow_id: UUID
    position: int
    tenant: str | None
    pool: Pool


class LimitKind(Enum):
    """What a step that waits for a start waits for."""

    TOTAL = auto()
    PROVIDER = auto()
    MODEL = auto()
    TENANT = auto()
    RATE = auto()


class QueuedSteps(Struct, frozen=True):
    """Steps of one workflow that wait in one pool. Of what bounds them there are `slots`, of which so many are `used`;
    `due_in_s`: seconds until the pool's next start may be, where that is what they wait for.
    """

    pool: Pool
    bound: LimitKind
    slots: int
    used: int
    due_in_s: float
    standing: QueuePositions


_Line = OrderedDict[UUID, deque[int]]
_Queue = OrderedDict[str | None, _Line]


class AdmissionController:
    """*now* tells seconds that never go back. `retry_in_s`: after the last `grant` that gave none, in how many seconds
    a start may be due; null if only a release, or a new step, can change that.
    """

    def __init__(self, limits: SlotLimits, now: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._now = limits, now
        self._due: dict[ModelPool, float] = {}  # when the next start would be, at an even pace
        self.retry_in_s: float | None = None
        self._queues: OrderedDict[Pool, _Queue] = OrderedDict()
        self._used = 0
        self.waiting = 0
        self.waiting_by_pool: Counter[Pool] = Counter()
        self._used_by_pool: Counter[Pool] = Counter()
        self._used_by_tenant: dict[str | None, int] = defaultdict(int)
        self.closed = False

    @property
    def used(self) -> int:
        return self._used

    def used_by(self, pool: Pool) -> int:
        return self._used_by_pool[pool]

    def enqueue(self, tenant: str | None, workflow_id: UUID, position: int, pool: Pool) -> None:
        line = self._queues.setdefault(pool, OrderedDict()).setdefault(tenant, OrderedDict())
        line.setdefault(workflow_id, deque()).append(position)
        self.waiting += 1
        self.waiting_by_pool[pool] += 1

    def withdraw(self, tenant: str | None, workflow_id: UUID) -> None:
        """Forget all that a workflow waits for."""
        for pool, queue in list(self._queues.items()):
            if (line := queue.get(tenant)) is not None and (steps := line.pop(workflow_id, None)) is not None:
                self.waiting -= len(steps)
                self.waiting_by_pool[pool] -= len(steps)
                if not line:
                    del queue[tenant]
                    self._forget_if_empty(pool)

    def take_all(self, pool: Pool) -> list[tuple[UUID, int]]:
        """Forget all that waits in a pool: workflows and positions, for whoever finds them another."""
        queue: _Queue = self._queues.pop(pool, OrderedDict())
        taken = [(key, step) for line in queue.values() for key, steps in line.items() for step in steps]
        self.waiting -= len(taken)
        del self.waiting_by_pool[pool]
        return taken

    def grant(self) -> Slot | None:
        """A slot for the step whose turn it is, to come back by `release`; None if none can be had or nobody waits."""
        self.retry_in_s = None
        if self.closed or not self.waiting or self._used >= self.limits.total:
            return None
        for pool, queue in self._queues.items():
            if queue and self._has_slot(pool) and self._is_due(pool):
                for tenant, line in queue.items():
                    if self._has_room(tenant):
                        self._queues.move_to_end(pool)
                        return self._taken(pool, queue, tenant, line)
        return None

    def release(self, slot: Slot) -> None:
        self._used -= 1
        self._used_by_pool[slot.pool] -= 1
        if isinstance(slot.pool, ModelPool):
            self._used_by_pool[slot.pool.provider] -= 1
            if not self._used_by_pool[slot.pool]:
                del self._used_by_pool[slot.pool]
        self._used_by_tenant[slot.tenant] -= 1
        if not self._used_by_tenant[slot.tenant]:
            del self._used_by_tenant[slot.tenant]

    def waits_of(self, tenant: str | None, workflow_id: UUID) -> list[QueuedSteps]:
        """What a workflow waits for, by pool. Costs O(workflows that wait in those pools)."""
        found = []
        for pool, queue in self._queues.items():
            if (line := queue.get(tenant)) is not None and (steps := line.get(workflow_id)) is not None:
                workflows = _turns({key: len(waiting) for key, waiting in line.items()}, workflow_id)
                tenants = _turns({key: sum(map(len, waiting.values())) for key, waiting in queue.items()}, tenant)
                bound, slots, used = self._bound(pool, tenant)
                due_in_s = self._early_s(pool) if bound is LimitKind.RATE else 0.0
                found.append(QueuedSteps(pool, bound, slots, used, due_in_s, QueuePositions(steps, workflows, tenants)))
        return found

    def waiting_by_bound(self) -> Counter[LimitKind]:
        """Count the waiting steps by what they wait for. O(pools), or O(waiting workflows) if tenants have a limit."""
        counts: Counter[LimitKind] = Counter()
        for pool, queue in self._queues.items():
            if self.limits.per_tenant is None:
                counts[self._bound(pool, None)[0]] += self.waiting_by_pool[pool]
                continue
            for tenant, line in queue.items():
                counts[self._bound(pool, tenant)[0]] += sum(map(len, line.values()))
        return counts

    def _bound(self, pool: Pool, tenant: str | None) -> tuple[LimitKind, int, int]:
        """What keeps a pool's steps of that tenant from a start, in the order in which `grant` looks."""
        limits, used = self.limits, self._used_by_pool
        provider = pool.provider if isinstance(pool, ModelPool) else pool
        if self._used >= limits.total:
            return LimitKind.TOTAL, limits.total, self._used
        if isinstance(pool, ModelPool) and pool.limit.concurrency is not None and used[pool] >= limits.of(pool):
            return LimitKind.MODEL, limits.of(pool), used[pool]
        if provider is not None and used[provider] >= limits.of(provider):
            return LimitKind.PROVIDER, limits.of(provider), used[provider]
        if self._early_s(pool) > 0:
            return LimitKind.RATE, limits.of(pool), used[pool]
        if limits.per_tenant is not None and not self._has_room(tenant):
            return LimitKind.TENANT, limits.per_tenant, self._used_by_tenant.get(tenant, 0)
        return LimitKind.TOTAL, limits.total, self._used

    def _taken(self, pool: Pool, queue: _Queue, tenant: str | None, line: _Line) -> Slot:
        workflow_id, steps = next(iter(line.items()))
        position = steps.popleft()
        if steps:
            line.move_to_end(workflow_id)
        else:
            del line[workflow_id]
        if line:
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
        return Slot(workflow_id, position, tenant, pool)

    def _forget_if_empty(self, pool: Pool) -> None:
        """Models are named by those who ask for them: there may be any number in time."""
        if not self._queues[pool]:
            del self._queues[pool], self.waiting_by_pool[pool]

    def _has_slot(self, pool: Pool) -> bool:
        if self._used_by_pool[pool] >= self.limits.of(pool):
            return False
        return not isinstance(pool, ModelPool) or self._has_slot(pool.provider)

    def _is_due(self, pool: Pool) -> bool:
        if not isinstance(pool, ModelPool) or (early := self._early_s(pool)) <= 0:
            return True
        self.retry_in_s = early if self.retry_in_s is None else min(self.retry_in_s, early)
        return False

    def _early_s(self, pool: Pool) -> float:
        """How many seconds too early a start would be now; none if it isn't."""
        if not isinstance(pool, ModelPool) or pool.limit.per_minute is None:
            return 0.0
        return self._due.get(pool, 0.0) - self._now() - _leeway_s(pool.limit.per_minute)

    def _count_start(self, pool: ModelPool) -> None:
        if pool.limit.per_minute is not None:
            now = self._now()
            self._due[pool] = max(self._due.pop(pool, 0.0), now) + 60 / pool.limit.per_minute
            if len(self._due) > _RATES and self._due[oldest := next(iter(self._due))] <= now:
                del self._due[oldest]

    def _has_room(self, tenant: str | None) -> bool:
        limit = self.limits.per_tenant
        return limit is None or self._used_by_tenant.get(tenant, 0) < limit


def _turns(wanted: Mapping[K, int], own: K) -> RoundRobinRank:
    """*own*'s among those that *wanted* has, in its order."""
    names = list(wanted)
    at = names.index(own)
    return RoundRobinRank([wanted[name] for name in names[:at]], [wanted[name] for name in names[at + 1 :]])


def _leeway_s(per_minute: float) -> float:
    """How much too early a start may be, so that a second's worth of them can come at once, or one."""
    return max(_BURST_S - 60 / per_minute, 0.0)
