"""The database's time between two looks at it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.persistence import clock as module
from stepwell.persistence.clock import DatabaseClock, uuid7

DATABASE = datetime(2001, 1, 1, tzinfo=UTC)


class Machine:
    """This machine's clocks, both under control."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ticks, self.wall = 100.0, 1_000_000_000.0
        monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.ticks

    def time(self) -> float:
        return self.wall


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_before_the_first_observation_the_clock_has_the_machines_time(machine: Machine) -> None:
    clock = DatabaseClock()
    machine.ticks += 2.5
    assert clock.now() == datetime.fromtimestamp(1_000_000_002.5, UTC)


def test_the_clock_adds_the_passed_time_to_the_last_observation(machine: Machine) -> None:
    clock = DatabaseClock()
    clock.observe(DATABASE)
    assert clock.now() == DATABASE
    machine.ticks += 90
    assert clock.now() == DATABASE + timedelta(seconds=90)


def test_a_jump_of_the_machines_clock_changes_nothing(machine: Machine) -> None:
    clock = DatabaseClock()
    clock.observe(DATABASE)
    machine.wall -= 3600
    machine.ticks += 1
    assert clock.now() == DATABASE + timedelta(seconds=1)


def test_the_clock_almost_stands_still_where_the_database_would_set_it_back(machine: Machine) -> None:
    clock = DatabaseClock()
    clock.observe(DATABASE)
    machine.ticks += 10
    now = clock.now()
    clock.observe(DATABASE + timedelta(seconds=4))
    tick = timedelta(microseconds=1)
    assert clock.now() == now + tick  # two workflows that are made meanwhile have an order
    machine.ticks += 5
    assert clock.now() == now + 2 * tick
    machine.ticks += 5
    assert clock.now() == DATABASE + timedelta(seconds=14)


def test_a_time_that_was_never_read_may_be_set_back(machine: Machine) -> None:
    clock = DatabaseClock()
    clock.observe(DATABASE + timedelta(days=9))
    clock.observe(DATABASE)
    assert clock.now() == DATABASE


@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(-50, 50)), max_size=20))
def test_the_clock_always_advances_and_catches_up(steps: list[tuple[float, float | None]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(patch)
        clock = DatabaseClock()
        clock.observe(DATABASE)
        now = clock.now()
        for passed, off in steps:
            machine.ticks += passed
            if off is not None:
                clock.observe(DATABASE + timedelta(seconds=machine.ticks + off))
            assert clock.now() > now
            now = clock.now()
        machine.ticks += 200
        last = DATABASE + timedelta(seconds=machine.ticks)
        clock.observe(last)
        assert clock.now() == last


def test_the_ids_of_later_readings_sort_later(machine: Machine) -> None:
    clock = DatabaseClock()
    ids = [uuid7(clock.now()) for _ in range(2_000)]
    assert ids == sorted(ids)
    assert {each.version for each in ids} == {7}
