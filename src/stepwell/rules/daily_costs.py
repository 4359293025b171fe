"""Sums of costs by tenant, provider, model, day and currency.

What must hold:
- The cost of an attempt counts exactly once, from the transaction that records it on, whatever crashes. It counts on
  the day (UTC) on which the attempt ended, however late its cost becomes known.
- A cost that changes later changes its sum by the difference.
- The sums stay when workflows and tasks are deleted. If the operator wants it, those of whole days are deleted, days
  later. No cost of such a day changes any more, because a job is followed up for an hour at most.
- Sums are exact decimals. Amounts of two currencies are never added.

A cost changes only together with an event, so that the fence of the decision keeps it from being counted twice.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from msgspec import Struct

from stepwell.contract.enums import CostKey

MAX_MODEL: Final = 255  # characters of a model's name that count: clients choose it, and it is part of a key


class CostQuery(Struct, frozen=True, kw_only=True):
    """The sums to read: of the days from `since` on and before `until`, for each combination of the keys in `by`.

    At most `limit` sums are read.
    """

    since: date | None = None
    until: date | None = None
    by: tuple[CostKey, ...] = ()
    limit: int

    def keys_of(self, values: Iterable[Any]) -> tuple[Any, ...]:
        """Return `CostSum.keys` from stored *values*, which begin with those of `by`. There, no tenant is ""."""
        pairs = zip(self.by, values, strict=False)
        return tuple(None if key is CostKey.TENANT and value == "" else value for key, value in pairs)


class ExpiredCosts(Struct, frozen=True):
    """The number of sums that were deleted, and the first day that has sums and isn't due; None without one.

    If sums that are due may be left, `next_day` is None.
    """

    count: int
    next_day: date | None


class CostSum(NamedTuple):
    """A sum of costs. `keys` has the values of `CostQuery.by`, in that order. A tenant of None is no tenant."""

    keys: tuple[str | date | None, ...]
    currency: str
    amount: Decimal
    attempts: int
