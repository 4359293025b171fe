"""Queue positions in the fair order. The formula gives the same as granting all queued steps one by one."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.engine.dispatch.pools import Pool, SlotLimits
from stepwell.engine.dispatch.step_queue import LimitKind, StepQueue
from support.examples import examples

FAL, LOCAL = ProviderType.FAL, ProviderType.LOCAL
TENANTS = ("a", "b", None)
A, B = UUID(int=1), UUID(int=2)

# Entries of a queue, each with a tenant, the number of its workflow, and how many steps that enqueues.
queues = st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 4), st.integers(1, 7)), min_size=1, max_size=14)


def filled(entries: list[tuple[str | None, int, int]], limits: SlotLimits, pool: Pool = FAL) -> StepQueue:
    step_queue, position = StepQueue(limits, lambda: 0.0), 0
    for tenant, number, steps in entries:
        for _ in range(steps):
            step_queue.enqueue(tenant, UUID(int=TENANTS.index(tenant) * 10 + number), position, pool)
            position += 1
    return step_queue


@settings(max_examples=examples(200))
@given(entries=queues, before=st.integers(0, 25))
def test_queue_positions_are_the_order_of_grants(entries: list[tuple[str | None, int, int]], before: int) -> None:
    step_queue = filled(entries, SlotLimits(total=1))
    for _ in range(before):
        if (slot := step_queue.grant()) is not None:
            step_queue.release(slot)
    waiting = {
        (workflow_id, position): number
        for tenant, workflow_id in {(t, UUID(int=TENANTS.index(t) * 10 + n)) for t, n, _ in entries}
        for wait in step_queue.queued_steps(tenant, workflow_id)
        for position, number in wait.positions.by_step().items()
    }
    order = []
    while (slot := step_queue.grant()) is not None:
        order.append((slot.workflow_id, slot.position))
        step_queue.release(slot)
    assert waiting == {key: number for number, key in enumerate(order, 1)}


@pytest.mark.parametrize(
    ("pool", "limits", "limit_kind", "slots"),
    [
        (FAL, SlotLimits(total=2), LimitKind.TOTAL, 2),
        (None, SlotLimits(total=2), LimitKind.TOTAL, 2),
        (FAL, SlotLimits(per_provider=2), LimitKind.PROVIDER, 2),
        (LOCAL, SlotLimits(local=2), LimitKind.PROVIDER, 2),
        (FAL, SlotLimits(per_tenant=2), LimitKind.TENANT, 2),
        (None, SlotLimits(per_tenant=2), LimitKind.TENANT, 2),
    ],
)
def test_a_queued_step_names_the_limit_that_keeps_it_from_a_grant(
    pool: Pool, limits: SlotLimits, limit_kind: LimitKind, slots: int
) -> None:
    step_queue = filled([("a", 0, 5)], limits, pool)
    held = list(iter(step_queue.grant, None))
    (wait,) = step_queue.queued_steps("a", UUID(int=0))
    assert (wait.pool, wait.limit_kind, wait.slots, wait.used, len(held)) == (pool, limit_kind, slots, slots, slots)
    assert wait.positions.by_step() == {2: 1, 3: 2, 4: 3}


def test_a_model_names_its_rate_limit_until_its_slots_are_taken() -> None:
    clock = [0.0]
    limit = ModelLimit(concurrency=3, per_minute=6)
    step_queue = StepQueue(SlotLimits(models={FAL: {"flux": limit}}), lambda: clock[0])
    pool = step_queue.limits.pool(FAL, "flux")
    for position in range(5):
        step_queue.enqueue(None, A, position, pool)
    starts: list[float] = []
    expected: list[float] = []
    while True:
        while step_queue.grant() is not None:
            starts.append(clock[0])
        (wait,) = step_queue.queued_steps(None, A)
        if wait.limit_kind is not LimitKind.RATE:
            break
        if not clock[0]:
            expected = [wait.due_in_s + (number - 1) * 10 for number in wait.positions.by_step().values()]
        clock[0] += 2.5
    assert (wait.limit_kind, wait.slots, wait.used) == (LimitKind.MODEL, 3, 3)
    assert starts == [0.0, *expected[:2]]
    assert all(later - earlier == 10 for earlier, later in pairwise(starts))


def test_a_workflow_without_queued_steps_has_no_queue_positions() -> None:
    step_queue = filled([("a", 0, 1)], SlotLimits())
    assert step_queue.queued_steps("a", B) == step_queue.queued_steps("b", UUID(int=0)) == []
    assert step_queue.grant() is not None
    assert step_queue.queued_steps("a", UUID(int=0)) == []
