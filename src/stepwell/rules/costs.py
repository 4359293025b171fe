"""The price list of models, and sums of costs.

A cost is the provider's figure, else the operator's price, else unknown. Unknown is not zero.

What must hold of the sums by tenant, provider, model, day, definition and currency:
- The cost of an attempt counts exactly once, from the transaction that records it on, whatever crashes. It counts on
  the day (UTC) on which the attempt ended, however late its cost becomes known.
- A cost that changes later changes its sum by the difference.
- The sums stay when workflows and tasks are deleted. If the operator wants it, those of whole days are deleted, days
  later. No cost of such a day changes any more, because an abandoned job is polled for an hour at most.
- Sums are exact decimals. Amounts of two currencies are never added.

A cost changes only together with an event, so that the fence of the decision keeps it from being counted twice.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import CostKey, ProviderType
from stepwell.contract.tasks import Cost, CostSums, Money

ANY_MODEL = "*"
MAX_MODEL: Final = 255  # characters of a model's name that count: clients choose it, and it is part of a key

CurrencySum: TypeAlias = tuple[str | None, float | None, int]
"""A currency, the sum of costs in it, and the number of attempts. Attempts of unknown cost have no currency."""


class PriceList(Struct, frozen=True):
    """Prices of one job in *currency*, by provider and model. `*` stands for the models that aren't listed."""

    prices: Mapping[str, Mapping[str, float]]
    currency: str

    def of(self, provider: ProviderType, model: str) -> Cost | None:
        """Return the price of one job of *model*, or None if the list has none."""
        prices = self.prices.get(provider, {})
        amount = prices.get(model, prices.get(ANY_MODEL))
        return None if amount is None else Cost(amount, self.currency, "settings")


def cost_sums(by_currency: Iterable[CurrencySum]) -> CostSums:
    sums = list(by_currency)
    amounts = tuple(Money(round(amount or 0.0, 9), currency) for currency, amount, _ in sums if currency is not None)
    return CostSums(amounts, sum(attempts for currency, _, attempts in sums if currency is None))


_NULLABLE: Final = frozenset({CostKey.TENANT, CostKey.DEFINITION})


class CostQuery(Struct, frozen=True, kw_only=True):
    """The sums to read: of the days from `since` on and before `until`, for each combination of the keys in `by`.

    They are those of runs of `definition`, if that isn't None. At most `limit` sums are read.
    """

    since: date | None = None
    until: date | None = None
    by: tuple[CostKey, ...] = ()
    definition: DefinitionReference | None = None
    limit: int

    def keys_of(self, values: Iterable[Any]) -> tuple[Any, ...]:
        """Return `CostSum.keys` from stored *values*, which begin with those of `by`. "" is no tenant or definition."""
        pairs = zip(self.by, values, strict=False)
        return tuple(None if key in _NULLABLE and value == "" else value for key, value in pairs)


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
