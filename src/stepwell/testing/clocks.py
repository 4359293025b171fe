"""`ports.clock.Clock` for tests: time passes only when a test advances it, or as on the own clock of the service."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count

_START = datetime(2026, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def call(self) -> None:
        if self.callback is not None:
            self.callback()

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until `advance`.

    Each result of `now` is a microsecond later than the one before, as with the service's own clock, so that later rows
    sort later.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._start = self._now = start
        self._last, self._behind = start, timedelta()
        self._timers: list[tuple[datetime, int, ManualTimer]] = []
        self._numbers = count()
        self._on_advance: list[Callable[[float], object]] = []

    def now(self) -> datetime:
        self._now += _TICK
        self._last = max(self._last + _TICK, self._now - self._behind)
        return self._last

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> ManualTimer:
        """Schedule the call as the port says. A call with no delay is made at once, without `advance`."""
        timer = ManualTimer(callback)
        if seconds <= 0:
            asyncio.get_running_loop().call_soon(timer.call)
            return timer
        heappush(self._timers, (self._now + timedelta(seconds=seconds), next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass. Make the scheduled calls that are due by then, in the order of their times, each at its
        own time.

        If a call wakes other asyncio tasks, they run later, when the test awaits something.
        """
        until = self._now + timedelta(seconds=seconds)
        while self._first() is not None and self._timers[0][0] <= until:
            at, _, timer = heappop(self._timers)
            self._move_to(at)
            timer.call()
        self._move_to(until)

    def on_advance(self, callback: Callable[[float], object]) -> None:
        """Call *callback* with the seconds by which the clock was moved, before the calls that are due then."""
        self._on_advance.append(callback)

    def _move_to(self, at: datetime) -> None:
        if at > self._now:
            seconds = (at - self._now).total_seconds()
            self._now = at
            for callback in self._on_advance:
                callback(seconds)

    def set_back(self, seconds: float) -> None:
        """Set `now` back by *seconds*, as after a correction by the database. Until it has caught up, each reading is
        only a microsecond after the one before. Scheduled calls aren't moved.
        """
        self._behind += timedelta(seconds=seconds)

    @property
    def next_call_s(self) -> float | None:
        """Return the seconds until the next scheduled call; None if there is none."""
        first = self._first()
        return None if first is None else max((first - self._now).total_seconds(), 0.0)

    def _first(self) -> datetime | None:
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None


class RunningClock(ManualClock):
    """A `ManualClock` that doesn't stand still: real time passes on it too.

    So a test that knows nothing of the clock works, and one that calls `advance` doesn't wait.
    """

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))  # noqa: TID251 - this is the clock
        self._began, self._passed_s = time.monotonic(), 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def now(self) -> datetime:
        self._catch_up()
        return super().now()

    def monotonic(self) -> float:
        self._catch_up()
        return super().monotonic()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> ManualTimer:
        self._catch_up()
        timer = super().call_later(seconds, callback)
        self._set_alarm()
        return timer

    def advance(self, seconds: float) -> None:
        self._catch_up()
        super().advance(seconds)

    def stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _catch_up(self) -> None:
        passed_s = time.monotonic() - self._began
        self._now += timedelta(seconds=passed_s - self._passed_s)
        self._passed_s = passed_s

    def _set_alarm(self) -> None:
        """Wake up for the next scheduled call."""
        self.stop()
        if (seconds := self.next_call_s) is not None:
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._on_alarm)

    def _on_alarm(self) -> None:
        self.advance(0)
        self._set_alarm()
