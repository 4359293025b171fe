"""The dispatch of LOCAL's work: slots and child processes by weight, the extra one, and the bound of memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from anyio import create_task_group, wait_all_tasks_blocked
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType
from stepwell.engine.dispatch.pools import SlotLimits
from stepwell.engine.dispatch.step_queue import Slot, StepQueue
from stepwell.ports.providers import LIGHT, LIGHT_MEMORY, WorkWeight

LOCAL = ProviderType.LOCAL
GIB = 1024 * 1024 * 1024
HEAVY = WorkWeight(64.0, GIB)
LIMITS = SlotLimits(local=2, local_memory=4 * GIB + LIGHT_MEMORY)
A, B, C = (UUID(int=n) for n in (1, 2, 3))


def controller(limits: SlotLimits = LIMITS) -> StepQueue:
    return StepQueue(limits, lambda: 0.0)


def queue(step_queue: StepQueue, tenant: str, workflow_id: UUID, steps: int) -> None:
    for position in range(steps):
        step_queue.enqueue(tenant, workflow_id, position, LOCAL)


def next_of(step_queue: StepQueue) -> Slot:
    slot = step_queue.grant()
    assert slot is not None
    return slot


def granted(step_queue: StepQueue) -> list[Slot]:
    return list(iter(step_queue.grant, None))


class Work:
    """Steps that hold slots and wait for child processes. `working` are the tenants that have one, by their starts."""

    def __init__(self, step_queue: StepQueue) -> None:
        self.step_queue, self.working = step_queue, list[str | None]()
        self._ends: dict[str | None, list[asyncio.Event]] = {}

    async def run(self, slot: Slot, weight: WorkWeight) -> None:
        step = (slot.workflow_id, slot.position)
        self.step_queue.local.charge(slot.tenant, step, weight.cost)
        end = asyncio.Event()
        async with self.step_queue.local.child_process(slot.tenant, step, weight):
            self.working.append(slot.tenant)
            self._ends.setdefault(slot.tenant, []).append(end)
            await end.wait()
        self.step_queue.release(slot)

    async def end_one(self, tenant: str) -> None:
        self._ends[tenant].pop(0).set()
        await wait_all_tasks_blocked()


@asynccontextmanager
async def work_of(step_queue: StepQueue, *weights: tuple[str, WorkWeight]) -> AsyncIterator[Work]:
    """Start a step for each of *weights*, in this order."""
    work = Work(step_queue)
    async with create_task_group() as group:
        for number, (tenant, weight) in enumerate(weights):
            step_queue.enqueue(tenant, UUID(int=100 + number), 0, LOCAL)
            for slot in granted(step_queue):
                group.start_soon(work.run, slot, weight)
                await wait_all_tasks_blocked()
        yield work
        group.cancel_scope.cancel()


def test_a_tenant_without_a_slot_gets_one_beyond_the_limit() -> None:
    step_queue = controller()
    queue(step_queue, "big", A, 30)
    assert [slot.tenant for slot in granted(step_queue)] == ["big", "big"]
    queue(step_queue, "small", B, 2)
    queue(step_queue, "other", C, 2)
    assert [slot.tenant for slot in granted(step_queue)] == ["small", "other"]


def test_slots_beyond_the_limit_count_when_the_others_are_released() -> None:
    step_queue = controller()
    queue(step_queue, "big", A, 30)
    big = granted(step_queue)
    queue(step_queue, "small", B, 1)
    granted(step_queue)
    step_queue.release(big[0])
    assert granted(step_queue) == []  # big has one, small has one
    step_queue.release(big[1])
    assert [slot.tenant for slot in granted(step_queue)] == ["big"]


def test_without_a_bound_of_memory_only_the_limit_counts() -> None:
    step_queue = controller(SlotLimits(local=2))
    queue(step_queue, "big", A, 30)
    queue(step_queue, "small", B, 1)
    assert [slot.tenant for slot in granted(step_queue)] == ["big", "small"]


def test_tenants_share_slots_by_weight() -> None:
    step_queue = controller(SlotLimits(local=1, local_memory=4 * GIB))
    queue(step_queue, "big", A, 3)
    queue(step_queue, "small", B, 100)
    order = []
    for _ in range(67):
        slot = next_of(step_queue)
        order.append(slot.tenant)
        cost = 64.0 if slot.tenant == "big" else 1.0
        step_queue.local.charge(slot.tenant, (slot.workflow_id, slot.position), cost)
        step_queue.release(slot)
    assert order == ["big", *["small"] * 64, "big", "small"]


def test_a_tenant_that_had_nothing_to_do_saves_up_nothing() -> None:
    step_queue = controller(SlotLimits(local=1, local_memory=4 * GIB))
    queue(step_queue, "old", A, 100)
    for _ in range(50):
        step_queue.release(next_of(step_queue))
    queue(step_queue, "new", B, 100)
    order = []
    for _ in range(6):
        slot = next_of(step_queue)
        order.append(slot.tenant)
        step_queue.release(slot)
    assert order.count("new") == 3


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 100)), min_size=2, max_size=5))
def test_explain_says_the_order_in_which_steps_of_known_weight_start(tenants: list[tuple[int, int]]) -> None:
    step_queue = controller(SlotLimits(local=1, local_memory=4 * GIB))
    for number, (_, cost) in enumerate(tenants):  # a first step of each tells what its next ones may weigh
        queue(step_queue, str(number), UUID(int=number), 1)
        slot = next_of(step_queue)
        step_queue.local.charge(slot.tenant, (slot.workflow_id, slot.position), cost)
        step_queue.release(slot)
    for number, (steps, _) in enumerate(tenants):
        queue(step_queue, str(number), UUID(int=number), steps)
    expected = {
        (UUID(int=number), step): in_queue
        for number in range(len(tenants))
        for waiting in step_queue.queued_steps(str(number), UUID(int=number))
        for step, in_queue in waiting.positions.by_step().items()
    }
    starts = {}
    for number in range(1, len(expected) + 1):
        slot = next_of(step_queue)
        starts[slot.workflow_id, slot.position] = number
        cost = tenants[slot.workflow_id.int][1]
        step_queue.local.charge(slot.tenant, (slot.workflow_id, slot.position), cost)
        step_queue.release(slot)
    assert starts == expected


async def test_a_light_step_of_another_tenant_gets_one_child_process_beyond_the_limit() -> None:
    async with work_of(controller(), ("big", HEAVY), ("big", HEAVY), ("small", LIGHT), ("other", LIGHT)) as work:
        assert work.working == ["big", "big", "small"]
        await work.end_one("small")
        assert work.working == ["big", "big", "small", "other"]


async def test_a_heavy_step_of_another_tenant_waits_for_a_child_process_but_is_next() -> None:
    step_queue = controller()
    async with work_of(step_queue, ("big", HEAVY), ("big", HEAVY), ("other", HEAVY)) as work:
        assert work.working == ["big", "big"]
        assert [(step[0].int, weight) for step, weight in step_queue.local.queue()] == [(102, HEAVY)]
        step_queue.enqueue("big", A, 0, LOCAL)
        await work.end_one("big")
        assert work.working == ["big", "big", "other"]


async def test_a_light_step_waits_while_light_steps_have_the_child_processes() -> None:
    async with work_of(controller(), ("big", HEAVY), ("a", LIGHT), ("b", LIGHT)) as work:
        assert work.working == ["big", "a"]
        await work.end_one("a")
        assert work.working == ["big", "a", "b"]


async def test_child_processes_never_hold_more_memory_than_the_bound() -> None:
    limits = SlotLimits(local=4, local_memory=2 * GIB + LIGHT_MEMORY)
    step_queue = controller(limits)
    async with work_of(step_queue, *[("big", HEAVY)] * 4, ("other", WorkWeight(5.0, GIB // 2))) as work:
        assert work.working == ["big", "big"]
        await work.end_one("big")
        assert work.working == ["big"] * 3  # the lighter one doesn't overtake it
        await work.end_one("big")
        assert work.working == ["big"] * 4
        await work.end_one("big")
        assert work.working == ["big"] * 4 + ["other"]


async def test_a_step_that_never_fits_is_refused() -> None:
    step_queue = controller(SlotLimits(local=1, local_memory=GIB))
    with pytest.raises(AttemptError, match="needs 1024 MiB of memory, and LOCAL has 832 MiB for one step") as refusal:
        async with step_queue.local.child_process("t", (A, 0), HEAVY):
            raise AssertionError
    assert not refusal.value.retryable
    assert step_queue.local.used == 0


async def test_a_step_that_is_cancelled_while_it_waits_leaves_the_queue() -> None:
    step_queue = controller(SlotLimits(local=1, local_memory=4 * GIB))
    async with work_of(step_queue, ("big", HEAVY), ("other", HEAVY)):
        assert len(step_queue.local.queue()) == 1
    assert (step_queue.local.queue(), step_queue.local.used) == ([], 0)


async def test_an_attempt_that_still_ends_takes_nothing_from_the_next_attempt_of_its_step() -> None:
    step_queue = controller(SlotLimits(local=2, local_memory=GIB + LIGHT_MEMORY))  # enough for one heavy step
    slots: list[Slot] = []
    work, ends = Work(step_queue), [asyncio.Event(), asyncio.Event()]

    async def attempt(number: int) -> None:
        slot = slots[number]
        async with step_queue.local.child_process(slot.tenant, (slot.workflow_id, slot.position), HEAVY):
            work.working.append(str(number))
            await ends[number].wait()
        step_queue.release(slot)

    async with asyncio.timeout(60), create_task_group() as group:
        for number in range(2):
            queue(step_queue, "a", A, 1)
            slots.append(next_of(step_queue))
            group.start_soon(attempt, number)
            await wait_all_tasks_blocked()
        assert (work.working, step_queue.local.used) == (["0"], 1)
        ends[0].set()
        await wait_all_tasks_blocked()
        assert (work.working, step_queue.local.used) == (["0", "1"], 1)
        ends[1].set()
    queue(step_queue, "b", B, 2)
    granted(step_queue)
    queue(step_queue, "a", A, 1)
    assert [slot.tenant for slot in granted(step_queue)] == ["a"]
