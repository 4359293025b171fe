"""What tests read in the plans of PostgreSQL."""

from collections.abc import Iterator
from typing import Any


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan, as `EXPLAIN (FORMAT JSON)` returns it, parents first."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from plan_nodes(inner)
