"""The costs of attempts and workflows."""

from typing import Literal

from msgspec import Struct


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
