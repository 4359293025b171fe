"""The rule by which tenants share memory, as a model of tenants, shares, growth, and waits that are given up."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stepwell.rules.memory_shares import MemoryShare, MemoryShares
from support.examples import examples

LIMIT = 160  # bytes
LARGEST = 80  # of one share; the common pool has 80


class Model(RuleBasedStateMachine):
    """Tasks of three tenants. A task that waits does nothing else, except that it may give up."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = MemoryShares(LIMIT)
        self.running: list[MemoryShare] = []
        self.waiting: list[MemoryShare] = []
        self.charged: list[MemoryShare] = []  # without a request

    def granted(self, granted: list[MemoryShare]) -> None:
        for share in granted:
            self.waiting.remove(share)
            self.running.append(share)

    def end_share(self, share: MemoryShare) -> None:
        self.granted(self.shares.release(share, share.held))

    def request(self, share: MemoryShare, size: int) -> None:
        (self.running if self.shares.request(share, size) else self.waiting).append(share)

    @rule(tenant=st.sampled_from(["big", "small", None]), size=st.integers(1, LARGEST))
    def begin(self, tenant: str | None, size: int) -> None:
        self.request(MemoryShare(tenant), size)

    @rule(tenant=st.sampled_from(["big", "small", None]), size=st.integers(1, 3 * LIMIT))
    def charge(self, tenant: str | None, size: int) -> None:
        share = MemoryShare(tenant)
        self.shares.charge(share, size)
        self.charged.append(share)

    @precondition(lambda self: self.charged)
    @rule(data=st.data())
    def end_charge(self, data: Any) -> None:
        share = data.draw(st.sampled_from(self.charged))
        self.charged.remove(share)
        self.end_share(share)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def grow(self, data: Any) -> None:
        share = data.draw(st.sampled_from(self.running))
        if share.held < LARGEST:
            self.running.remove(share)
            self.request(share, data.draw(st.integers(1, LARGEST - share.held)))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def shrink(self, data: Any) -> None:
        share = data.draw(st.sampled_from(self.running))
        self.granted(self.shares.release(share, data.draw(st.integers(0, share.held))))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tenant=st.sampled_from(["big", "small", None]))
    def move(self, data: Any, tenant: str | None) -> None:
        share = data.draw(st.sampled_from(self.running))
        held = share.held
        self.granted(self.shares.move(share, tenant))
        assert (share.held, share.tenant) == (held, tenant)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: Any) -> None:
        share = data.draw(st.sampled_from(self.running))
        self.running.remove(share)
        self.end_share(share)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: Any) -> None:
        share = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(share)
        held = share.held
        self.granted(self.shares.withdraw(share))
        assert (share.held, share.wanted) == (held, 0)
        if held:
            self.running.append(share)

    @invariant()
    def the_sum_is_bounded(self) -> None:
        every = self.running + self.waiting
        requested = sum(share.held for share in every)
        assert requested <= LIMIT
        assert self.shares.held == requested + sum(share.held for share in self.charged)
        assert all(share.held <= LARGEST for share in every)
        assert sum(share.in_reserve for share in every) <= LARGEST
        assert sum(share.in_reserve > 0 for share in every) <= 1

    @invariant()
    def who_waits_is_counted(self) -> None:
        assert self.shares.waiting == len(self.waiting)
        assert all(share.wanted for share in self.waiting)
        assert not any(share.wanted for share in self.running)

    @invariant()
    def somebody_who_does_not_wait_holds_what_others_wait_for(self) -> None:
        assert not self.waiting or any(share.held for share in self.running + self.charged)

    def teardown(self) -> None:
        """Every task takes as much as it may and ends, as soon as it doesn't wait. All of them reach their end."""
        while self.waiting or self.running or self.charged:
            if not self.running:
                self.end_share(self.charged.pop())
                continue
            share = self.running.pop(0)
            if 0 < share.held < LARGEST:
                self.request(share, LARGEST - share.held)
            else:
                self.end_share(share)
        assert (self.shares.held, self.shares.waiting) == (0, 0)
        # Nothing is left behind: one tenant gets as much as at the beginning.
        assert fill(self.shares, "big", 1) == fill(MemoryShares(LIMIT), "big", 1)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=examples(200), stateful_step_count=40)


