"""The price list of models, and sums of costs.

A cost is the provider's figure, else the operator's price, else unknown. Unknown is not zero.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from stepwell.contract.enums import ProviderType
from stepwell.contract.tasks import Cost, CostSums, Money

ANY_MODEL = "*"

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
    """Return the sums as answers show them."""
    sums = list(by_currency)
    amounts = tuple(Money(round(amount or 0.0, 9), currency) for currency, amount, _ in sums if currency is not None)
    return CostSums(amounts, sum(attempts for currency, _, attempts in sums if currency is None))
