"""The clocks of tests: `ManualClock` stands still, `RunningClock` runs, and a test can move both ahead."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from stepwell.testing import ManualClock, RunningClock

START = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


def test_each_reading_is_a_microsecond_later(clock: ManualClock) -> None:
    assert [clock.now(), clock.now()] == [START + TICK, START + 2 * TICK]


def test_advance_moves_both_times(clock: ManualClock) -> None:
    before = clock.monotonic()
    clock.advance(90)
    assert clock.monotonic() - before == 90
    assert clock.now() == START + timedelta(seconds=90) + TICK


def test_a_clock_that_is_set_back_goes_on_by_microseconds_until_it_has_caught_up(clock: ManualClock) -> None:
    last = clock.now()
    clock.set_back(10)
    assert clock.now() == last + TICK
    clock.advance(4)
    assert clock.now() == last + 2 * TICK
    clock.advance(8)
    assert clock.now() - START - timedelta(seconds=2) < timedelta(milliseconds=1)


def test_calls_are_made_in_the_order_of_their_times_each_at_its_time(clock: ManualClock) -> None:
    calls: list[tuple[str, float]] = []
    for name, seconds in (("last", 30.0), ("first", 10.0), ("second", 10.0), ("later", 30.1)):
        clock.call_later(seconds, lambda name=name: calls.append((name, clock.monotonic())))  # type: ignore[misc]
    clock.advance(30)
    assert calls == [("first", 10), ("second", 10), ("last", 30)]


def test_a_call_that_another_one_schedules_is_made_too_if_it_is_due(clock: ManualClock) -> None:
    calls: list[float] = []

    def again() -> None:
        calls.append(clock.monotonic())
        clock.call_later(10, again)

    clock.call_later(10, again)
    clock.advance(35)
    assert calls == [10, 20, 30]
    assert clock.next_call_s == 5


def test_a_cancelled_call_is_not_made(clock: ManualClock) -> None:
    calls: list[str] = []
    first = clock.call_later(1, lambda: calls.append("first"))
    clock.call_later(2, lambda: calls.append("second"))
    first.cancel()
    assert clock.next_call_s == 2
    clock.advance(5)
    assert calls == ["second"]
    assert clock.next_call_s is None


async def test_a_call_is_made_when_its_time_comes_by_itself() -> None:
    clock, called = RunningClock(), asyncio.Event()
    clock.call_later(0.01, called.set)
    async with asyncio.timeout(60):
        await called.wait()
    clock.stop()


async def test_a_call_is_made_at_once_when_the_clock_is_moved() -> None:
    clock, calls = RunningClock(), list[str]()
    clock.call_later(3_600, lambda: calls.append("late"))
    clock.call_later(60, lambda: calls.append("early"))
    clock.advance(61)
    assert calls == ["early"]
    clock.advance(3_600)
    assert calls == ["early", "late"]
    clock.stop()


async def test_both_times_follow_real_time_and_the_moves() -> None:
    clock, real = RunningClock(), time.monotonic()
    before, monotonic = clock.now(), clock.monotonic()
    await asyncio.sleep(0.01)
    clock.advance(100)
    passed = (clock.now() - before).total_seconds()
    assert 100.01 <= passed <= 100.01 + (time.monotonic() - real)
    assert 100.01 <= clock.monotonic() - monotonic <= 100.01 + (time.monotonic() - real)


async def test_a_cancelled_call_of_a_running_clock_is_not_made() -> None:
    clock, calls = RunningClock(), list[str]()
    clock.call_later(60, lambda: calls.append("late")).cancel()
    clock.advance(61)
    assert calls == []
    clock.stop()
