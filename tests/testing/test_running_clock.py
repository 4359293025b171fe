"""`RunningClock` runs with real time, and a test can move it ahead."""

import asyncio
import time

from stepwell.testing import RunningClock


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


async def test_a_cancelled_call_is_not_made() -> None:
    clock, calls = RunningClock(), list[str]()
    clock.call_later(60, lambda: calls.append("late")).cancel()
    clock.advance(61)
    assert calls == []
    clock.stop()
