"""All tables as SQLAlchemy Core sees them. `migrations/` creates them, and a test compares the two."""

from stepwell.persistence.tables import (  # noqa: F401 - each adds its tables to `metadata`
    budgets,
    cleanups,
    daily_costs,
    deliveries,
    events,
    idempotency_keys,
    installation,
    processes,
    steps,
    stored_definitions,
    tasks,
    uploads,
    waits,
    workflows,
)
from stepwell.persistence.tables.column import metadata

__all__ = ["metadata"]
