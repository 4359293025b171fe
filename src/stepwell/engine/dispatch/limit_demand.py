"""The demand of this process for the limits that are divided among processes.

Tenants come first, then models, then providers. What steps need of a later pool depends on what they got of the earlier
ones. So no two processes hold what the other one waits for.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping

from stepwell.contract.enums import ProviderType
from stepwell.engine.dispatch.pools import DividedPool, ModelPool, provider_key, tenant_key
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.rules.limit_division import PoolUse, most_starts

Part = Callable[[str, PoolUse], int]
Rate = Callable[[str, float, int], None]
MOST_POOLS = 500  # that steps wait for: dividing 1,000 takes some 10 ms


def needs_shares(step_queue: StepQueue) -> bool:
    """Return whether steps that have a slot or wait for one count for limits that are divided."""
    if step_queue.limits.per_tenant is not None and (step_queue.waiting or step_queue.used):
        return True
    return bool(step_queue.pools_in_use() or step_queue.pools_waited_for())


def divide(step_queue: StepQueue, part: Part, rate: Rate) -> list[DividedPool]:
    """Call *part* for each pool that is in use or waited for. It returns how many slots this process may use.

    *rate* is called with the starts per minute of a model, and the number of steps that could start. Returns the pools
    that were left out, because steps wait for more than `MOST_POOLS`.
    """
    startable = _divide_tenants(step_queue, part)
    chosen, left_out = _pools(step_queue)
    providers, models = Counter[ProviderType](), dict[ModelPool, int]()
    for pool in chosen:
        number = _startable_steps(step_queue, pool, startable)
        if isinstance(pool, ModelPool):
            if pool.limit.concurrency is not None:
                number = _within(step_queue, part, pool.key, pool, number)
            models[pool] = number
            providers[pool.provider] += number
        else:
            providers[pool] += number
    left = {
        provider: _within(step_queue, part, provider_key(provider), provider, number)
        for provider, number in providers.items()
    }
    for pool, number in models.items():
        if pool.limit.per_minute is not None and (starts := min(number, left[pool.provider])):
            rate(pool.key, pool.limit.per_minute, starts)
    return left_out


def _pools(step_queue: StepQueue) -> tuple[set[DividedPool], list[DividedPool]]:
    """Return the pools to divide, and those to leave out.

    Clients choose the names of models, so a tenant may wait for any number of pools. Each tenant gets an equal number
    of them, chosen at random, so that every pool is divided in the end.
    """
    waiting = step_queue.pools_waited_for()
    chosen, left_out = step_queue.pools_in_use(), list[DividedPool]()
    most = max(MOST_POOLS // max(len(waiting), 1), 1)
    for pools in waiting.values():
        if len(pools) > most:
            random.shuffle(pools)
        chosen.update(pools[:most])
        left_out += pools[most:]
    return chosen, [pool for pool in left_out if pool not in chosen]


def _within(step_queue: StepQueue, part: Part, key: str, pool: ProviderType | ModelPool, waiting: int) -> int:
    """Return how many of the *waiting* steps may start."""
    used = step_queue.used_by(pool)
    return min(waiting, max(part(key, PoolUse(step_queue.limits.of(pool), used, waiting)) - used, 0))


def _divide_tenants(step_queue: StepQueue, part: Part) -> dict[str | None, int] | None:
    """Return how many further steps each tenant may start; None if tenants have no limit."""
    if (limit := step_queue.limits.per_tenant) is None:
        return None
    startable = {}
    for tenant, waiting in step_queue.tenants_in_use().items():
        used = step_queue.used_by_tenant(tenant)
        startable[tenant] = max(part(tenant_key(tenant), PoolUse(limit, used, waiting)) - used, 0)
    return startable


def _startable_steps(
    step_queue: StepQueue, pool: ProviderType | ModelPool, startable: Mapping[str | None, int] | None
) -> int:
    """Return how many waiting steps of *pool* could start soon, as far as tenants and rates allow it."""
    if startable is None:
        number = step_queue.waiting_by_pool[pool]
    else:
        number = sum(min(steps, startable.get(name, 0)) for name, steps in step_queue.waiting_in(pool).items())
    if isinstance(pool, ModelPool) and pool.limit.per_minute is not None:
        number = min(number, most_starts(pool.limit.per_minute))
    return number
