"""The tables `budgets` and `budget_reservations`."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Column, Numeric, PrimaryKeyConstraint, Table, TypedColumns

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import metadata


def _amount() -> Column[Any]:
    return Column(Numeric(), nullable=False)


class BudgetColumns(TypedColumns):
    """What is spent and reserved, by budget and unit. `unit` is a currency, or "" for attempts.

    `scope` is the id of a root, or a day and a tenant, written as 2026-12-01/acme.
    """

    scope = column.text()
    unit = column.text()
    spent: Column[Decimal] = _amount()
    reserved: Column[Decimal] = _amount()


class ReservationColumns(TypedColumns):
    """What open attempts have reserved. Each has a row for attempts in each of its budgets."""

    task_id = column.uuid()
    scope = column.text()
    unit = column.text()
    amount: Column[Decimal] = _amount()


budgets = Table(
    "budgets",
    metadata,
    BudgetColumns,
    PrimaryKeyConstraint("scope", "unit"),
    postgresql_with={"fillfactor": "50"},  # each update stays on its page
)
reservations = Table(
    "budget_reservations", metadata, ReservationColumns, PrimaryKeyConstraint("task_id", "scope", "unit")
)
