"""What an attempt or a workflow cost."""

from typing import Literal

from msgspec import Struct


class Cost(Struct, frozen=True):
    """What an attempt cost. `source`: whether the provider said so, or the service's settings price it."""

    amount: float
    currency: str
    source: Literal["provider", "settings"]


class Money(Struct, frozen=True):
    amount: float
    currency: str


class WorkflowCost(Struct, frozen=True):
    """The sum over a workflow's attempts, a sum for each currency. `unknown_attempts`: so many may have cost something,
    and nobody has said what.
    """

    amounts: tuple[Money, ...] = ()
    unknown_attempts: int = 0
