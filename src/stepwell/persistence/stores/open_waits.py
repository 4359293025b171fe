"""Reads the steps that wait. The checkpoints write the rows of their waits (`flow_statements`)."""

from functools import cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from msgspec import json
from msgspec.structs import asdict
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.basics.tenancy import FileScope, TenantScope
from stepwell.contract.enums import WaitKind
from stepwell.contract.reasons import StepAbove
from stepwell.contract.workflows import AncestorStep
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.waits import WAIT_ORDER, read_wait, waits
from stepwell.persistence.tables.workflows import definition_values, labels, read_labels, runs_definition, workflows
from stepwell.rules.list_records import (
    MAX_ITEM_BYTES,
    MAX_ITEM_TEXT,
    MOST_COUNTED,
    DecisionFilter,
    StoredDecision,
    WaitBelow,
)

# The value stands in the statement: a parameter would hide the partial index from the planner.
_IS_DECISION: Final = waits.c.kind == sa.literal_column(f"'{WaitKind.DECISION}'")
# A sub-workflow has the id of the attempt that created it, whose row has the position. A value that may be large isn't
# read. A text with NUL, which PostgreSQL can't have, stays JSON. OFFSET 0 makes each subquery use an index, because the
# planner doesn't know that there are few ancestors.
_ANCESTORS: Final = f"""(
    WITH RECURSIVE above AS (
        SELECT workflows.id, workflows.parent_id, workflows.parent_step, workflows.parent_item, 0 AS height
        WHERE workflows.parent_id IS NOT NULL
        UNION ALL
        SELECT c.*, a.height + 1 FROM above AS a CROSS JOIN LATERAL (
            SELECT id, parent_id, parent_step, parent_item FROM workflows WHERE id = a.parent_id OFFSET 0
        ) AS c WHERE c.parent_id IS NOT NULL
    )
    SELECT json_agg(json_build_object(
        'workflow_id', a.parent_id, 'workflow_name', p.name, 'step_id', a.parent_step, 'item', a.parent_item, 'value',
        left(CASE WHEN json_typeof(i.value) = 'string' AND position('\\u0000' IN i.value::text) = 0
                  THEN i.value #>> '{{}}' ELSE i.value::text END, {MAX_ITEM_TEXT})
    ) ORDER BY a.height DESC)
    FROM above AS a CROSS JOIN LATERAL (SELECT name FROM workflows WHERE id = a.parent_id OFFSET 0) AS p
    LEFT JOIN LATERAL (SELECT position FROM tasks WHERE id = a.id OFFSET 0) AS t ON TRUE
    LEFT JOIN LATERAL (
        SELECT value FROM step_items WHERE workflow_id = a.parent_id AND position = t.position AND item = a.parent_item
        AND pg_column_size(value) <= {MAX_ITEM_BYTES} OFFSET 0
    ) AS i ON TRUE
)"""  # noqa: S608 - built from constants
_LABELS: Final = (
    sa.select(sa.func.array_agg(labels.c.label)).where(labels.c.workflow_id == waits.c.root_id).correlate(waits)
)
_COLUMNS: Final = (
    *waits.c,
    *workflows.c["name", "created_by", "named_files"],
    sa.literal_column(_ANCESTORS, JSON()).label("ancestors"),
    _LABELS.scalar_subquery().label("labels"),
)
_read_names: Final = json.Decoder(list[str] | None).decode
_read_ancestors: Final = json.Decoder(list[AncestorStep] | None).decode

# The waits of a root are found by their index. A sub-workflow isn't at the top, so those below it have to be visited,
# unless its root waits for nothing.
_FIRST: Final = f"ORDER BY {WAIT_ORDER} LIMIT 1"
_OF_ROOT: Final = f"(SELECT n.kind FROM waits AS n WHERE n.root_id = workflows.id {_FIRST})"  # noqa: S608 - a constant
_OF_CHILD: Final = f"""
    CASE WHEN (SELECT true FROM waits AS n WHERE n.root_id = workflows.root_id LIMIT 1) THEN (
        WITH RECURSIVE below AS (
            SELECT workflows.id UNION ALL SELECT c.id FROM below JOIN workflows AS c ON c.parent_id = below.id
        )
        SELECT n.kind FROM below JOIN waits AS n ON n.workflow_id = below.id {_FIRST}
    ) END
"""  # noqa: S608 - built from constants


