"""Who may run next: bounded slots, and a fair order between tenants and between the workflows of a tenant.

Each pool (a provider, or none) has a queue of its own, and the pools take turns. A grant goes to the tenant that has
waited longest for a turn, within it to the workflow that has, and there to the first step; each then goes to the end
of its line. So a workflow of 10,000 steps holds up another one by one step at most. A grant or a release costs O(1),
but for pools that are full and tenants at their own limit, which are passed over.
"""

from collections import OrderedDict, defaultdict, deque
from uuid import UUID

from msgspec import Struct

from stepwell.domain.model import ProviderType

Pool = ProviderType | None


class Limits(Struct, frozen=True):
    """Slots: of all steps, of LOCAL ones, of each other provider, and of each tenant (null: no limit)."""

    total: int = 1_000
    local: int = 1
    per_provider: int = 100
    per_tenant: int | None = None

    def of(self, pool: Pool) -> int:
        match pool:
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


_Line = OrderedDict[UUID, deque[int]]
_Queue = OrderedDict[str | None, _Line]


class Admission:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queues: OrderedDict[Pool, _Queue] = OrderedDict()
        self._used = 0
        self.waiting = 0
        self._used_by_pool: dict[Pool, int] = defaultdict(int)
        self._used_by_tenant: dict[str | None, int] = defaultdict(int)
        self.closed = False

    @property
    def used(self) -> int:
        return self._used

    def enqueue(self, tenant: str | None, workflow_id: UUID, position: int, pool: Pool) -> None:
        line = self._queues.setdefault(pool, OrderedDict()).setdefault(tenant, OrderedDict())
        line.setdefault(workflow_id, deque()).append(position)
        self.waiting += 1

    def withdraw(self, tenant: str | None, workflow_id: UUID) -> None:
        """Forget all that a workflow waits for."""
        for queue in self._queues.values():
            if (line := queue.get(tenant)) is not None and (steps := line.pop(workflow_id, None)) is not None:
                self.waiting -= len(steps)
                if not line:
                    del queue[tenant]

    def grant(self) -> Slot | None:
        """A slot for the step whose turn it is, to come back by `release`; None if none can be had or nobody waits."""
        if self.closed or not self.waiting or self._used >= self._limits.total:
            return None
        for pool, queue in self._queues.items():
            if queue and self._used_by_pool[pool] < self._limits.of(pool):
                for tenant, line in queue.items():
                    if self._has_room(tenant):
                        self._queues.move_to_end(pool)
                        return self._taken(pool, queue, tenant, line)
        return None

    def release(self, slot: Slot) -> None:
        self._used -= 1
        self._used_by_pool[slot.pool] -= 1
        self._used_by_tenant[slot.tenant] -= 1
        if not self._used_by_tenant[slot.tenant]:
            del self._used_by_tenant[slot.tenant]

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
        self._used += 1
        self._used_by_pool[pool] += 1
        self._used_by_tenant[tenant] += 1
        return Slot(workflow_id, position, tenant, pool)

    def _has_room(self, tenant: str | None) -> bool:
        limit = self._limits.per_tenant
        return limit is None or self._used_by_tenant.get(tenant, 0) < limit
