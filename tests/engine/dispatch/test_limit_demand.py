"""What a process asks for in a division of limits, however many models its steps name."""

from uuid import UUID

import pytest
from msgspec import Struct

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.engine.dispatch.limit_demand import MOST_POOLS, divide
from stepwell.engine.dispatch.limit_shares import LimitShares
from stepwell.engine.dispatch.pools import SlotLimits, provider_key
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.rules.limit_division import PoolUse

FAL = ProviderType.FAL
LIMITS = SlotLimits(models={FAL: {"*": ModelLimit(concurrency=1)}})


def asked_for(step_queue: StepQueue) -> dict[str, int]:
    """Divide once. Return the number of steps that wait for each pool that is divided."""
    numbers: dict[str, int] = {}

    def part(pool: str, use: PoolUse) -> int:
        numbers[pool] = use.waiting
        return use.limit

    divide(step_queue, part, lambda _pool, _per_minute, _number: None)
    return numbers


def queue(step_queue: StepQueue, tenant: str, model: str) -> str:
    """Queue a step of *tenant*. Return the name of its pool."""
    pool = LIMITS.pool(FAL, model)
    step_queue.enqueue(tenant, UUID(int=1), 0, pool)
    return f"model FAL {model}"


def test_a_tenant_with_many_models_keeps_no_other_from_its_share() -> None:
    step_queue = StepQueue(LIMITS)
    names = {queue(step_queue, "many", f"model-{number}") for number in range(4 * MOST_POOLS)}
    other = queue(step_queue, "one", "another")
    seen = set[str]()
    for _ in range(200):
        numbers = asked_for(step_queue)
        assert numbers.pop(other) == 1
        assert numbers.pop("provider FAL") == len(numbers) + 1
        assert len(numbers) == MOST_POOLS // 2
        seen |= numbers.keys()
    assert seen == names


def test_all_pools_that_have_slots_are_divided() -> None:
    step_queue = StepQueue(LIMITS)
    used = {queue(step_queue, "one", f"used-{number}") for number in range(50)}
    for _ in used:
        assert step_queue.grant() is not None
    for number in range(2 * MOST_POOLS):
        queue(step_queue, "one", f"waiting-{number}")
    assert asked_for(step_queue).keys() > used


class HeldLease(Struct):
    """A lease that this process has all the time."""

    holds: bool = True
    term: int = 1


@pytest.mark.parametrize("name", ["FAL", "PRESS"], ids=["built in", "of a package"])
def test_a_slot_for_which_a_step_waits_here_is_not_offered_to_others(name: str) -> None:
    shares, pool = LimitShares(HeldLease(), lambda: 0.0), provider_key(ProviderType(name))
    shares.restrict(1, {})
    shares.use_shares({pool: 1}, {pool}, {pool}, {})
    step_queue = StepQueue(SlotLimits(), shares=shares)
    step_queue.enqueue(None, UUID(int=1), 0, ProviderType(name))
    slot = step_queue.grant()
    assert slot is not None
    step_queue.enqueue(None, UUID(int=1), 1, ProviderType(name))
    step_queue.release(slot)
    assert not shares.changed.is_set()
    last = step_queue.grant()
    assert last is not None
    step_queue.release(last)
    assert shares.changed.is_set()