@cache
def waits_for(*, of_children: bool = True) -> sa.ColumnElement[str]:
    """The column `waits_for` of `workflows`. A workflow without flow control has none, so nothing is read for it.

    *of_children*: some of the workflows may be sub-workflows.
    """
    kind = f"CASE WHEN workflows.parent_id IS NULL THEN {_OF_ROOT} ELSE {_OF_CHILD} END" if of_children else _OF_ROOT
    return sa.literal_column(f"CASE WHEN workflows.has_flow THEN {kind} END", sa.Text()).label("waits_for")


def has_waits_for(workflow_id: sa.ColumnElement[UUID], *, include_children: bool) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for a workflow that waits for the kind whose index is the parameter `waits_for`.

    The index is that of the kind in `WaitsFor`, from 1.

    *include_children*: the workflow may be a sub-workflow.
    """
    order, index = sa.literal_column(WAIT_ORDER, sa.Integer()), sa.bindparam("waits_for", type_=sa.Integer())
    if include_children:
        wanted, earlier = _at_or_above("wanted", order == index), _at_or_above("earlier", order < index)
        return [workflow_id.in_(wanted), workflow_id.not_in(earlier)]
    own = waits.c.root_id == workflow_id
    return [sa.exists().where(own, order == index), ~sa.exists().where(own, order < index)]


def _at_or_above(name: str, condition: sa.ColumnElement[bool]) -> sa.Select[UUID]:
    """Return the ids of the workflows with a wait that fits *condition*, and of all workflows above them."""
    waiting = sa.select(waits.c.workflow_id.label("id")).where(condition).cte(name, recursive=True)
    child = workflows.alias("child")
    above = sa.select(child.c.parent_id).join(waiting, waiting.c.id == child.c.id).where(child.c.parent_id.is_not(None))
    return sa.select(waiting.union(above).c.id)


async def read_decisions(
    connection: AsyncConnection, scope: TenantScope, query: DecisionFilter
) -> list[StoredDecision]:
    """Return a page of the open decisions in *scope*, those that have waited longest first."""
    cursor = sa.tuple_(waits.c.since, waits.c.workflow_id, waits.c.position)
    statement = _filtered(scope, query, *_COLUMNS).order_by(*cursor.clauses).limit(query.limit)
    if (after := query.after) is not None:
        statement = statement.where(
            cursor > sa.tuple_(*map(sa.literal, (after.since, after.workflow_id, after.position)))
        )
    return [_stored_decision(row) for row in (await connection.execute(statement)).mappings()]


async def count_decisions(connection: AsyncConnection, scope: TenantScope, query: DecisionFilter) -> int:
    """Return how many open decisions match, at most `MOST_COUNTED`."""
    matching = _filtered(scope, query, waits.c.workflow_id).limit(MOST_COUNTED).subquery()
    return (await connection.execute(sa.select(sa.func.count()).select_from(matching))).scalar_one()


async def read_decision(
    connection: AsyncConnection, scope: TenantScope, workflow_id: UUID, position: int
) -> StoredDecision | None:
    """Return the open decision of one step; None if it waits for none."""
    statement = _decisions(scope, *_COLUMNS).where(waits.c.workflow_id == workflow_id, waits.c.position == position)
    row = (await connection.execute(statement)).mappings().first()
    return None if row is None else _stored_decision(row)


# Both joins follow an index for each sub-workflow. OFFSET 0 keeps the planner from reading whole tables.
_BELOW: Final = f"""
WITH RECURSIVE below AS (
    SELECT c.id, ARRAY[c.parent_step] AS step_ids, ARRAY[c.parent_item] AS items FROM workflows AS c
    WHERE c.parent_id = :workflow_id AND (:every OR c.tenant IS NOT DISTINCT FROM :tenant)
      AND (:subject IS NULL OR c.created_by = :subject)
    UNION ALL
    SELECT c.id, array_append(b.step_ids, c.parent_step), array_append(b.items, c.parent_item)
    FROM below AS b JOIN workflows AS c ON c.parent_id = b.id
)
SELECT w.*, s.definition -> 'config' ->> 'name' AS signal
FROM (
    SELECT b.step_ids, b.items, n.*, row_number() OVER (
        PARTITION BY b.step_ids[1] ORDER BY {WAIT_ORDER}, n.since, n.workflow_id, n.position
    ) AS number
    FROM below AS b CROSS JOIN LATERAL (SELECT * FROM waits WHERE workflow_id = b.id OFFSET 0) AS n
) AS w JOIN steps AS s ON s.workflow_id = w.workflow_id AND s.position = w.position
WHERE w.number <= :most ORDER BY w.step_ids[1], w.number
"""  # noqa: S608 - built from a constant
_WAITS_BELOW: Final = (
    sa.text(_BELOW)
    .bindparams(
        sa.bindparam("workflow_id", type_=sa.Uuid()),
        sa.bindparam("every", type_=sa.Boolean()),
        sa.bindparam("tenant", type_=sa.Text()),
        sa.bindparam("subject", type_=sa.Text()),
        sa.bindparam("most", type_=sa.Integer()),
    )
    .columns(choices=JSON())
)


async def read_waits_below(
    connection: AsyncConnection, scope: TenantScope, workflow_id: UUID, most: int
) -> list[WaitBelow]:
    values = {"workflow_id": workflow_id, "most": most} | asdict(scope)
    return [
        WaitBelow(
            list(map(StepAbove, row["step_ids"], row["items"])),
            row["workflow_id"],
            row["step_id"],
            row["signal"],
            read_wait(row),
        )
        for row in (await connection.execute(_WAITS_BELOW, values)).mappings()
    ]


def _decisions(scope: TenantScope, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    statement = (
        sa.select(*columns)
        .select_from(waits)
        .join(workflows, workflows.c.id == waits.c.workflow_id)
        .where(_IS_DECISION, workflows.c.deleted_at.is_(None))
    )
    if scope.subject is not None:
        statement = statement.where(workflows.c.created_by == scope.subject)
    if scope.every:
        return statement
    # As in the indexes, whose first column this is.
    return statement.where(sa.func.coalesce(waits.c.tenant, sa.literal_column("''")) == (scope.tenant or ""))


def _filtered(scope: TenantScope, query: DecisionFilter, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    statement = _decisions(scope, *columns)
    if query.workflow_id is not None:
        family = _family(scope, query.workflow_id)
        statement = statement.join(family, family.c.id == waits.c.workflow_id)
    if query.step_id is not None:
        statement = statement.where(waits.c.step_id == query.step_id)
    if query.definition is not None:
        root = workflows.alias("root")
        named = runs_definition(root.c.stored_definition)
        statement = statement.join(root, root.c.id == waits.c.root_id).where(*named)
        statement = statement.params(definition_values(query.definition))
    for number, label in enumerate(query.labels):
        own = labels.alias(f"label_{number}")
        statement = statement.join(own, (own.c.workflow_id == waits.c.root_id) & (own.c.label == label))
    return statement


def _family(scope: TenantScope, workflow_id: UUID) -> sa.CTE:
    """Return the ids of the workflow and its sub-workflows in all depths; none if it isn't in *scope*."""
    root = sa.select(workflows.c.id).where(workflows.c.id == workflow_id)
    if not scope.every:
        root = root.where(workflows.c.tenant.is_not_distinct_from(scope.tenant))
    family = root.cte("family", recursive=True)
    child = workflows.alias("child")
    return family.union_all(sa.select(child.c.id).join(family, child.c.parent_id == family.c.id))


def _stored_decision(row: Row) -> StoredDecision:
    wait = read_wait(row)
    return StoredDecision(
        row["workflow_id"],
        row["name"],
        FileScope.of(row["tenant"], row["created_by"], row["root_id"], _read_names(row["named_files"] or b"null")),
        row["position"],
        row["step_id"],
        wait,
        row["shown"],
        _read_ancestors(row["ancestors"] or b"null") or [],
        read_labels(row["labels"]),
    )
