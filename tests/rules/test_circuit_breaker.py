"""The circuit breaker of a model, by its inputs and times."""

from datetime import UTC, datetime, timedelta

import pytest

from stepwell.contract.enums import BreakerState
from stepwell.rules.circuit_breaker import Breaker, BreakerPolicy

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def opened(failures: int = 2, reset_s: float = 10) -> Breaker:
    breaker = Breaker(BreakerPolicy(failures, reset_s))
    for _ in range(failures):
        breaker.failed(T0, probe=False, used_up=True)
    return breaker


def test_it_opens_after_so_many_steps_in_a_row_and_not_before() -> None:
    breaker = Breaker(BreakerPolicy(failures=3, reset_s=10))
    for _ in range(2):
        breaker.failed(T0, probe=False, used_up=True)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(T0, probe=False, used_up=True)
    assert (breaker.state(T0), breaker.allows(T0)) == (BreakerState.CLOSED, True)
    breaker.failed(T0, probe=False, used_up=True)
    assert (breaker.state(at(9.9)), breaker.allows(at(9.9)), breaker.open_until) == (BreakerState.OPEN, False, at(10))


def test_failed_attempts_before_a_steps_last_do_not_open_it() -> None:
    breaker = Breaker(BreakerPolicy(failures=1))
    for _ in range(1_000):
        breaker.failed(T0, probe=False, used_up=False)
    assert (breaker.state(T0), breaker.failures) == (BreakerState.CLOSED, 0)


def test_it_never_opens_if_set_to_zero_failures() -> None:
    breaker = Breaker(BreakerPolicy(failures=0))
    breaker.failed(T0, probe=False, used_up=True)
    assert breaker.allows(T0)


def test_half_open_it_allows_one_attempt() -> None:
    breaker = opened()
    assert breaker.state(at(10)) is BreakerState.HALF_OPEN
    assert breaker.allows(at(10))
    assert breaker.started(at(10))
    assert not breaker.allows(at(10))
    assert not breaker.started(at(10))
    breaker.succeeded()
    assert (breaker.state(at(10)), breaker.failures) == (BreakerState.CLOSED, 0)
    assert not breaker.started(at(10))


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, now, lengths = opened(), at(10), []
    for _ in range(6):
        assert breaker.started(now)
        breaker.failed(now, probe=True, used_up=False)
        assert breaker.open_until is not None
        lengths.append((breaker.open_until - now).total_seconds())
        now = breaker.open_until
    assert lengths == [20, 40, 80, 160, 300, 300]
    assert breaker.started(now)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(now, probe=False, used_up=True)
    assert breaker.open_until == now + timedelta(seconds=10)


def test_after_a_probe_that_shows_nothing_the_next_attempt_is_a_probe() -> None:
    breaker = opened()
    assert breaker.started(at(10))
    breaker.abandoned()
    assert breaker.allows(at(10))


@pytest.mark.parametrize("used_up", [True, False])
def test_attempts_that_ran_when_it_opened_do_not_extend_it(used_up: bool) -> None:  # noqa: FBT001
    breaker = opened()
    breaker.failed(at(5), probe=False, used_up=used_up)
    assert breaker.open_until == at(10)


def test_it_opens_with_another_process_and_never_for_a_shorter_time() -> None:
    breaker = Breaker(BreakerPolicy(failures=3, reset_s=10))
    assert breaker.opened_elsewhere(at(10))
    assert (breaker.state(at(9)), breaker.state(at(10))) == (BreakerState.OPEN, BreakerState.HALF_OPEN)
    assert not breaker.opened_elsewhere(at(9))
    assert breaker.open_until == at(10)
    assert not Breaker(BreakerPolicy(failures=0)).opened_elsewhere(at(10)), "a breaker that never opens"


def test_a_probe_of_another_process_closes_it_unless_it_has_opened_again_since() -> None:
    breaker = opened(reset_s=10)
    assert not breaker.closed_elsewhere(at(9.9))
    assert breaker.closed_elsewhere(at(10))
    assert (breaker.state(at(10)), breaker.failures) == (BreakerState.CLOSED, 0)
    assert not breaker.closed_elsewhere(at(11))
