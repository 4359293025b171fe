"""Slots for active workflows: who gets one, who waits, and who is refused."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.errors import TooManyRequests, Unavailable
from stepwell.basics.workflow_limits import TenantLimit, WorkflowLimits
from stepwell.engine.execution.workflow_slots import WorkflowSlots
from stepwell.lifecycle.records import WaitingCount

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def slots(**limits: Any) -> WorkflowSlots:
    return WorkflowSlots(WorkflowLimits(**limits), lambda: NOW)


def fill(workflow_slots: WorkflowSlots, tenant: str | None) -> int:
    """Let *tenant* take every slot that it can have."""
    taken = 0
    while workflow_slots.has_slots(tenant):
        workflow_slots.take(tenant)
        taken += 1
    return taken


def wait(workflow_slots: WorkflowSlots, tenant: str | None, number: int) -> None:
    for _ in range(number):
        workflow_slots.add_waiting(tenant)


def test_a_tenant_alone_gets_its_bound_or_half_of_the_total() -> None:
    assert fill(slots(active=100, active_per_tenant=30), "a") == 30
    assert fill(slots(active=100, active_per_tenant=100), "a") == 50
    assert fill(slots(active=1), "a") == 1


def test_tenants_that_come_later_find_slots() -> None:
    workflow_slots = slots(active=64, active_per_tenant=64)
    assert [fill(workflow_slots, tenant) for tenant in "abcdef"] == [32, 16, 8, 4, 2, 1]


def test_a_setting_of_the_tenant_replaces_the_general_bound() -> None:
    workflow_slots = slots(active=100, active_per_tenant=5, tenants={"big": TenantLimit(active_workflows=20)})
    assert (fill(workflow_slots, "big"), fill(workflow_slots, "a"), fill(workflow_slots, None)) == (20, 5, 5)


def test_nobody_overtakes_those_of_its_tenant_that_wait() -> None:
    workflow_slots = slots(active=10, active_per_tenant=5)
    wait(workflow_slots, "a", 1)
    assert (workflow_slots.has_slots("a"), workflow_slots.has_slots("b")) == (False, True)


def test_tenants_take_turns_and_the_next_round_goes_on_where_this_one_ended() -> None:
    workflow_slots = slots(active=100, active_per_tenant=100)
    for tenant in "abc":
        wait(workflow_slots, tenant, 10)
    assert workflow_slots.next_shares(2) == {"a": 1, "b": 1}
    assert workflow_slots.next_shares(4) == {"c": 2, "a": 1, "b": 1}


def test_a_share_is_what_waits_and_what_fits() -> None:
    workflow_slots = slots(active=10, active_per_tenant=4)
    wait(workflow_slots, "a", 2)
    wait(workflow_slots, "b", 9)
    assert workflow_slots.next_shares(100) == {"a": 2, "b": 4}
    assert fill(workflow_slots, "c") == 4
    assert workflow_slots.next_shares(100) == {"a": 2, "b": 2}, "a tenant holds at most as much as is free"


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.dictionaries(st.sampled_from([None, *"abcd"]), st.integers(1, 60), min_size=1),
    st.integers(1, 100),
)
def test_shares_keep_the_bounds_and_leave_no_slot_that_somebody_could_have(
    active: int, per_tenant: int, waiting: dict[str | None, int], most: int
) -> None:
    workflow_slots = slots(active=active, active_per_tenant=per_tenant)
    for each, number in waiting.items():
        wait(workflow_slots, each, number)
    shares = Counter(workflow_slots.next_shares(most))
    assert shares.total() <= min(most, active)
    assert all(shares[tenant] <= min(per_tenant, waiting[tenant]) for tenant in shares)
    for tenant in shares.elements():
        workflow_slots.take(tenant)
    for tenant, number in shares.items():
        workflow_slots.record_admission(tenant, number)
    if shares.total() < most:
        assert workflow_slots.next_shares(1) == {}


@given(st.integers(1, 30), st.integers(0, 30), st.integers(1, 30), st.integers(0, 40))
def test_the_remaining_number_is_how_many_more_are_accepted(
    active: int, waiting: int, per_tenant: int, others: int
) -> None:
    workflow_slots = slots(active=active, active_per_tenant=per_tenant, waiting=waiting)
    for _ in range(others):
        accept(workflow_slots, "other")
    remaining, accepted = workflow_slots.remaining("a"), 0
    while accept(workflow_slots, "a"):
        accepted += 1
    assert accepted == remaining


def accept(workflow_slots: WorkflowSlots, tenant: str) -> bool:
    try:
        workflow_slots.check(tenant, slow=False)
    except (TooManyRequests, Unavailable):
        return False
    if workflow_slots.has_slots(tenant):
        workflow_slots.take(tenant)
    else:
        workflow_slots.add_waiting(tenant)
    return True


class Process:
    """A process that admits workflows of several sizes. `running` and `waiting` have the tenant and slots of each."""

    def __init__(self, **limits: Any) -> None:
        self.slots = slots(**limits)
        self.running: list[tuple[str, int]] = []
        self.waiting: list[tuple[str, int]] = []

    def create(self, tenant: str, size: int) -> None:
        if self.slots.has_slots(tenant, size):
            self.slots.take(tenant, size)
            self.running.append((tenant, size))
        else:
            self.slots.add_waiting(tenant)
            self.waiting.append((tenant, size))
            self.admit()
        self.check()

    def end(self, index: int) -> None:
        tenant, size = self.running.pop(index % len(self.running))
        self.slots.give_back(tenant, size)
        self.admit()
        self.check()

    def admit(self) -> None:
        """Admit as `WorkflowStore.admit` does: of each tenant the first, as long as its share suffices."""
        while shares := self.slots.next_shares(4):
            for tenant, share in shares.items():
                left, number, next_slots = share, 0, None
                for each in [each for each in self.waiting if each[0] == tenant]:
                    if each[1] > left:
                        next_slots = each[1]
                        break
                    left -= each[1]
                    number += 1
                    self.waiting.remove(each)
                    self.running.append(each)
                    self.slots.take(*each)
                self.slots.record_admission(tenant, number, next_slots)

    def check(self) -> None:
        limits, sizes = self.slots.limits, defaultdict[str, list[int]](list)
        for tenant, size in self.running:
            sizes[tenant].append(size)
        total = sum(size for _, size in self.running)
        alone = [found[0] for found in sizes.values() if len(found) == 1]
        assert total <= limits.active or any(total - size < limits.active for size in alone)
        for tenant, found in sizes.items():
            assert len(found) == 1 or sum(found) <= limits.active_of(tenant)
            assert self.slots.use(tenant).active == sum(found)
        assert (self.slots.free, self.slots.waiting) == (max(limits.active - total, 0), len(self.waiting))


_TENANTS = st.sampled_from("abcd")


@given(st.integers(1, 12), st.integers(1, 12), st.lists(st.tuples(_TENANTS, st.integers(1, 15)) | st.integers(0, 9)))
def test_one_workflow_at_most_exceeds_the_bounds_and_each_is_admitted_at_last(
    active: int, per_tenant: int, moves: list[tuple[str, int] | int]
) -> None:
    process = Process(active=active, active_per_tenant=per_tenant)
    for move in moves:
        if isinstance(move, tuple):
            process.create(*move)
        elif process.running:
            process.end(move)
    while process.running:
        process.end(0)
    assert process.waiting == []
    assert process.slots.free == active


def test_others_that_keep_all_slots_in_use_do_not_keep_a_large_workflow_out() -> None:
    process = Process(active=8, active_per_tenant=8)
    for tenant in "abcdefgh" * 20:
        process.create(tenant, 1)
    assert process.slots.free == 0
    process.create("large", 20)
    others = len(process.waiting) - 1
    while ("large", 20) not in process.running:
        process.end(0)
    assert others - len(process.waiting) <= 8, "each of the others had one turn at most"


def test_after_a_large_workflow_smaller_ones_of_its_tenant_get_what_is_free() -> None:
    process = Process(active=100, active_per_tenant=10)
    for size in (4, 9, 2, 2, 2):
        process.create("a", size)
    assert process.running == [("a", 4)]
    process.end(0)
    assert process.running == [("a", 9)]
    process.end(0)
    assert process.running == [("a", 2)] * 3


def test_beyond_its_queue_a_tenant_is_refused_and_another_is_not() -> None:
    workflow_slots = slots(active=2, active_per_tenant=1, waiting=8)
    workflow_slots.take("a")
    wait(workflow_slots, "a", 4)
    with pytest.raises(TooManyRequests) as refusal:
        workflow_slots.check("a", slow=False)
    assert refusal.value.retry_after_s == 1
    workflow_slots.check("b", slow=False)


def test_sub_workflows_of_one_tenant_do_not_keep_others_from_waiting() -> None:
    workflow_slots = slots(active=1, waiting=20)
    fill(workflow_slots, "x")
    wait(workflow_slots, "a", 300)
    for _ in range(5):
        workflow_slots.check("b", slow=False)
        wait(workflow_slots, "b", 1)
    with pytest.raises(TooManyRequests):
        workflow_slots.check("a", slow=False)
    workflow_slots.record_admission("a", 295)
    workflow_slots.begin_count()
    workflow_slots.end_count([WaitingCount("a", 300, NOW), WaitingCount("b", 5, NOW)])
    assert workflow_slots.waiting == 305
    workflow_slots.check("c", slow=False)


def test_the_service_is_full_only_when_its_whole_queue_is() -> None:
    workflow_slots = slots(active=1, waiting=3)
    workflow_slots.take("a")
    wait(workflow_slots, "a", 2)
    workflow_slots.check("b", slow=False)
    wait(workflow_slots, "c", 1)
    with pytest.raises(Unavailable):
        workflow_slots.check("b", slow=False)
    with pytest.raises(TooManyRequests):
        workflow_slots.check("a", slow=False)


def test_a_queue_that_is_too_old_gets_no_longer() -> None:
    workflow_slots = slots(active=2, active_per_tenant=1, waiting_s=600)
    workflow_slots.begin_count()
    workflow_slots.end_count([WaitingCount("a", 1, NOW - timedelta(seconds=601)), WaitingCount("b", 1, NOW)])
    with pytest.raises(TooManyRequests) as refusal:
        workflow_slots.check("a", slow=False)
    assert refusal.value.retry_after_s == 6
    workflow_slots.check("b", slow=False)


def test_while_the_database_is_slow_tenants_over_their_share_are_refused() -> None:
    workflow_slots = slots(active=100)
    for tenant in "aaab":
        workflow_slots.take(tenant)
    with pytest.raises(TooManyRequests):
        workflow_slots.check("a", slow=True)
    workflow_slots.check("b", slow=True)
    workflow_slots.check("new", slow=True)
    workflow_slots.check("a", slow=False)


def test_a_workflow_that_is_stored_during_a_count_is_not_forgotten() -> None:
    workflow_slots = slots()
    workflow_slots.begin_count()
    workflow_slots.add_waiting("a")
    workflow_slots.end_count([])
    assert workflow_slots.waiting == 1


def test_a_count_that_failed_changes_nothing() -> None:
    workflow_slots = slots()
    wait(workflow_slots, "a", 2)
    workflow_slots.begin_count()
    workflow_slots.end_count(None)
    assert workflow_slots.waiting == 2


def test_a_count_keeps_the_order_of_turns() -> None:
    workflow_slots = slots(active=10)
    for tenant in "ab":
        wait(workflow_slots, tenant, 5)
    assert workflow_slots.next_shares(1) == {"a": 1}
    workflow_slots.begin_count()
    workflow_slots.end_count([WaitingCount("a", 5, NOW), WaitingCount("b", 5, NOW)])
    assert workflow_slots.next_shares(1) == {"b": 1}
