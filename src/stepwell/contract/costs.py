"""The costs of attempts and workflows."""

from datetime import date
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.contract.fields import ExactNumber


class Cost(Struct, frozen=True):
    """The cost of an attempt. `source`: the provider reported it, or the prices in the service's settings give it."""

    amount: float
    currency: str
    source: Literal["provider", "settings"]


class Money(Struct, frozen=True):
    amount: float
    currency: str


class CostSums(Struct, frozen=True):
    """The cost of the attempts of a workflow or step, one sum for each currency. `unknown_attempts` is the number of
    attempts whose cost isn't known.
    """

    amounts: tuple[Money, ...] = ()
    unknown_attempts: int = 0


class CostGroup(Struct, kw_only=True):
    """The sum of the costs of some attempts in one currency. It has those of the first four members that `by` names."""

    tenant: Annotated[str | None, Meta(description="null: workflows without a tenant")] | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    model: Annotated[str, Meta(description="The first 255 characters of the model's name")] | UnsetType = UNSET
    day: Annotated[date, Meta(description="The day (UTC) on which the attempts ended")] | UnsetType = UNSET
    currency: str
    amount: ExactNumber
    attempts: Annotated[int, Meta(description="The number of attempts whose cost is known")]


class CostsResponse(Struct):
    """Sums of costs, in the order of the members that `by` names, then by currency."""

    costs: list[CostGroup]
