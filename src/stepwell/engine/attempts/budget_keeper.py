"""Reserves money for attempts at providers, before they send their requests.

    inputs evaluated ──► `reserve` ──► `Sending` committed ──► request sent ──► end committed, reservation settled

What must hold:
- An attempt under a budget sends nothing before its reservation is committed.
- An attempt that another process continues has the same task, and so the same reservation.
- An attempt without a budget sends no statement.

What an attempt leaves reserved that ended before it sent anything is given back before another one is refused.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import partial
from uuid import UUID

from msgspec import Struct

from stepwell.basics.setting_values import TenantBudgets
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.inputs import TENANT_BUDGET
from stepwell.ports.budgets import ATTEMPTS, BudgetRefusal, Budgets, Demand
from stepwell.ports.clock import Clock
from stepwell.rules.costs import ONE_ATTEMPT, budget_scope, exact
from stepwell.runtime.outages import until_available


class NoRoom(Exception):
    """Raised in an attempt for which a budget has no room. The fields are those of `HeldBack`."""

    def __init__(self, why: str, *, fails: bool, until: datetime | None) -> None:
        super().__init__(why)
        self.why, self.fails, self.until = why, fails, until


class BudgetOwner(Struct, frozen=True):
    """Whose budgets an attempt uses: those of the root, None if it has none, and of the tenant."""

    root_id: UUID | None
    tenant: str | None


class BudgetKeeper:
    """Reserves what attempts are expected to cost, in the budgets of roots and of tenants' days.

    It is an `ownership.Claimer`: after a claim, it gives back what dead processes have left reserved. After the first
    one, what waits for the next day asks again, because the settings may have another budget than before.
    """

    busy = False

    def __init__(self, budgets: Budgets, clock: Clock, tenant_budgets: TenantBudgets) -> None:
        self._budgets, self._clock, self._tenant_budgets = budgets, clock, tenant_budgets
        self._has_woken = False

    async def reserve(self, owner: BudgetOwner, task_id: UUID, price: Cost | None) -> bool:
        """Reserve *price* and one attempt; only the attempt if the price isn't known. Waits while the database is away.

        Return False if there is no budget. Raises `NoRoom`.
        """
        now = self._clock.now()
        demands = list(self._demands(owner, price, now))
        if not demands:
            return False
        refusal = await until_available(partial(self._budgets.reserve, task_id, demands))
        if refusal is not None:
            raise _no_room(refusal, now)
        return True

    async def take_over(self) -> None:
        """Give back the reservations of attempts that have ended. Raises `Unavailable`."""
        await self._budgets.forget_ended()
        if not self._has_woken:
            await self._budgets.wake(_next_day(self._clock.now()))
            self._has_woken = True

    def _demands(self, owner: BudgetOwner, price: Cost | None, now: datetime) -> Iterator[Demand]:
        if owner.root_id is not None:
            scope = str(owner.root_id)
            yield Demand(scope, ATTEMPTS, ONE_ATTEMPT, owner.root_id)
            if price is not None:
                yield Demand(scope, price.currency, exact(price.amount), owner.root_id)
        if (maxima := self._tenant_budgets.of(owner.tenant)) is not None:
            scope = budget_scope(owner.tenant, now)
            yield Demand(scope, ATTEMPTS, ONE_ATTEMPT)
            if price is not None:
                yield Demand(scope, price.currency, exact(price.amount), maximum=maxima.get(price.currency))


def _no_room(refusal: BudgetRefusal, now: datetime) -> NoRoom:
    demand = refusal.demand
    whose = "The budget of the workflow" if demand.root_id is not None else TENANT_BUDGET
    if demand.unit == ATTEMPTS:
        why = f"{whose} has no attempt left"
    else:
        left, wanted = f"{refusal.left.normalize():f}", f"{demand.amount.normalize():f}"
        why = f"{whose} has {left} {demand.unit} left, and the attempt is expected to cost {wanted}"
    return NoRoom(why, fails=refusal.fails, until=_next_day(now) if demand.root_id is None else None)


def _next_day(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
