"""Reads of workflows that are too large to be read at once: one statement for what changes, slices for the rest.

What must hold:
- What is read of the changing columns of workflows and their steps is one snapshot, because it is one statement.
- What follows in slices never changes: definitions, and results of steps that are COMPLETED in the snapshot.
- No transaction outlives its statement, however slowly the response is read.
- A slice has at most the bytes that its caller names, or one step. So has what the database unpacks for it, but for a
  small factor.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.dialects.postgresql import JSON, aggregate_order_by

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import RunIf
from stepwell.lifecycle.records import NO_INPUTS, StoredInputs, WorkflowParts
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import PostgresAdapter
from stepwell.persistence.statements.item_results import FINAL_MAX_BYTES, result_bytes_of, result_of
from stepwell.persistence.stores.batched_reads import EVERY_PARTS, compiled
from stepwell.persistence.stores.step_attempt_queries import IDS, attempt_columns, with_attempts
from stepwell.persistence.stores.workflow_queries import item_counts_column, summarised
from stepwell.persistence.tables.column import Row, names
from stepwell.persistence.tables.steps import steps
from stepwell.persistence.tables.workflows import in_scope, workflow_record, workflows
from stepwell.rules.large_workflow_records import (
    STATES_PER_BLOCK,
    LargeWorkflowSnapshot,
    ResponseSize,
    StepSnapshot,
    StoredStep,
)

_STEP_BYTES: Final = 700  # of a step in a response, without its definition, result and error
_STATE_BYTES: Final = 320  # of a step in a snapshot, without its error
_WORKFLOW_BYTES: Final = 2_000


def _exact(column: str) -> str:
    """The bytes of a JSON column. Only those that are stored compressed must be unpacked for that."""
    return (
        f"CASE WHEN pg_column_compression({column}) IS NULL THEN pg_column_size({column}) "
        f"ELSE octet_length({column}::text) END"
    )


def _as_bytes(column: str) -> str:
    return f"convert_to({column}::text, 'UTF8') AS {column}"


_STORED: Final = [steps.c[name] for name in StoredStep.__struct_fields__ if name != "result"]
_RESULT_BYTES: Final = result_bytes_of("s", f"coalesce({_exact('{0}')}, 0)", f"coalesce({_exact('s.result')}, 0)")
_SCOPE: Final = in_scope(2, "w.")


def _sizes(parts: WorkflowParts) -> str:
    """The sizes of the workflows $1 together. It ends once `total` exceeds $5, or at a workflow out of scope."""
    result = _RESULT_BYTES if parts.results else "0"
    step = f"{_exact('s.definition')} + {result}" if parts.steps else "0"
    per_step = f"{_STEP_BYTES} + {step}" if parts.steps else "0"
    final = f"CASE WHEN s.position = w.final_position THEN least({result}, {FINAL_MAX_BYTES}) ELSE 0 END"
    state = "coalesce(octet_length(s.error_message), 0) * 2"
    if parts.steps:  # `sent` has the model
        state += f" + coalesce({_exact('k.sent')}, 0) + {_STATE_BYTES}"
    labels = "coalesce((SELECT sum(octet_length(l.label)) FROM labels AS l WHERE l.workflow_id = w.id), 0)"
    head = f"{_exact('w.config')} + {labels} + {_WORKFLOW_BYTES}"
    return f"""
WITH RECURSIVE page AS (
    SELECT 0 AS found, 0::bigint AS total, 0::bigint AS snapshot, 0::bigint AS largest
    UNION ALL
    SELECT page.found + 1, page.total + own.total, page.snapshot + own.snapshot, greatest(page.largest, own.largest)
    FROM page CROSS JOIN LATERAL (
        SELECT {head} + sum({per_step} + {final} + {state}) AS total,
               {head} + sum({final} + {state}) AS snapshot, max({step}) AS largest
        FROM workflows AS w JOIN steps AS s ON s.workflow_id = w.id LEFT JOIN tasks AS k ON k.id = s.task_id
        WHERE w.id = ($1::uuid[])[page.found + 1] AND {_SCOPE} GROUP BY w.id
    ) AS own
    WHERE page.found < cardinality($1::uuid[]) AND page.total <= $5
)
SELECT found, total, snapshot, largest FROM page ORDER BY found DESC LIMIT 1
"""  # noqa: S608 - built from constants


def _slice(parts: WorkflowParts) -> str:
    """Steps of workflow $1 from position $5 on: at most $6 of them, and one or as many as have $7 bytes together."""
    result = result_of("s") if parts.results else "NULL::json"
    read = ", ".join(_as_bytes(column.name) if isinstance(column.type, JSON) else column.name for column in _STORED)
    size = _exact("s.definition")
    if parts.results:
        size += f" + {_RESULT_BYTES}"
    return f"""
SELECT {read}, convert_to(({result})::text, 'UTF8') AS result
FROM (
    SELECT s.workflow_id, {names(_STORED, "s.")}, s.status, s.result,
           sum({size}) OVER (ORDER BY s.position) AS bytes
    FROM steps AS s JOIN workflows AS w ON w.id = s.workflow_id
    WHERE s.workflow_id = $1 AND {_SCOPE} AND s.position >= $5 AND s.position < $5 + $6
) AS s
WHERE bytes <= $7 OR position = $5 ORDER BY position
"""  # noqa: S608 - built from constants


_INPUTS: Final = f"""
SELECT convert_to(inputs::text, 'UTF8') AS inputs, convert_to(inputs_schema::text, 'UTF8') AS inputs_schema,
       evaluates
