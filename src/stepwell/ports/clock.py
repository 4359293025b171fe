"""The clock, its timers, and the ids that the engine needs from the outside."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol
from uuid import UUID


class Timer(Protocol):
    """A call that `Clock.call_later` has scheduled."""

    def cancel(self) -> None:
        """Prevent the call, if it hasn't been made yet."""


class Clock(Protocol):
    """Time as the database tells it, so that times compared between processes agree."""

    def now(self) -> datetime:
        """The present moment in UTC; never goes back within a process."""

    def monotonic(self) -> float:
        """Seconds since some moment in the past; never goes back. For intervals within this process."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* in the running event loop once *seconds* of `monotonic` have passed."""


class NewId(Protocol):
    def __call__(self, now: datetime, /) -> UUID:
        """An id that nobody else has; those made later sort later, by the millisecond."""
