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
    """The time of the database, so that the times of all processes can be compared."""

    def now(self) -> datetime:
        """Return the present time in UTC. It never goes back within a process."""

    def monotonic(self) -> float:
        """Return the seconds since some moment in the past, which never go back. For intervals in this process."""

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* in the running event loop once *seconds* of `monotonic` have passed."""


class NewId(Protocol):
    """A source of unique ids."""

    def __call__(self, now: datetime, /) -> UUID:
        """Return a unique id. Ids that are made later sort later, by the millisecond."""
