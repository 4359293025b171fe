"""`ports.Clock`: the database's time, carried forward by this machine's monotonic clock between two observations."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stepwell.ports import Timer

_TICK = timedelta(microseconds=1)


class DatabaseClock:
    """Always goes on, by a microsecond at least: what is made later sorts later, even after an observation that sets it
    back. Before the first one it tells this machine's own time.
    """

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)
        self.observe(datetime.fromtimestamp(time.time(), UTC))

    def observe(self, now: datetime) -> None:
        """*now* is what the database's clock has just told."""
        self._at, self._ticks = now, time.monotonic()

    def now(self) -> datetime:
        self._last = max(self._last + _TICK, self._at + timedelta(seconds=time.monotonic() - self._ticks))
        return self._last

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)