def fill(shares: MemoryShares, tenant: str, size: int) -> int:
    """Take shares of *size* until one must wait. Return what the shares hold then."""
    while shares.request(MemoryShare(tenant), size):
        pass
    return shares.held


def test_one_tenant_alone_gets_half_of_the_common_pool() -> None:
    assert fill(MemoryShares(LIMIT), "big", 1) == 40


def test_a_second_tenant_gets_half_of_what_the_first_has_left() -> None:
    shares = MemoryShares(LIMIT)
    assert (fill(shares, "big", 1), fill(shares, "other", 1)) == (40, 40 + 20)


@given(st.lists(st.integers(1, LARGEST), max_size=60), st.integers(1, LARGEST // 4))
def test_however_much_one_tenant_asks_for_another_gets_a_small_share_at_once(sizes: list[int], small: int) -> None:
    shares = MemoryShares(LIMIT)
    for size in sizes:
        shares.request(MemoryShare("big"), size)
    assert shares.request(MemoryShare("small"), small)


def test_a_share_that_has_moved_counts_for_its_new_tenant_alone() -> None:
    shares, moved = MemoryShares(LIMIT), MemoryShare("big")
    assert shares.request(moved, 40)
    assert shares.move(moved, "small") == []
    assert shares.request(MemoryShare("big"), 20), "which holds nothing any more"
    waiting = MemoryShare("small")
    assert not shares.request(waiting, 1) or waiting.in_reserve


def test_a_share_that_grows_goes_before_new_ones_of_its_tenant() -> None:
    shares = MemoryShares(LIMIT)
    first, second, new = (MemoryShare("big") for _ in range(3))
    owner = MemoryShare("other")
    assert shares.request(first, 20)
    assert shares.request(second, 20)
    assert shares.request(owner, 30)  # from the reserve: the pool has 40 left
    assert not shares.request(new, 1)
    assert not shares.request(second, 1)
    assert shares.release(first, 10) == [second, new]


def test_the_largest_share_of_a_small_tenant_waits_for_the_owner_of_the_reserve_only() -> None:
    shares = MemoryShares(LIMIT)
    holders = [MemoryShare("big") for _ in range(4)]
    for each in holders:
        assert shares.request(each, 10)
    assert shares.request(holders[0], 30)  # takes the reserve
    large = MemoryShare("small")
    assert not shares.request(large, LARGEST)
    for _ in range(100):
        shares.request(MemoryShare("big"), LARGEST)
    assert not shares.request(holders[1], 30)
    assert shares.release(holders[0], 40)[0] is large


def test_the_reserve_goes_from_tenant_to_tenant() -> None:
    shares = MemoryShares(LIMIT)
    first = {name: MemoryShare(name) for name in ("a", "b", "c")}
    second = {name: MemoryShare(name) for name in ("a", "b", "c")}
    for share in [*first.values(), *second.values()]:
        assert shares.request(share, 8)
    assert shares.request(first["a"], 32)  # takes the reserve
    for share in (second["a"], first["b"], second["b"], first["c"]):
        assert not shares.request(share, 32)
    assert shares.release(first["a"], 40) == [second["a"]]
    assert shares.release(second["a"], 40) == [first["b"]]
    assert shares.release(first["b"], 40)[0] is first["c"]


def test_a_share_that_gives_up_lets_the_next_one_of_its_tenant_pass() -> None:
    shares = MemoryShares(LIMIT)
    big = [MemoryShare("big") for _ in range(2)]
    assert [shares.request(share, 10) for share in big] == [True, True]
    large, little = MemoryShare("big"), MemoryShare("big")
    assert not shares.request(large, LARGEST)
    assert not shares.request(little, 1)
    assert shares.withdraw(large) == [little]
    assert (large.held, little.held, shares.held) == (0, 1, 21)
