"""Reads the steps that wait for a decision. The checkpoints write the rows of their waits (`flow_statements`)."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import CTE, Select, func, literal, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import WaitKind
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.steps import steps
from stepwell.persistence.tables.waits import read_wait, waits
from stepwell.persistence.tables.workflows import workflows
from stepwell.rules.list_records import DecisionFilter, StoredDecision

# The value stands in the statement: a parameter would hide the partial index from the planner.
_IS_DECISION: Final = waits.c.kind == literal_column(f"'{WaitKind.DECISION}'")


async def read_decisions(
    connection: AsyncConnection, scope: TenantScope, query: DecisionFilter
) -> list[StoredDecision]:
    """Return a page of the open decisions in *scope*, those that have waited longest first."""
    place = tuple_(waits.c.since, waits.c.workflow_id, waits.c.position)
    statement = _decisions(scope).order_by(*place.clauses).limit(query.limit)
    if query.workflow_id is not None:
        family = _family(scope, query.workflow_id)
        statement = statement.join(family, family.c.id == waits.c.workflow_id)
    if (after := query.after) is not None:
        statement = statement.where(place > tuple_(*map(literal, (after.since, after.workflow_id, after.position))))
    return [_stored_decision(row) for row in (await connection.execute(statement)).mappings()]


async def read_decision(
    connection: AsyncConnection, scope: TenantScope, workflow_id: UUID, position: int
) -> StoredDecision | None:
    """Return the open decision of one step; None if it waits for none."""
    statement = _decisions(scope).where(waits.c.workflow_id == workflow_id, waits.c.position == position)
    row = (await connection.execute(statement)).mappings().first()
    return None if row is None else _stored_decision(row)


def _decisions(scope: TenantScope) -> Select[Any]:
    own = (steps.c.workflow_id == waits.c.workflow_id) & (steps.c.position == waits.c.position)
    statement = (
        select(waits, steps.c.step_id, workflows.c.name)
        .join(workflows, workflows.c.id == waits.c.workflow_id)
        .join(steps, own)
        .where(_IS_DECISION, workflows.c.deleted_at.is_(None))
    )
    if scope.every:
        return statement
    # As in the index, whose first column this is.
    return statement.where(func.coalesce(waits.c.tenant, literal_column("''")) == (scope.tenant or ""))


def _family(scope: TenantScope, workflow_id: UUID) -> CTE:
    """Return the ids of the workflow and its sub-workflows in all depths; none if it isn't in *scope*."""
    root = select(workflows.c.id).where(workflows.c.id == workflow_id)
    if not scope.every:
        root = root.where(workflows.c.tenant.is_not_distinct_from(scope.tenant))
    family = root.cte("family", recursive=True)
    child = workflows.alias("child")
    return family.union_all(select(child.c.id).join(family, child.c.parent_id == family.c.id))


def _stored_decision(row: Row) -> StoredDecision:
    wait = read_wait(row)
    return StoredDecision(
        row["workflow_id"], row["name"], row["tenant"], row["position"], row["step_id"], wait, row["shown"]
    )
