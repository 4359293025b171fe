"""What attempts cost: by the provider's word, else by the operator's prices, else unknown, which is not zero."""

from collections.abc import Mapping

from msgspec import Struct

from stepwell.domain.limits import ANY_MODEL
from stepwell.domain.model import Cost, ProviderType


class Money(Struct, frozen=True):
    amount: float
    currency: str


class WorkflowCost(Struct, frozen=True):
    """The sum over a workflow's attempts, a sum for each currency. `unknown_attempts`: so many may have cost something,
    and nobody has said what.
    """

    amounts: tuple[Money, ...] = ()
    unknown_attempts: int = 0


class PriceList(Struct, frozen=True):
    """Prices of one job in *currency*, by provider and model; `*` is for models that aren't named."""

    prices: Mapping[str, Mapping[str, float]]
    currency: str

    def of(self, provider: ProviderType, model: str) -> Cost | None:
        prices = self.prices.get(provider, {})
        amount = prices.get(model, prices.get(ANY_MODEL))
        return None if amount is None else Cost(amount, self.currency, "settings")
