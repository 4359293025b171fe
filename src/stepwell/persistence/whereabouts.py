"""Who runs a workflow, and who has paused it: what explains why it doesn't move, and stands in none of its rows."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, false, func, literal_column, select, true

from stepwell.domain.model import EventType, WorkflowStatus
from stepwell.domain.records import TenantScope, Whereabouts
from stepwell.persistence.rows.decode_rows import Row
from stepwell.persistence.schema.tables import events, processes, workflows
from stepwell.persistence.stores.workflow_queries import visible


def whereabouts(scope: TenantScope, workflow_id: UUID) -> Select[Any]:
    # Of a PAUSED workflow the pause is among the last events: behind it come only attempts that end.
    paused = (
        select(events.c.actor, events.c.at)
        .where(
            events.c.workflow_id == workflows.c.id,
            events.c.type == EventType.WORKFLOW_PAUSED,
            workflows.c.status == WorkflowStatus.PAUSED,
        )
        .order_by(events.c.id.desc())
        .limit(1)
        .correlate(workflows)
        .lateral("paused")
    )
    # A lease without an end is that of a process which is alone on its database.
    until = func.nullif(processes.c.lease_until, literal_column("'infinity'::timestamptz"))
    alive = func.coalesce(processes.c.lease_until > func.clock_timestamp(), false())
    return (
        select(workflows.c.owner, alive.label("alive"), until.label("lease_until"), paused.c.actor, paused.c.at)
        .outerjoin(processes, processes.c.id == workflows.c.owner)
        .outerjoin(paused, true())
        .where(workflows.c.id == workflow_id, visible(scope))
    )


def read_whereabouts(row: Row) -> Whereabouts:
    return Whereabouts(row["owner"], row["alive"], row["lease_until"], row["actor"], row["at"])
