"""The step queue alone: limits, the fair order, and that every queued step is granted once."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.engine.dispatch.pools import Pool, SlotLimits
from stepwell.engine.dispatch.step_queue import Slot, StepQueue
from support.examples import examples

A, B, C = (UUID(int=n) for n in (1, 2, 3))
FAL, LOCAL, CUSTOM = ProviderType.FAL, ProviderType.LOCAL, ProviderType.CUSTOM


def fill(step_queue: StepQueue, tenant: str | None, workflow_id: UUID, steps: int, pool: Pool = FAL) -> None:
    for position in range(steps):
        step_queue.enqueue(tenant, workflow_id, position, pool)


def grants(step_queue: StepQueue) -> Iterator[Slot]:
    return iter(step_queue.grant, None)


def one_by_one(step_queue: StepQueue, turns: int) -> list[Slot]:
    """Return the first grants, in order, if each slot is released before the next grant."""
    order = []
    for _ in range(turns):
        (slot,) = grants(step_queue)
        order.append(slot)
        step_queue.release(slot)
    return order


def test_steps_of_a_workflow_are_granted_in_the_order_in_which_they_were_queued() -> None:
    step_queue = StepQueue(SlotLimits(total=1))
    fill(step_queue, "t", A, 3)
    assert [slot.position for slot in one_by_one(step_queue, 3)] == [0, 1, 2]
    assert (step_queue.used, step_queue.waiting) == (0, 0)


def test_workflows_of_a_tenant_take_turns() -> None:
    step_queue = StepQueue(SlotLimits(total=1))
    fill(step_queue, "t", A, 1000)
    fill(step_queue, "t", B, 2)
    fill(step_queue, "t", C, 1)
    assert [slot.workflow_id for slot in one_by_one(step_queue, 6)] == [A, B, C, A, B, A]


def test_tenants_take_turns_however_many_workflows_one_has() -> None:
    step_queue = StepQueue(SlotLimits(total=1))
    for workflow_id in (A, B):
        fill(step_queue, "big", workflow_id, 100)
    fill(step_queue, None, C, 2)
    order = one_by_one(step_queue, 5)
    assert [slot.tenant for slot in order] == ["big", None, "big", None, "big"]
    assert [slot.workflow_id for slot in order] == [A, C, B, C, A]


def test_a_new_workflow_waits_for_at_most_one_step_of_another() -> None:
    step_queue = StepQueue(SlotLimits(total=1))
    fill(step_queue, "t", A, 10_000)
    one_by_one(step_queue, 3)
    fill(step_queue, "t", B, 1)
    assert B in [slot.workflow_id for slot in one_by_one(step_queue, 2)]


def test_pools_take_turns_when_the_total_is_short() -> None:
    step_queue = StepQueue(SlotLimits(total=1))
    fill(step_queue, "big", A, 100, None)
    fill(step_queue, "small", B, 2, CUSTOM)
    fill(step_queue, "small", C, 2, FAL)
    assert [slot.pool for slot in one_by_one(step_queue, 6)] == [None, CUSTOM, FAL, None, CUSTOM, FAL]


@pytest.mark.parametrize(
    ("pool", "limits", "granted"),
    [
        (LOCAL, SlotLimits(local=2), 2),
        (FAL, SlotLimits(per_provider=3), 3),
        (None, SlotLimits(local=1, per_provider=1), 9),
        (None, SlotLimits(total=4), 4),
        (FAL, SlotLimits(per_tenant=5), 5),
        (FAL, SlotLimits(total=0), 0),
    ],
)
def test_each_limit_bounds_the_grants(pool: Pool, limits: SlotLimits, granted: int) -> None:
    step_queue = StepQueue(limits)
    fill(step_queue, "t", A, 9, pool)
    assert len(list(grants(step_queue))) == granted
    assert list(grants(step_queue)) == []
    assert (step_queue.used, step_queue.waiting) == (granted, 9 - granted)


def test_a_full_pool_does_not_delay_another() -> None:
    step_queue = StepQueue(SlotLimits(local=1))
    fill(step_queue, "t", A, 5, LOCAL)
    fill(step_queue, "t", A, 5, FAL)
    assert Counter(slot.pool for slot in grants(step_queue)) == {LOCAL: 1, FAL: 5}


def test_a_tenant_at_its_limit_delays_no_other_and_is_first_once_it_has_a_slot() -> None:
    step_queue = StepQueue(SlotLimits(total=3, per_tenant=1))
    fill(step_queue, "a", A, 3)
    fill(step_queue, "b", B, 1)
    first, second = grants(step_queue)
    assert (first.tenant, second.tenant) == ("a", "b")
    fill(step_queue, "b", B, 1)
    step_queue.release(first)
    assert [slot.tenant for slot in grants(step_queue)] == ["a"]


def test_withdrawn_steps_are_never_granted_and_others_are() -> None:
    step_queue = StepQueue(SlotLimits())
    fill(step_queue, "t", A, 3)
    fill(step_queue, "t", A, 3, LOCAL)
    fill(step_queue, "t", B, 1)
    step_queue.withdraw("t", A)
    step_queue.withdraw("t", C)
    step_queue.withdraw("unknown", A)
    assert [slot.workflow_id for slot in grants(step_queue)] == [B]
    assert step_queue.waiting == 0


def test_steps_may_be_withdrawn_and_queued_between_two_grants() -> None:
    step_queue = StepQueue(SlotLimits())
    fill(step_queue, "t", A, 2)
    fill(step_queue, "t", B, 2)
    granted = []
    for slot in grants(step_queue):
        granted.append(slot)
        if len(granted) == 1:
            step_queue.withdraw("t", B)
            fill(step_queue, "u", C, 1)
    assert [slot.workflow_id for slot in granted] == [A, A, C]


def test_a_closed_controller_grants_nothing() -> None:
    step_queue = StepQueue(SlotLimits())
    fill(step_queue, "t", A, 3)
    step_queue.closed = True
    assert list(grants(step_queue)) == []
    assert step_queue.waiting == 3


class StepQueueMachine(RuleBasedStateMachine):
    """Under any sequence of calls no limit is exceeded, and each queued step is granted once or withdrawn."""

    @initialize(
        total=st.integers(1, 6),
        local=st.integers(1, 3),
        per_provider=st.integers(1, 4),
        per_tenant=st.none() | st.integers(1, 3),
    )
    def begin(self, total: int, local: int, per_provider: int, per_tenant: int | None) -> None:
        self.limits = SlotLimits(total, local, per_provider, per_tenant)
        self.step_queue = StepQueue(self.limits)
        self.held: list[Slot] = []
        self.queued: Counter[Slot] = Counter()

    @rule(
        tenant=st.sampled_from(["a", "b", None]),
        workflow=st.integers(0, 3),
        position=st.integers(0, 5),
        pool=st.sampled_from([None, LOCAL, FAL, CUSTOM]),
    )
    def enqueue(self, tenant: str | None, workflow: int, position: int, pool: Pool) -> None:
        workflow_id = UUID(int=workflow * 3 + ["a", "b", None].index(tenant))
        self.step_queue.enqueue(tenant, workflow_id, position, pool)
        self.queued[Slot(workflow_id, position, tenant, pool)] += 1

    @rule(take=st.integers(1, 9))
    def grant(self, take: int) -> None:
        for slot in grants(self.step_queue):
            assert self.queued[slot] > 0
            self.queued[slot] -= 1
            self.held.append(slot)
            take -= 1
            if not take:
                return
        assert not any(self._has_slot(slot) for slot in self.queued.elements()), "a slot for one that waits"

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.step_queue.release(slot)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.queued, key=repr)))
        self.step_queue.withdraw(slot.tenant, slot.workflow_id)
        self.queued = Counter({s: n for s, n in self.queued.items() if s.workflow_id != slot.workflow_id})

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "step_queue"):
            return
        assert self.step_queue.used == len(self.held) <= self.limits.total
        assert self.step_queue.waiting == self.queued.total()
        for pool, used in Counter(slot.pool for slot in self.held).items():
            assert used <= self.limits.of(pool)
        for used in Counter(slot.tenant for slot in self.held).values():
            assert self.limits.per_tenant is None or used <= self.limits.per_tenant

    def _has_slot(self, slot: Slot) -> bool:
        tenants, pools = Counter(s.tenant for s in self.held), Counter(s.pool for s in self.held)
        return (
            len(self.held) < self.limits.total
            and pools[slot.pool] < self.limits.of(slot.pool)
            and (self.limits.per_tenant is None or tenants[slot.tenant] < self.limits.per_tenant)
        )


StepQueueMachine.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40)
test_limits_and_counts_hold_under_any_sequence_of_calls = StepQueueMachine.TestCase


@settings(max_examples=examples(30))
@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6), slots=st.integers(1, 5))
def test_each_other_workflow_has_at_most_one_grant_between_two_of_a_workflow(sizes: list[int], slots: int) -> None:
    step_queue = StepQueue(SlotLimits(total=slots))
    for number, steps in enumerate(sizes):
        fill(step_queue, None, UUID(int=number), steps)
    order: list[int] = []
    while granted := list(grants(step_queue)):
        for slot in granted:
            order.append(slot.workflow_id.int)
            step_queue.release(slot)
    assert Counter(order) == Counter(dict(enumerate(sizes)))
    for number, steps in enumerate(sizes):
        mine = [index for index, workflow in enumerate(order) if workflow == number]
        assert mine[0] < len(sizes)
        assert all(later - earlier <= len(sizes) for earlier, later in pairwise(mine)), steps


# Limits of models


def with_model_limit(limit: ModelLimit, now: Callable[[], float] = lambda: 0.0, **slots: int) -> StepQueue:
    limits = SlotLimits(models={FAL: {"flux": limit, "*": ModelLimit(concurrency=2)}})
    return StepQueue(replace(limits, **slots), now)


def test_a_models_own_limit_holds_within_its_providers_limit() -> None:
    step_queue = with_model_limit(ModelLimit(concurrency=3), per_provider=4)
    flux, other, local = (step_queue.limits.pool(*of) for of in ((FAL, "flux"), (FAL, "veo"), (LOCAL, "flux")))
    assert local is LOCAL
    fill(step_queue, None, A, 9, flux)
    fill(step_queue, None, B, 9, other)
    held = list(grants(step_queue))
    assert Counter(slot.workflow_id for slot in held) == {A: 2, B: 2}
    for slot in held:
        if slot.workflow_id == B:
            step_queue.release(slot)
    assert Counter(slot.workflow_id for slot in grants(step_queue))[A] == 1


def test_each_model_that_is_not_named_gets_the_limit_of_the_asterisk() -> None:
    step_queue = with_model_limit(ModelLimit())
    for workflow_id, model in ((A, "one"), (B, "two")):
        fill(step_queue, None, workflow_id, 5, step_queue.limits.pool(FAL, model))
    assert Counter(slot.workflow_id for slot in grants(step_queue)) == {A: 2, B: 2}


@pytest.mark.parametrize(("per_minute", "at_once", "gap_s"), [(6, 1, 10.0), (60, 1, 1.0), (240, 4, 0.25)])
def test_a_rate_limit_spreads_starts_evenly_after_a_short_burst(per_minute: float, at_once: int, gap_s: float) -> None:
    clock = [0.0]
    step_queue = with_model_limit(ModelLimit(per_minute=per_minute), lambda: clock[0], per_provider=1_000)
    fill(step_queue, None, A, 1000, step_queue.limits.pool(FAL, "flux"))
    started = 0
    while clock[0] < 60:
        started += len(list(grants(step_queue)))
        if clock[0] == 0:
            assert started == at_once
        assert step_queue.retry_in_s == pytest.approx(gap_s)
        clock[0] += gap_s
    assert started == per_minute + at_once - 1


def test_without_a_queued_step_there_is_no_retry_time() -> None:
    step_queue = with_model_limit(ModelLimit(per_minute=6))
    assert (step_queue.grant(), step_queue.retry_in_s) == (None, None)
    fill(step_queue, None, A, 1, step_queue.limits.pool(FAL, "flux"))
    assert [slot.position for slot in grants(step_queue)] == [0]
    assert step_queue.retry_in_s is None


def test_the_state_of_unused_models_is_bounded() -> None:
    limits = SlotLimits(models={FAL: {"*": ModelLimit(concurrency=1, per_minute=1_000_000)}})
    now = [0.0]
    step_queue = StepQueue(limits, lambda: now[0])
    for number in range(3_000):
        now[0] += 1
        step_queue.enqueue(None, UUID(int=number), 0, limits.pool(FAL, f"model {number}"))
        slot = step_queue.grant()
        assert slot is not None
        step_queue.release(slot)
    assert (step_queue.waiting, step_queue.used, len(step_queue.waiting_by_pool)) == (0, 0, 0)
    assert step_queue.model_pools <= 1_001
