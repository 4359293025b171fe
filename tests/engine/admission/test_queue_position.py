"""Queue positions in the fair order. The formula gives the same as granting all queued steps one by one."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.engine.admission.controller import AdmissionController, LimitKind
from stepwell.engine.admission.pools import Pool, SlotLimits
from support.examples import examples

FAL, LOCAL = ProviderType.FAL, ProviderType.LOCAL
TENANTS = ("a", "b", None)
A, B = UUID(int=1), UUID(int=2)

# Entries of a queue, each with a tenant, the number of its workflow, and how many steps that enqueues.
queues = st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 4), st.integers(1, 7)), min_size=1, max_size=14)


def filled(entries: list[tuple[str | None, int, int]], limits: SlotLimits, pool: Pool = FAL) -> AdmissionController:
    admission, position = AdmissionController(limits, lambda: 0.0), 0
    for tenant, number, steps in entries:
        for _ in range(steps):
            admission.enqueue(tenant, UUID(int=TENANTS.index(tenant) * 10 + number), position, pool)
            position += 1
    return admission


@settings(max_examples=examples(200))
@given(entries=queues, before=st.integers(0, 25))
def test_queue_positions_are_the_order_of_grants(entries: list[tuple[str | None, int, int]], before: int) -> None:
    admission = filled(entries, SlotLimits(total=1))
    for _ in range(before):
        if (slot := admission.grant()) is not None:
            admission.release(slot)
    waiting = {
        (workflow_id, position): number
        for tenant, workflow_id in {(t, UUID(int=TENANTS.index(t) * 10 + n)) for t, n, _ in entries}
        for wait in admission.queued_steps(tenant, workflow_id)
        for position, number in wait.positions.by_step().items()
    }
    order = []
    while (slot := admission.grant()) is not None:
        order.append((slot.workflow_id, slot.position))
        admission.release(slot)
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
    admission = filled([("a", 0, 5)], limits, pool)
    held = list(iter(admission.grant, None))
    (wait,) = admission.queued_steps("a", UUID(int=0))
    assert (wait.pool, wait.limit_kind, wait.slots, wait.used, len(held)) == (pool, limit_kind, slots, slots, slots)
    assert wait.positions.by_step() == {2: 1, 3: 2, 4: 3}


def test_a_model_names_its_rate_limit_until_its_slots_are_taken() -> None:
    clock = [0.0]
    limit = ModelLimit(concurrency=3, per_minute=6)
    admission = AdmissionController(SlotLimits(models={FAL: {"flux": limit}}), lambda: clock[0])
    pool = admission.limits.pool(FAL, "flux")
    for position in range(5):
        admission.enqueue(None, A, position, pool)
    starts: list[float] = []
    expected: list[float] = []
    while True:
        while admission.grant() is not None:
            starts.append(clock[0])
        (wait,) = admission.queued_steps(None, A)
        if wait.limit_kind is not LimitKind.RATE:
            break
        if not clock[0]:
            expected = [wait.due_in_s + (number - 1) * 10 for number in wait.positions.by_step().values()]
        clock[0] += 2.5
    assert (wait.limit_kind, wait.slots, wait.used) == (LimitKind.MODEL, 3, 3)
    assert starts == [0.0, *expected[:2]]
    assert all(later - earlier == 10 for earlier, later in pairwise(starts))


def test_a_workflow_without_queued_steps_has_no_queue_positions() -> None:
    admission = filled([("a", 0, 1)], SlotLimits())
    assert admission.queued_steps("a", B) == admission.queued_steps("b", UUID(int=0)) == []
    assert admission.grant() is not None
    assert admission.queued_steps("a", UUID(int=0)) == []
