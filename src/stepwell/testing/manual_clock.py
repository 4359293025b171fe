"""`ports.Clock` for tests: time passes when a test says so."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count

_START = datetime(2026, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class ManualTimer:
    """A call that waits for its time."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def call(self) -> None:
        if self.callback is not None:
            self.callback()

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until `advance`.

    Every `now` is a microsecond later than the one before, as with the service's own clock: what is made later sorts
    later.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._start = self._now = start
        self._last, self._behind = start, timedelta()
        self._timers: list[tuple[datetime, int, ManualTimer]] = []
        self._numbers = count()

    def now(self) -> datetime:
        self._now += _TICK
        self._last = max(self._last + _TICK, self._now - self._behind)
        return self._last

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> ManualTimer:
        """As the port says; what is due already is called at once, without `advance`."""
        timer = ManualTimer(callback)
        if seconds <= 0:
            asyncio.get_running_loop().call_soon(timer.call)
            return timer
        heappush(self._timers, (self._now + timedelta(seconds=seconds), next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, and make the calls that are due by then, each at its time, in the order of their times.

        What a call sets off in other tasks happens later, when the test awaits something.
        """
        until = self._now + timedelta(seconds=seconds)
        while self._first() is not None and self._timers[0][0] <= until:
            at, _, timer = heappop(self._timers)
            self._now = max(self._now, at)
            timer.call()
        self._now = max(self._now, until)

    def set_back(self, seconds: float) -> None:
        """Let `now` tell *seconds* less from then on, as after a correction by the database; until it has caught up
        it all but stands still. Scheduled calls are made when they would have been.
        """
        self._behind += timedelta(seconds=seconds)

    @property
    def next_call_s(self) -> float | None:
        """Seconds until the next scheduled call; None if there is none."""
        first = self._first()
        return None if first is None else max((first - self._now).total_seconds(), 0.0)

    def _first(self) -> datetime | None:
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None
