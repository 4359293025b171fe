"""The circuit breaker of a model: closed, open, half-open (M. Nygard, "Release It!", 2007, chapter 5).

              that many steps in a row have used up their attempts
    CLOSED ────────────────────────────────────────────────────► OPEN until a time
       ▲                                                          │ the time has come
       │                          one attempt is let through      ▼
       └──────── it succeeds ───────────────────────────────── HALF_OPEN ── it fails ──► OPEN, for twice as long

It counts steps that have used up their attempts, not failed attempts. So it never opens before a step's own retries,
and one step alone doesn't open it, however often it is tried. A failure that is the request's fault doesn't count.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from stepwell.contract.enums import BreakerState

_LONGEST_S = 300.0


class BreakerPolicy(Struct, frozen=True):
    """The breaker opens after `failures` in a row (0: never), the first time for `reset_s` seconds."""

    failures: int = 3
    reset_s: float = 30.0

    @property
    def longest_s(self) -> float:
        """The longest time for which a breaker opens."""
        return max(_LONGEST_S, self.reset_s)


class Breaker:
    """The breaker of one model.

    `failures` counts the failures in a row. `open_until` is None while it is closed. `probing`: while it is half-open,
    one attempt runs as a probe. The caller gives the times, which must never decrease.
    """

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
        state = self.state(now)
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self.probing)

    def started(self, now: datetime) -> bool:
        """Record that an attempt starts. Return whether it is the probe."""
        probe = self.state(now) is BreakerState.HALF_OPEN and not self.probing
        self.probing = self.probing or probe
        return probe

    def succeeded(self) -> None:
        """Record that an attempt has succeeded: the breaker closes."""
        self.failures, self.open_until, self.probing = 0, None, False
        self._reset_s = self._policy.reset_s

    def failed(self, now: datetime, *, probe: bool, used_up: bool) -> None:
        """Record a failure by the provider's fault. *used_up*: it was the step's last attempt at this provider."""
        self.failures += used_up
        if probe:
            self._reset_s, self.probing = min(self._reset_s * 2, self._policy.longest_s), False
            self.open_until = now + timedelta(seconds=self._reset_s)
        elif self.open_until is None and 0 < self._policy.failures <= self.failures:
            self.open_until = now + timedelta(seconds=self._reset_s)

    def opened_elsewhere(self, until: datetime) -> bool:
        """Record that another process has opened its breaker of the model. Return whether this one changes."""
        if not self._policy.failures or (self.open_until is not None and until <= self.open_until):
            return False
        self.open_until, self.probing = until, False
        return True

    def closed_elsewhere(self, at: datetime) -> bool:
        """Record that a probe of another process has succeeded at the time *at*. Return whether this breaker closes."""
        if self.open_until is None or self.open_until > at:
            return False
        self.succeeded()
        return True

    def abandoned(self) -> None:
        """Record that the probe has ended without showing whether the model works."""
        self.probing = False
