"""The circuit breaker of a model: closed, open, half-open (M. Nygard, "Release It!", 2007, chapter 5).

              a step has used up its attempts, so often in a row
    CLOSED ────────────────────────────────────────────────────► OPEN until a time
       ▲                                                          │ that time has come
       │                          one attempt is let through      ▼
       └──────── it succeeds ───────────────────────────────── HALF_OPEN ── it fails ──► OPEN, for twice as long

What counts is a step that is given up, not an attempt that fails: so it never opens before a step's own retries, and
one step alone, however often it is tried, opens nothing by itself. A failure that is the request's fault says nothing.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from stepwell.contract.enums import BreakerState

_LONGEST_S = 300.0


class BreakerPolicy(Struct, frozen=True):
    """It opens after so many `failures` in a row, none: never; and first for `reset_s` seconds."""

    failures: int = 3
    reset_s: float = 30.0


class Breaker:
    """`failures` in a row; `open_until` is null while it is closed. Times are the caller's, and never go back."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy, self._reset_s = policy, policy.reset_s
        self.failures = 0
        self.open_until: datetime | None = None
        self.probing = False

    def state(self, now: datetime) -> BreakerState:
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.open_until else BreakerState.HALF_OPEN

    def allows(self, now: datetime) -> bool:
        """Whether an attempt may start now."""
        state = self.state(now)
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self.probing)

    def started(self, now: datetime) -> bool:
        """An attempt starts; true if it is the one that is let through to see."""
        probe = self.state(now) is BreakerState.HALF_OPEN and not self.probing
        self.probing = self.probing or probe
        return probe

    def succeeded(self) -> None:
        self.failures, self.open_until, self.probing = 0, None, False
        self._reset_s = self._policy.reset_s

    def failed(self, now: datetime, *, probe: bool, used_up: bool) -> None:
        """By the provider's fault. *used_up*: it was the step's last attempt there."""
        self.failures += used_up
        if probe:
            self._reset_s, self.probing = min(self._reset_s * 2, max(_LONGEST_S, self._policy.reset_s)), False
            self.open_until = now + timedelta(seconds=self._reset_s)
        elif self.open_until is None and 0 < self._policy.failures <= self.failures:
            self.open_until = now + timedelta(seconds=self._reset_s)

    def abandoned(self) -> None:
        """The attempt that was let through has ended without having shown anything."""
        self.probing = False
