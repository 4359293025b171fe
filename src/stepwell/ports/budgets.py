"""The budgets in the database: what attempts have reserved and spent, as a protocol."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from msgspec import Struct

ATTEMPTS: Final = ""  # the unit of attempts, beside those of currencies


class Demand(Struct, frozen=True):
    """What an attempt needs in one unit of one budget, which is that of the root `root_id`, or of a tenant's day.

    `scope` is the key of the budget, `unit` a currency or `ATTEMPTS`. `maximum` is that of a tenant's day; None if it
    has none. That of a root is in its row.
    """

    scope: str
    unit: str
    amount: Decimal
    root_id: UUID | None = None
    maximum: Decimal | None = None


class BudgetRefusal(Struct, frozen=True):
    """The first demand that has no room, and what is left. `fails`: the root fails then, instead of being paused."""

    demand: Demand
    left: Decimal
    fails: bool = False


class BudgetUse(NamedTuple):
    """What is spent and reserved in one unit of a budget."""

    unit: str
    spent: Decimal
    reserved: Decimal


class Budgets(Protocol):
    """The budgets of roots and of tenants' days. All methods raise `Unavailable` while the database is away.

    What must hold:
    - An attempt reserves all that it demands, or nothing. What is spent and reserved never exceeds a maximum, except by
      costs that exceed their reservations.
    - A task reserves once, however often it asks. `WorkflowStore.write` settles its reservation, in the transaction
      that records its end.
    - The maximum of a root is that of its newest stored config.
    """

    async def reserve(self, task_id: UUID, demands: Sequence[Demand]) -> BudgetRefusal | None:
        """Reserve the *demands* of an attempt whose task is stored. Return why not if one has no room.

        Reservations that are made at the same time share a statement.
        """

    async def forget_ended(self) -> None:
        """Give back the reservations of tasks that have ended without a settlement, as after a crash."""

    async def wake(self, until: datetime) -> None:
        """Wake the parked workflows that would be woken at that time, at which a day begins."""

    async def use(self, scope: str) -> Sequence[BudgetUse]:
        """Return the use of a budget, in the order of its units. Tasks that have ended have reserved nothing."""