FROM workflows AS w WHERE id = $1 AND {_SCOPE}
"""  # noqa: S608 - built from a constant

_NAMED: Final = f"""
SELECT n.key, convert_to(n.value::text, 'UTF8') AS value FROM workflows AS w, json_each(w.named_definitions) AS n
WHERE w.id = $1 AND {_SCOPE} AND n.key = ANY($5::text[])
"""  # noqa: S608 - built from a constant
_DELETED: Final = f"""
SELECT n.key, convert_to(n.value::text, 'UTF8') AS value FROM workflows AS w, json_each(w.named_definitions) AS n
WHERE w.id = $1 AND {_SCOPE} AND NOT EXISTS (
    SELECT FROM definition_versions AS v
    WHERE v.lane = coalesce(w.tenant, '') AND v.name = split_part(n.key, '@', 1)
      AND v.version = split_part(n.key, '@', 2)::integer
)
"""  # noqa: S608 - built from a constant


class LargeWorkflows(PostgresAdapter):
    def __init__(self, readers: SmallPool) -> None:
        self._readers = readers
        self._sizes = {parts: _sizes(parts) for parts in EVERY_PARTS}
        self._slices = {parts: _slice(parts) for parts in EVERY_PARTS}
        self._snapshots = {parts: compiled(_snapshot, parts) for parts in EVERY_PARTS}

    async def size(
        self, scope: TenantScope, workflow_ids: Sequence[UUID], parts: WorkflowParts, stop_at: int
    ) -> ResponseSize | None:
        statement = self._sizes[parts]
        (row,) = await self._readers.fetch(statement, list(workflow_ids), *astuple(scope), stop_at)
        if row["found"] < len(workflow_ids) and row["total"] <= stop_at:
            return None
        return ResponseSize(row["total"], row["snapshot"], row["largest"])

    async def snapshot(
        self, scope: TenantScope, workflow_ids: Sequence[UUID], parts: WorkflowParts
    ) -> list[LargeWorkflowSnapshot]:
        statement = self._snapshots[parts]
        snapshots: dict[UUID, LargeWorkflowSnapshot] = {}
        for row in await self._readers.fetch(statement.text, *statement.values(list(workflow_ids))):
            if row["id"] is not None and scope.covers(row["tenant"], row["created_by"]):
                final = row["final_step_result"]
                record = workflow_record(row, None if final is None else final.encode(), results=parts.results)
                snapshots[row["id"]] = LargeWorkflowSnapshot(record, [])
            if parts.steps and (snapshot := snapshots.get(row["of_workflow"])) is not None:
                snapshot.states.append(row["states"])
        return [snapshots[workflow_id] for workflow_id in workflow_ids if workflow_id in snapshots]

    async def step_slice(
        self, scope: TenantScope, workflow_id: UUID, parts: WorkflowParts, first: int, count: int, max_bytes: int
    ) -> list[StoredStep]:
        statement = self._slices[parts]
        rows = await self._readers.fetch(statement, workflow_id, *astuple(scope), first, count, max_bytes)
        return [_stored_step(row) for row in rows]

    async def inputs(self, scope: TenantScope, workflow_id: UUID) -> StoredInputs:
        rows = await self._readers.fetch(_INPUTS, workflow_id, *astuple(scope))
        return StoredInputs(*(rows[0][name] for name in StoredInputs.__struct_fields__)) if rows else NO_INPUTS

    async def named_definitions(self, scope: TenantScope, root_id: UUID, names: Sequence[str]) -> Mapping[str, bytes]:
        rows = await self._readers.fetch(_NAMED, root_id, *astuple(scope), list(names))
        return {row["key"]: row["value"] for row in rows}

    async def deleted_definitions(self, scope: TenantScope, root_id: UUID) -> Mapping[str, bytes]:
        rows = await self._readers.fetch(_DELETED, root_id, *astuple(scope))
        return {row["key"]: row["value"] for row in rows}


def _stored_step(row: Row) -> StoredStep:
    values = {name: row[name] for name in StoredStep.__struct_fields__}
    return StoredStep(**values | {"run_if": RunIf(row["run_if"] or RunIf.ALL_COMPLETED)})


def _snapshot(parts: WorkflowParts) -> sa.Select[*tuple[Any, ...]]:
    """A row for each block of steps. The row of a workflow's first block also has the columns of the workflow."""
    whole = summarised().where(workflows.c.id == IDS).cte("found").prefix_with("MATERIALIZED")
    if not parts.steps:
        return sa.select(whole)
    block = steps.c.position // sa.literal_column(str(STATES_PER_BLOCK))
    state = sa.func.json_build_array(*_snapshot_columns())
    states = sa.cast(sa.func.json_agg(aggregate_order_by(state, steps.c.position)), sa.Text())
    blocks = (
        sa.select(
            steps.c.workflow_id.label("of_workflow"),
            block.label("block"),
            sa.func.convert_to(states, sa.literal_column("'UTF8'")).label("states"),
        )
        .select_from(with_attempts(steps))
        .where(steps.c.workflow_id == IDS)
        .group_by(steps.c.workflow_id, block)
        .subquery("blocks")
    )
    first = blocks.c.block == sa.literal_column("0")
    once = [sa.case((first, column)).label(column.name) for column in whole.c]
    both = sa.select(*once, blocks.c.of_workflow, blocks.c.states).join_from(
        whole, blocks, blocks.c.of_workflow == whole.c.id
    )
    return both.order_by(blocks.c.of_workflow, blocks.c.block)


def _snapshot_columns() -> list[sa.ColumnElement[Any]]:
    """The columns in the order of the fields of `StepSnapshot`."""
    provider, model, costs = attempt_columns()
    computed = {"provider": provider, "model": model, "costs": sa.cast(costs, JSON()), "items": item_counts_column()}
    return [computed[name] if name in computed else steps.c[name] for name in StepSnapshot.__struct_fields__]
