"""A clock that runs like the service's own, and that a test can also move ahead."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stepwell.testing.manual_clock import ManualClock, ManualTimer


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
        """Make no more calls in real time."""
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
