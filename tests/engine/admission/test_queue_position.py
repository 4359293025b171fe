"""Where a step stands in the fair order, told by a formula: the same as granting all that wait, one by one."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.engine.admission.controller import AdmissionController, LimitKind, Pool, SlotLimits

FAL, LOCAL = ProviderType.FAL, ProviderType.LOCAL
TENANTS = ("a", "b", None)
A, B = UUID(int=1), UUID(int=2)

# By tenant, how many steps each of its workflows has in the queue, and how many grants there were before.
queues = st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 4), st.integers(1, 7)), min_size=1, max_size=14)


def filled(entries: list[tuple[str | None, int, int]], limits: SlotLimits, pool: Pool = FAL) -> AdmissionController:
    admission, position = AdmissionController(limits, lambda: 0.0), 0
    for tenant, number, steps in entries:
        for _ in range(steps):
            admission.enqueue(tenant, UUID(int=TENANTS.index(tenant) * 10 + number), position, pool)
            position += 1
    return admission


@settings(max_examples=200, deadline=None)
@given(entries=queues, before=st.integers(0, 25))
def test_places_are_those_of_granting_one_by_one(entries: list[tuple[str | None, int, int]], before: int) -> None:
    admission = filled(entries, SlotLimits(total=1))
    for _ in range(before):
        if (slot := admission.grant()) is not None:
            admission.release(slot)
    waiting = {
        (workflow_id, position): place
        for tenant, workflow_id in {(t, UUID(int=TENANTS.index(t) * 10 + n)) for t, n, _ in entries}
        for wait in admission.waits_of(tenant, workflow_id)
        for position, place in wait.standing.places().items()
    }
    order = []
    while (slot := admission.grant()) is not None:
        order.append((slot.workflow_id, slot.position))
        admission.release(slot)
    assert waiting == {key: place for place, key in enumerate(order, 1)}


@pytest.mark.parametrize(
    ("pool", "limits", "bound", "slots"),
    [
        (FAL, SlotLimits(total=2), LimitKind.TOTAL, 2),
        (None, SlotLimits(total=2), LimitKind.TOTAL, 2),
        (FAL, SlotLimits(per_provider=2), LimitKind.PROVIDER, 2),
        (LOCAL, SlotLimits(local=2), LimitKind.PROVIDER, 2),
        (FAL, SlotLimits(per_tenant=2), LimitKind.TENANT, 2),
        (None, SlotLimits(per_tenant=2), LimitKind.TENANT, 2),
    ],
)
def test_what_a_step_waits_for_is_what_keeps_it_from_a_grant(
    pool: Pool, limits: SlotLimits, bound: LimitKind, slots: int
) -> None:
    admission = filled([("a", 0, 5)], limits, pool)
    held = list(iter(admission.grant, None))
    (wait,) = admission.waits_of("a", UUID(int=0))
    assert (wait.pool, wait.bound, wait.slots, wait.used, len(held)) == (pool, bound, slots, slots, slots)
    assert wait.standing.places() == {2: 1, 3: 2, 4: 3}


def test_a_models_own_limit_and_its_pace() -> None:
    clock = [0.0]
    limit = ModelLimit(concurrency=3, per_minute=6)
    admission = AdmissionController(SlotLimits(models={FAL: {"flux": limit}}), lambda: clock[0])
    pool = admission.limits.pool(FAL, "flux")
    for position in range(5):
        admission.enqueue(None, A, position, pool)
    starts: list[float] = []
    foretold: list[float] = []
    while True:
        while admission.grant() is not None:
            starts.append(clock[0])
        (wait,) = admission.waits_of(None, A)
        if wait.bound is not LimitKind.RATE:
            break
        if not clock[0]:
            foretold = [wait.due_in_s + (place - 1) * 10 for place in wait.standing.places().values()]
        clock[0] += 2.5
    assert (wait.bound, wait.slots, wait.used) == (LimitKind.MODEL, 3, 3)
    assert starts == [0.0, *foretold[:2]]
    assert all(later - earlier == 10 for earlier, later in pairwise(starts))


def test_who_waits_for_nothing_stands_nowhere() -> None:
    admission = filled([("a", 0, 1)], SlotLimits())
    assert admission.waits_of("a", B) == admission.waits_of("b", UUID(int=0)) == []
    assert admission.grant() is not None
    assert admission.waits_of("a", UUID(int=0)) == []
