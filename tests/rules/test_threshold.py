"""The rule by which tenants share a bounded resource."""

from hypothesis import given
from hypothesis import strategies as st

from stepwell.rules.threshold import may_hold, units_left


def units_taken_one_by_one(held: int, free: int) -> int:
    """Return how many more units a tenant gets until it is refused one."""
    taken = 0
    while may_hold(held + taken + 1, free - taken):
        taken += 1
    return taken


@given(st.integers(0, 200), st.integers(-10, 200))
def test_the_units_that_are_left_are_those_that_a_tenant_gets_one_by_one(held: int, free: int) -> None:
    assert units_left(held, free) == units_taken_one_by_one(held, free)


def test_a_tenant_alone_gets_half_and_one_that_comes_later_always_some() -> None:
    free, shares = 1_200, []
    for _ in range(5):
        shares.append(units_taken_one_by_one(0, free))
        free -= shares[-1]
    assert shares == [600, 300, 150, 75, 38]
