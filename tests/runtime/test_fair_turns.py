"""Turns are bounded, in order for each tenant, and fair between tenants, whoever is cancelled meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from stepwell.runtime.fair_turns import FairTurns


class Turn(NamedTuple):
    number: int
    tenant: str
    weight: int


class Turns:
    """Turns that go on until they are ended or cancelled. `begun` has all that have begun, in order."""

    def __init__(self, total: int | None, per_tenant: int | None, group: asyncio.TaskGroup) -> None:
        self.turns, self._group = FairTurns(total, per_tenant), group
        self._total, self._per_tenant = total or 10**9, per_tenant or 10**9
        self.begun: list[Turn] = []
        self.held: dict[Turn, asyncio.Event] = {}
        self.waiting: dict[Turn, asyncio.Task[None]] = {}
        self._tasks: dict[Turn, asyncio.Task[None]] = {}
        self._passed: Counter[tuple[str, str]] = Counter()  # how often the first tenant has seen a turn of the second

    async def _hold(self, turn: Turn) -> None:
        async with self.turns.turn(turn.tenant, turn.weight):
            self.waiting.pop(turn, None)
            self.begun.append(turn)
            end = self.held[turn] = asyncio.Event()
            try:
                await end.wait()
            finally:
                del self.held[turn]

    async def act(self, action: str, turn: Turn) -> None:
        if action == "begin":
            self.waiting[turn] = self._tasks[turn] = self._group.create_task(self._hold(turn))
        if action in ("end", "replace") and self.held:
            list(self.held.values())[turn.weight % len(self.held)].set()
        if action == "replace":
            await asyncio.sleep(0)  # the next one has its turn, and doesn't know it yet
        if action in ("cancel", "replace") and self._tasks:
            cancelled = next(iter(self.waiting or self._tasks))
            self.waiting.pop(cancelled, None)
            self._tasks.pop(cancelled).cancel()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        for turn in [turn for turn, asyncio_task in self._tasks.items() if asyncio_task.done()]:
            del self._tasks[turn]

    def check_bounds(self) -> None:
        assert self.turns.waiting == len(self.waiting)
        assert len(self.held) <= self._total
        for tenant in "abc":
            weights = [max(turn.weight, 1) for turn in self.held if turn.tenant == tenant]
            assert len(weights) <= 1 or sum(weights) <= self._per_tenant
            numbers = [turn.number for turn in self.begun if turn.tenant == tenant]
            assert numbers == sorted(numbers)
            if first := next((turn for turn in self.waiting if turn.tenant == tenant), None):
                is_full = len(self.held) == self._total
                assert is_full or (weights and sum(weights) + max(first.weight, 1) > self._per_tenant)

    def check_fairness(self, begun: int, waited: set[str]) -> None:
        """Check the turns after the first *begun*: no tenant that *waited* saw two turns of another one."""
        for turn in self.begun[begun:]:
            for other in waited & self.tenants_waiting() - {turn.tenant}:
                self._passed[other, turn.tenant] += 1
                assert self._passed[other, turn.tenant] <= 1
            for passed in [passed for passed in self._passed if passed[0] == turn.tenant]:
                del self._passed[passed]

    def tenants_waiting(self) -> set[str]:
        return {turn.tenant for turn in self.waiting}


async def check(total: int | None, per_tenant: int | None, actions: list[tuple[str, str, int]]) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        turns = Turns(total, per_tenant, group)
        for number, (action, tenant, weight) in enumerate(actions):
            begun, waited = len(turns.begun), turns.tenants_waiting()
            await turns.act(action, Turn(number, tenant, weight))
            await turns.settle()
            turns.check_bounds()
            if per_tenant is None:
                turns.check_fairness(begun, waited)
        while turns.held:
            for end in turns.held.values():
                end.set()
            await turns.settle()
        assert not turns.waiting
    await turns.turns.begin("a", 99)


ACTIONS = st.tuples(
    st.sampled_from(["begin", "begin", "begin", "end", "cancel", "replace"]),
    st.sampled_from("abc"),
    st.integers(0, 9),
)


@example(1, None, [("begin", tenant, 1) for tenant in "aaaabb"] + [("end", "a", 0)] * 2 + [("replace", "a", 0)])
@given(st.sampled_from([None, 1, 2, 3]), st.sampled_from([None, 1, 10]), st.lists(ACTIONS, max_size=40))
def test_turns_are_bounded_and_fair_whatever_happens(
    total: int | None, per_tenant: int | None, actions: list[tuple[str, str, int]]
) -> None:
    asyncio.run(check(total, per_tenant, actions))


async def order_of(turns: FairTurns, tenants: Iterable[str]) -> list[str]:
    order: list[str] = []

    async def take(tenant: str) -> None:
        async with turns.turn(tenant):
            order.append(tenant)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for tenant in tenants:
            group.create_task(take(tenant))
    return order


async def test_a_tenant_with_many_turns_goes_behind_the_others_after_each() -> None:
    tenants = ["big", "big", "big", "small", "small"]
    assert await order_of(FairTurns(1), tenants) == ["big", "big", "small", "big", "small"], "nobody waited at first"


async def test_a_tenant_that_waits_for_its_own_bound_holds_up_no_other() -> None:
    turns = FairTurns(per_tenant=10)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group, turns.turn("a", 6):
        heavy, *light = (group.create_task(turns.begin("a", weight)) for weight in (6, 1, 1))
        await asyncio.sleep(0)
        async with turns.turn("b", 99):
            assert turns.waiting == 3, "those of one tenant stay in order"
        heavy.cancel()
        await asyncio.wait(light)
