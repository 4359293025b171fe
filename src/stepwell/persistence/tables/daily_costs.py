"""The table `daily_costs`."""

from datetime import date
from decimal import Decimal

from sqlalchemy import Column, Date, Numeric, PrimaryKeyConstraint, Table, TypedColumns

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import metadata


class DailyCostColumns(TypedColumns):
    """Sums of the costs of attempts, and of what reuse has saved, see `rules.costs`.

    `tenant` and `definition` are "" for none. `definition` is written as name@version.
    """

    tenant = column.text()
    day: Column[date] = Column(Date(), nullable=False)
    provider = column.text()
    model = column.text()
    definition = column.text()
    currency = column.text()
    amount: Column[Decimal] = Column(Numeric(), nullable=False)
    attempts = column.bigint()
    saved: Column[Decimal] = Column(Numeric(), nullable=False)


daily_costs = Table(
    "daily_costs",
    metadata,
    DailyCostColumns,
    PrimaryKeyConstraint("tenant", "day", "provider", "model", "definition", "currency"),
    postgresql_with={"fillfactor": "50"},  # each update stays on its page
)
