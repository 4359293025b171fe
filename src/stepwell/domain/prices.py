"""The price list of models.

A cost is the provider's figure, else the operator's price, else unknown. Unknown is not zero.
"""

from collections.abc import Mapping

from msgspec import Struct

from stepwell.contract.costs import Cost
from stepwell.contract.enums import ProviderType

ANY_MODEL = "*"


class PriceList(Struct, frozen=True):
    """Prices of one job in *currency*, by provider and model. `*` stands for the models that aren't listed."""

    prices: Mapping[str, Mapping[str, float]]
    currency: str

    def of(self, provider: ProviderType, model: str) -> Cost | None:
        """Return the price of one job of *model*, or None if the list has none."""
        prices = self.prices.get(provider, {})
        amount = prices.get(model, prices.get(ANY_MODEL))
        return None if amount is None else Cost(amount, self.currency, "settings")
