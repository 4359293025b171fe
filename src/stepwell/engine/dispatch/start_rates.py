"""Paces the starts of models with a rate: the generic cell rate algorithm (ITU-T I.371).

Starts are spaced evenly, and a burst has at most one second's worth of them. While this process has all limits for
itself, it paces the starts. Otherwise the processes reserve starts in the database, one after the other. See
`LimitShares`.
"""

import math
from collections.abc import Callable, Mapping

from stepwell.engine.dispatch.limit_shares import LimitShares
from stepwell.engine.dispatch.pools import ModelPool, Pool

_BURST_S = 1.0
# Clients choose model names. Beyond this number, the oldest model is forgotten once its next start is due.
_MOST_RATES = 1_000


class StartRates:
    """The next start of each model with a rate. *now* returns monotonic seconds."""

    def __init__(self, shares: LimitShares, now: Callable[[], float]) -> None:
        self._shares, self._now = shares, now
        self._next_start_at: dict[ModelPool, float] = {}  # at an even pace
        self._after_others: Mapping[str, float] = {}  # the next starts that others have left, by key

    @property
    def pools(self) -> set[Pool]:
        return set(self._next_start_at)

    def seconds_until_allowed(self, pool: ModelPool) -> float:
        """Return the seconds until the rate allows a start; 0 or less if it allows one now.

        They are infinite if other processes use the rate too, and this one has no start reserved.
        """
        if pool.limit.per_minute is None:
            return 0.0
        if not self._shares.whole:
            seconds = self._shares.seconds_until_start(pool.key)
            return math.inf if seconds is None else seconds
        return self._next_start(pool, pool.limit.per_minute) - self._now() - leeway_s(pool.limit.per_minute)

    def due_in_s(self, pool: Pool) -> float:
        """Return the seconds until the next start; 0 if they aren't known."""
        seconds = self.seconds_until_allowed(pool) if isinstance(pool, ModelPool) else 0.0
        return max(seconds, 0.0) if seconds < math.inf else 0.0

    def count_start(self, pool: ModelPool) -> None:
        if pool.limit.per_minute is None:
            return
        if not self._shares.whole:
            self._shares.count_start(pool.key)
            return
        now = self._now()
        next_start = max(self._next_start(pool, pool.limit.per_minute), now)
        self._next_start_at.pop(pool, None)
        self._next_start_at[pool] = next_start + 60 / pool.limit.per_minute
        if (
            len(self._next_start_at) > _MOST_RATES
            and self._next_start_at[oldest := next(iter(self._next_start_at))] <= now
        ):
            del self._next_start_at[oldest]

    def next_starts(self) -> dict[str, float]:
        """Return the next start of each model, by the key of its pool, in monotonic seconds. Those before now are left
        out.
        """
        now = self._now()
        known = dict(self._after_others) | {pool.key: at for pool, at in self._next_start_at.items()}
        return {pool: at for pool, at in known.items() if at > now}

    def continue_after(self, next_starts: Mapping[str, float]) -> None:
        """Pace starts here from now on, none before those of *next_starts*."""
        self._next_start_at.clear()
        self._after_others = dict(next_starts)

    def _next_start(self, pool: ModelPool, per_minute: float) -> float:
        if (known := self._next_start_at.get(pool)) is not None:
            return known
        if self._after_others and (known := self._after_others.get(pool.key)) is not None:
            return known
        return self._shares.starts_from + max(60 / per_minute, _BURST_S)


def leeway_s(per_minute: float) -> float:
    """Return how early a start may be: so early that a burst has one second's worth of starts, and at least one."""
    return max(_BURST_S - 60 / per_minute, 0.0)
