"""The terms of a model: how often it may be called, and what a call costs.

A cost is the provider's figure, else the operator's price, else unknown, which is not zero.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from stepwell.domain.model import Cost, ProviderType

ANY_MODEL = "*"


class ModelLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts at once, and starts a minute, of one model of a provider; null is no limit."""

    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    per_minute: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None


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
