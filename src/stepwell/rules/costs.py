"""The price list of models, and sums of costs.

A cost is the provider's figure, else the operator's price, else unknown. Unknown is not zero.

What must hold of the sums by tenant, provider, model, day, definition and currency:
- The cost of an attempt counts exactly once, from the transaction that records it on, whatever crashes. It counts on
  the day (UTC) on which the attempt ended, however late its cost becomes known.
- A cost that changes later changes its sum by the difference.
- The sums stay when workflows and tasks are deleted. If the operator wants it, those of whole days are deleted, days
  later. No cost of such a day changes any more, because an abandoned job is polled for an hour at most.
- What a result that is taken over cost then counts as `saved`, on the day on which it is taken over, for the provider
  and the model of that attempt; "" if the attempt has been deleted. It is no cost.
- Sums are exact decimals. Amounts of two currencies are never added.

A cost changes only together with an event, so that the fence of the decision keeps it from being counted twice.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from stepwell.basics.setting_values import ModelPrice, PriceUnit
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import CostKey, ProviderType, TaskType
from stepwell.contract.task_configs import CONFIGS
from stepwell.contract.tasks import Cost, CostSums, Money

ANY_MODEL = "*"
ONE_ATTEMPT: Final = Decimal(1)
MAX_MODEL: Final = 255  # characters of a model's name that count: clients choose it, and it is part of a key

_WITHOUT_IMAGES: Final = frozenset({TaskType.VIDEO_GENERATION, TaskType.LLM_INTERACTION, TaskType.EXPERIMENTAL_FAL})

CurrencySum: TypeAlias = tuple[str | None, float | None, int]
"""A currency, the sum of costs in it, and the number of attempts. Attempts of unknown cost have no currency."""


QUANTITIES: Final = ("num_images", "duration_s", "max_tokens")  # the inputs that quantities come from
UNKNOWN: Final[Mapping[str, Any]] = {}  # an input whose value isn't known yet


class PricedWork(Struct, frozen=True):
    """The work of an attempt whose price may depend on its inputs. They may have expressions that have no value yet."""

    task_type: TaskType
    inputs: Mapping[str, Any]

    def quantity(self, unit: PriceUnit) -> float | None:
        """Return how many units the work has, by its inputs or their defaults; None if that isn't known."""
        match unit:
            case PriceUnit.JOB:
                return 1.0
            case PriceUnit.IMAGE:
                return self._number("num_images", None if self.task_type in _WITHOUT_IMAGES else 1)
            case PriceUnit.SECOND:
                return self._number("duration_s", getattr(CONFIGS[self.task_type], "duration_s", None))
            case PriceUnit.MILLION_TOKENS:
                tokens = self._number("max_tokens")
                return None if tokens is None else tokens / 1_000_000

    def _number(self, name: str, default: float | None = None) -> float | None:
        """Return the input, which may be one of the `arguments`."""
        arguments = self.inputs.get("arguments")
        given = self.inputs.get(name) if not isinstance(arguments, dict) else arguments.get(name, self.inputs.get(name))
        value = default if given is None else given
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            return None
        return float(value)


class PriceList(Struct, frozen=True):
    """Prices by provider and model. `*` stands for the models that aren't listed. A number is that of a job.

    *currency* is that of prices that name none.
    """

    prices: Mapping[str, Mapping[str, float | ModelPrice]]
    currency: str

    def of(self, provider: ProviderType, model: str, work: PricedWork | None = None) -> Cost | None:
        """Return the price of the *work* of one job of *model*, or None if it isn't known."""
        if (price := self._price(provider, model)) is None:
            return None
        quantity = 1.0 if price.per is PriceUnit.JOB else None if work is None else work.quantity(price.per)
        if quantity is None:
            return None
        amount = price.amount if quantity == 1 else round(float(price.amount) * quantity, 9)
        return Cost(float(amount), price.currency or self.currency, "settings")

    def depends_on_work(self, provider: ProviderType, model: str) -> bool:
        price = self._price(provider, model)
        return price is not None and price.per is not PriceUnit.JOB

    def _price(self, provider: ProviderType, model: str) -> ModelPrice | None:
        prices = self.prices.get(provider, {})
        price = prices.get(model, prices.get(ANY_MODEL))
        return ModelPrice(amount=price) if isinstance(price, int | float) else price

    @property
    def currencies(self) -> frozenset[str]:
        """The currencies of the prices."""
        listed = [price for prices in self.prices.values() for price in prices.values()]
        own = [price.currency if isinstance(price, ModelPrice) else None for price in listed]
        return frozenset(currency or self.currency for currency in own)


def budget_scope(tenant: str | None, at: datetime) -> str:
    """Return the key of the budget of a tenant's day (UTC)."""
    return f"{at.astimezone(UTC).date()}/{tenant or ''}"


def exact(amount: float) -> Decimal:
    """Return the decimal that *amount* is written as."""
    return Decimal(repr(amount))


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
    saved: Decimal
