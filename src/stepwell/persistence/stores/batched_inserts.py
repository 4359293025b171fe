"""Inserts of new workflows: those that arrive while others are inserted share one statement.

What must hold, besides what `BatchedCalls` promises:
- An insert returns only after the commit.
- A workflow that the database refuses fails only its own insert.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

import asyncpg

from stepwell.basics.errors import StillRunning, UploadsGone
from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.workflow_limits import RootLimits
from stepwell.lifecycle.child_records import ChildInsertion, ParentAttempt
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import Connect, is_outage
from stepwell.persistence.connections.row_codec import with_row_codec
from stepwell.persistence.statements import engine_statements as sql
from stepwell.persistence.statements.encode_rows import InsertRows, insert_rows, references
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.idempotency_keys import KEY
from stepwell.runtime.batching import BatchedCalls, ItemFailure, Weight
from stepwell.runtime.offloop import off_loop

# With one connection, all inserts would wait for a long workflow. With more of them, fewer inserts share a statement.
MAX_CONNECTIONS = 3
MAX_STEPS, MAX_SIZE = 500, 2 * 1024 * 1024  # of a statement
MAX_REFERENCES = 5_000  # of a statement


class WorkflowInserter:
    """Inserts workflows over up to three connections by *connect*, each opened when it is first needed.

    *max_weight*: how many steps a statement may insert together, and how many bytes of JSON. A workflow that is
    bigger is inserted alone. *timeout_s*: how long an insert waits for a connection.
    """

    def __init__(self, connect: Connect, *, timeout_s: float, max_weight: Weight = (MAX_STEPS, MAX_SIZE)) -> None:
        self._connections = SmallPool(with_row_codec(connect), size=MAX_CONNECTIONS, timeout_s=timeout_s)
        self._calls: BatchedCalls[UUID, InsertRows, None] = BatchedCalls(
            self._insert, max_weight=max_weight, weigh=lambda rows: (len(rows.steps), rows.size)
        )
        self._references: BatchedCalls[UUID, InsertRows, list[Row]] = BatchedCalls(
            self._refer, max_weight=(MAX_REFERENCES, MAX_SIZE), weigh=lambda rows: (len(rows.named), 0)
        )

    async def insert(self, new: NewWorkflow) -> None:
        """Insert the workflow, and return after the commit.

        Raises what asyncpg raises; TimeoutError, which is an outage, if no connection is free in time; and
        `StillRunning` for a claim that another attempt has taken over; and `UploadsGone`.
        """
        rows = await off_loop(partial(insert_rows, new), steps=new.record.total_steps)
        if rows.named:  # first, because once a workflow is stored no file that it names may be deleted
            await self._use_uploads(await self._references.call(new.record.state.id, rows))
        if new.claim is None:
            await self._calls.call(new.record.state.id, rows)
        else:
            await self._insert_once(rows, new.claim)

    async def insert_child(self, new: NewWorkflow, attempt: ParentAttempt, limits: RootLimits) -> ChildInsertion:
        """Insert a sub-workflow alone, and return after the commit. Raises as `insert`."""
        parent = new.record.parent
        assert parent is not None
        rows = await off_loop(partial(insert_rows, new), steps=new.record.total_steps)
        if rows.named:
            await self._use_uploads(await self._references.call(new.record.state.id, rows))
        link = (parent.workflow_id, parent.step_id, parent.item, parent.root_id, parent.depth)
        bounds = (limits.sub_workflows, limits.steps, limits.definition_bytes)
        size = (new.record.total_steps, new.definition_bytes)
        by = (attempt.owner, attempt.task_id)
        parameters = (*rows.parameters(), *by, *link, *bounds, *size, *rows.labels)
        row: Any = None
        async with self._connections.borrow() as connection:
            for _ in range(2):  # a statement that has waited for another one doesn't see what that has stored
                row = await connection.fetchrow(sql.INSERT_CHILD, *parameters)
                if row["is_new"]:
                    return ChildInsertion.NEW
                if row["is_stored"]:
                    return ChildInsertion.STORED
        return ChildInsertion[row["bound"] or "LOST"]

    async def refer(self, workflow_id: UUID, tenant: str | None, named: Sequence[str]) -> None:
        """Store that a workflow which is stored already names these tasks and uploads. Raises `UploadsGone`."""
        many = len(named)
        await self._use_uploads(await self._connections.fetch(sql.REFER, named, [workflow_id] * many, [tenant] * many))

    def close(self) -> None:
        self._connections.close()

    async def _insert_once(self, rows: InsertRows, claim: KeyClaim) -> None:
        """Insert alone, because a claim that no longer holds must not concern other inserts."""
        key = KEY.encode(rows.workflow_id.bytes, claim)
        async with self._connections.borrow() as connection:
            rows_of_key = await connection.fetch(sql.INSERT_ONCE, *rows.parameters(), [key], *rows.labels)
        if not rows_of_key:
            raise StillRunning

    async def _refer(self, take: Callable[[], Mapping[UUID, InsertRows]]) -> dict[UUID, list[Row]]:
        """Store the references of workflows. Return for each workflow the uploads of its tenant that it names."""
        async with self._connections.borrow() as connection:
            batch = take()
            uploads: dict[UUID, list[Row]] = {workflow_id: [] for workflow_id in batch}
            for row in await connection.fetch(sql.REFER, *references(list(batch.values()))):
                uploads[row["workflow_id"]].append(row)
        return uploads

    async def _use_uploads(self, uploads: list[Row]) -> None:
        """Record that *uploads* are used. Raises `UploadsGone` if one is being deleted."""
        deleted = {row["id"] for row in uploads if not row["is_stored"]}
        stale = {row["id"] for row in uploads if row["is_stored"] and not row["is_recent"]}
        if stale and not deleted:
            deleted = stale - {row["id"] for row in await self._connections.fetch(sql.USE_UPLOADS, list(stale))}
        if deleted:
            raise UploadsGone(deleted)

    async def _insert(self, take: Callable[[], Mapping[UUID, InsertRows]]) -> dict[UUID, None]:
        refusal: Exception | None = None
        async with self._connections.borrow() as connection:
            batch = take()
            try:
                await _write(connection, list(batch.values()))
            except Exception as error:
                if is_outage(error):
                    raise
                refusal = error  # raised below, because the connection is still good
        if refusal is not None:
            raise ItemFailure(refusal) from refusal
        return dict.fromkeys(batch)


async def _write(connection: asyncpg.Connection, batch: list[InsertRows]) -> None:
    parameters = _concatenate(rows.parameters() for rows in batch)
    if any(rows.labels[0] for rows in batch):
        await connection.fetch(sql.INSERT_LABELLED, *parameters, *_concatenate(rows.labels for rows in batch))
    else:
        await connection.fetch(sql.INSERT, *parameters)


def _concatenate(rows: Iterable[tuple[list[Any], ...]]) -> list[list[Any]]:
    """Return for each column the lists of all *rows*, one after the other."""
    return [list(chain.from_iterable(lists)) for lists in zip(*rows, strict=True)]
