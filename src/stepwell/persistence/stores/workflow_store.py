"""`ports.storage.WorkflowStore` on asyncpg: what the engine writes, and what a recovery reads."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from operator import attrgetter
from typing import Any, cast
from uuid import UUID

import asyncpg
from msgspec import json
from msgspec.structs import astuple, replace

from stepwell.basics.artifacts import named_tasks
from stepwell.basics.errors import Forbidden, NotFound, ResultTooLarge
from stepwell.basics.tenancy import TenantScope
from stepwell.basics.workflow_limits import BYTES_A_SLOT, STEPS_A_SLOT, RootLimits
from stepwell.contract.enums import ProviderType, WorkflowStatus
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES
from stepwell.lifecycle.child_records import ChildInsertion, ChildStatuses, ParentAttempt
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import UnitKey
from stepwell.lifecycle.records import (
    AdmissionResult,
    EarlierResult,
    LoadedWorkflow,
    NewWorkflow,
    UnparkedWorkflows,
    WaitingCount,
)
from stepwell.lifecycle.unclean_ends import UNCLEAN_ENDS
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import Connect, PostgresAdapter
from stepwell.persistence.connections.row_codec import with_row_codec
from stepwell.persistence.statements import claim_statements as claims
from stepwell.persistence.statements import engine_statements as sql
from stepwell.persistence.statements.encode_rows import checkpoint_rows, more_rows
from stepwell.persistence.statements.flow_statements import LOAD_ITEMS, UNPARK
from stepwell.persistence.stores.batched_inserts import WorkflowInserter
from stepwell.persistence.stores.earlier_runs import COMPLETED_TASKS, COMPLETED_UNITS, TAKE, read_earlier_results
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.steps import read_item, step_record
from stepwell.persistence.tables.tasks import read_task
from stepwell.persistence.tables.waits import read_signals
from stepwell.persistence.tables.workflows import parent_link, read_labels, read_object, read_reuse, workflow_state
from stepwell.ports.storage import CONCURRENT_WRITES, PAUSED_A_PAGE, POSTPONED_S, STEPS_A_PAGE
from stepwell.runtime.offloop import off_loop

_NO_TRIALS = 2**31 - 1  # unclean ends, more than there ever are within ten minutes
_workflow_id = attrgetter("workflow.id.bytes")  # three times as fast as comparing UUIDs
_SLICE = 250  # after so many rows, other asyncio tasks run
_CONNECTION_S = 5.0


class PostgresWorkflowStore(PostgresAdapter):
    """Workflows in PostgreSQL, as the engine sees them.

    *pool* and *connect* are made by `connections.database`. Every checkpoint sets *clock* to the database's. *owner* is
    the process that sends the webhooks of what is written here.

    Checkpoints and inserts have connections of their own, made by *connect*: to borrow one from the pool costs a third
    of a small batch. One connection of the pool stays free for `PostgresLeaseStore`. So neither large inserts nor a
    claim that waits can delay checkpoints and leases.
    """

    def __init__(self, pool: asyncpg.Pool, connect: Connect, clock: DatabaseClock, owner: UUID) -> None:
        self._pool, self._clock, self._owner = pool, clock, owner
        self._others = asyncio.Semaphore(pool.get_max_size() - 1)
        self._writers = SmallPool(with_row_codec(connect), size=CONCURRENT_WRITES, timeout_s=_CONNECTION_S)
        self._inserter = WorkflowInserter(connect, timeout_s=_CONNECTION_S)

    @asynccontextmanager
    async def _permit(self) -> AsyncIterator[None]:
        """Wait until a connection of the pool may be used, so that one stays free for leases.

        Raises TimeoutError, which is an outage, if none is free in time.
        """
        async with asyncio.timeout(_CONNECTION_S):
            await self._others.acquire()
        try:
            yield
        finally:
            self._others.release()

    async def _fetch(self, statement: str, *values: Any) -> list[Row]:
        async with self._permit():
            rows: list[Row] = await self._pool.fetch(statement, *values)
        return rows

    async def insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        if not scope.covers(new.record.tenant, new.record.created_by):
            raise Forbidden("the workflow belongs to another tenant")
        await self._inserter.insert(new)

    async def insert_child(
        self, scope: TenantScope, new: NewWorkflow, attempt: ParentAttempt, limits: RootLimits
    ) -> ChildInsertion:
        if not scope.covers(new.record.tenant, new.record.created_by):
            raise Forbidden("the workflow belongs to another tenant")
        return await self._inserter.insert_child(new, attempt, limits)

    async def statuses(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> dict[UUID, WorkflowStatus]:
        rows = await self._fetch(sql.STATUSES, list(workflow_ids), *astuple(scope))
        return {row["id"]: WorkflowStatus(row["status"]) for row in rows}

    async def child_statuses(self, scope: TenantScope, parent_id: UUID, child_ids: Collection[UUID]) -> ChildStatuses:
        rows = await self._fetch(sql.CHILD_STATUSES, list(child_ids), *astuple(scope), parent_id)
        statuses = {row["id"]: WorkflowStatus(row["status"]) for row in rows if row["is_child"]}
        return ChildStatuses(statuses, sum(row["child_ended_count"] for row in rows if row["id"] == parent_id))

    async def refer(self, scope: TenantScope, workflow_id: UUID, paths: Collection[str]) -> None:
        rows = await self._fetch(sql.MAY_READ, workflow_id, *astuple(scope), sorted(paths))
        if not rows:
            raise NotFound("workflow")
        await self._inserter.refer(workflow_id, rows[0]["tenant"], sorted(named_tasks(" ".join(paths).encode())))

    async def load(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow | None:
        async with self._permit(), self._pool.acquire() as connection:
            workflows = await _load(connection, [workflow_id])
        loaded = workflows[0] if workflows else None
        return loaded if loaded is not None and scope.covers(loaded.tenant, loaded.created_by) else None

    async def results(self, scope: TenantScope, wanted: Mapping[UUID, Sequence[int]]) -> dict[UUID, dict[int, bytes]]:
        ids = [workflow_id for workflow_id, positions in wanted.items() for _ in positions]
        positions = [position for positions in wanted.values() for position in positions]
        rows = await self._fetch(sql.LOAD_RESULTS, ids, positions, *astuple(scope), MAX_MAPPED_BYTES)
        by_workflow: dict[UUID, dict[int, bytes]] = defaultdict(dict)
        for row in rows:
            if row["result"] is None:
                raise ResultTooLarge(MAX_MAPPED_BYTES)
            by_workflow[row["workflow_id"]][row["position"]] = row["result"].encode()
        return by_workflow

    async def earlier_results(self, scope: TenantScope, workflow_id: UUID) -> list[EarlierResult]:
        parameters = (workflow_id, *astuple(scope))
        async with self._permit(), self._pool.acquire() as connection:
            units = await connection.fetch(COMPLETED_UNITS, *parameters)
            tasks = await connection.fetch(COMPLETED_TASKS, *parameters) if units else []
        return await off_loop(lambda: read_earlier_results(units, tasks, workflow_id), steps=len(units) + len(tasks))

    async def take_results(
        self, scope: TenantScope, earlier_id: UUID, keys: Sequence[UnitKey], workflow_id: UUID | None
    ) -> dict[UnitKey, bytes]:
        positions, items = [key.step for key in keys], [key.item for key in keys]
        rows = await self._fetch(TAKE, earlier_id, *astuple(scope), positions, items, workflow_id)
        return {UnitKey(row["position"], row["item"]): row["result"].encode() for row in rows}

    async def known_jobs(self, provider: ProviderType, remote_ids: Collection[str]) -> set[str]:
        rows = await self._fetch(sql.KNOWN_JOBS, provider, list(remote_ids))
        return {row["remote_id"] for row in rows}

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        parts = _statements(batch)
        async with self._writers.borrow() as connection:
            if len(parts) == 1:  # hot path
                return await self._write(connection, parts[0][1], parts[0][0])
            return set().union(*[await self._write(connection, part, parent_id) for parent_id, part in parts])

    def end_writing(self) -> None:
        """Close the connections for checkpoints and inserts at once. Later calls open new ones."""
        self._inserter.close()
        self._writers.close()

    async def _write(
        self, connection: asyncpg.Connection, batch: Sequence[Decision], parent_id: UUID | None
    ) -> set[UUID]:
        more = more_rows(batch, child_ended=parent_id is not None)
        if more is None:
            rows = await connection.fetch(sql.CHECKPOINT, *checkpoint_rows(batch))
        else:
            has_flow = more.flow is not None
            parameters = (*checkpoint_rows(batch, flow=has_flow), *more.parameters(self._owner))
            statement = sql.CHECKPOINT_AND_COSTS if more.costs else sql.CHECKPOINT_AND_MORE
            if more.commands is not None:
                statement = sql.CHECKPOINT_AND_COMMANDS
            if has_flow:
                statement = sql.CHECKPOINT_AND_FLOW if parent_id is None else sql.CHECKPOINT_AND_CHILD_ENDED
            if more.budgets is not None and parent_id is None:
                statement = sql.CHECKPOINT_AND_BUDGETS
            elif more.budgets is not None:
                statement = sql.CHECKPOINT_AND_CHILD_ENDED_AND_BUDGETS
            rows = await connection.fetch(statement, *parameters)
        if rows:
            self._clock.observe(rows[0]["now"])
        if len(rows) == len(batch):
            return set()
        by_id = {decision.workflow.id: decision for decision in batch}
        lost = set(by_id.keys() - {row["id"] for row in rows})
        # The result of an earlier try may have been lost with its connection. Then the version is ours.
        for row in await connection.fetch(sql.VERSIONS, list(lost)):
            state = by_id[row["id"]].workflow
            if all(row[name] == getattr(state, name) for name in sql.VERSION_COLUMNS):
                lost.discard(row["id"])
        return lost

    async def claim(
        self,
        owner: UUID,
        held: Collection[UUID],
        now: datetime,
        limit: int,
        *,
        trials: bool = True,
        divided: bool = False,
    ) -> list[LoadedWorkflow]:
        ends = UNCLEAN_ENDS if trials else _NO_TRIALS
        async with self._permit(), self._pool.acquire() as connection:
            rows = await connection.fetch(claims.CLAIM, owner, list(held), now, limit, STEPS_A_PAGE, ends, divided)
            if not rows:
                await connection.execute(claims.FORGET_DEAD)
                return []
            loaded = await _load(connection, [row["id"] for row in rows])
        deaths = {row["id"]: row["deaths"] for row in rows}
        for each in loaded:
            each.crashes_on_trial = deaths[each.state.id]
        return loaded

    async def fence(self, owner: UUID, workflow_id: UUID) -> LoadedWorkflow | None:
        async with self._permit(), self._pool.acquire() as connection:
            if (epoch := await connection.fetchval(claims.FENCE, owner, workflow_id)) is None:
                return None
            loaded = await _load(connection, [workflow_id])
        # Another process may have claimed or fenced it before it was loaded. Two processes must never share an epoch.
        return next((each for each in loaded if each.state.epoch == epoch), None)

    async def release_idle(self, owner: UUID, held: Collection[UUID], now: datetime, limit: int) -> int:
        return len(await self._fetch(claims.RELEASE_IDLE, owner, list(held), now, limit))

    async def hand_over(self, owner: UUID, workflow_ids: Collection[UUID]) -> None:
        await self._fetch(claims.HAND_OVER, owner, list(workflow_ids))

    async def waiting(self) -> list[WaitingCount]:
        rows = await self._fetch(claims.WAITING)
        return [WaitingCount(row["tenant"], row["number"], row["oldest"]) for row in rows]

    async def admit(self, owner: UUID, wanted: Mapping[str | None, int], held: Collection[UUID]) -> AdmissionResult:
        slots = (STEPS_A_SLOT, BYTES_A_SLOT)
        parameters = (owner, list(wanted), list(wanted.values()), list(held), STEPS_A_PAGE, *slots)
        async with self._permit(), self._pool.acquire() as connection:
            rows = await connection.fetch(claims.ADMIT, *parameters)
            ids = [row["id"] for row in rows if row["admitted"]]
            loaded = {each.state.id: each for each in (await _load(connection, ids) if ids else [])}
        left = (row for row in reversed(rows) if not row["admitted"])
        return AdmissionResult([loaded[each] for each in ids], {row["tenant"]: row["slots"] for row in left})

    async def unpark(self, limit: int) -> UnparkedWorkflows:
        (row,) = await self._fetch(UNPARK, limit, PAUSED_A_PAGE, POSTPONED_S)
        return UnparkedWorkflows(Counter(row["tenants"]), list(row["paused"]), row["next_at"])

    async def set_clock(self) -> None:
        self._clock.observe(cast("datetime", await self._pool.fetchval(sql.NOW)))


def _statements(batch: Sequence[Decision]) -> list[tuple[UUID | None, Sequence[Decision]]]:
    """Return the decisions of *batch* by the statement that writes them: ends of sub-workflows by their parent, which
    stands beside them, and the others by their depth. Those of a statement are in the order of their ids, because it
    locks the workflows in the order of its rows: see `child_statements`.
    """
    batch = sorted(batch, key=_workflow_id)
    if not [each for each in batch if each.workflow.depth]:  # hot path
        return [(None, batch)]
    parts = defaultdict[tuple[UUID | None, int], list[Decision]](list)
    for decision in batch:
        parts[decision.ended_child_of, decision.workflow.depth].append(decision)
    return [(parent_id, part) for (parent_id, _), part in parts.items()]


async def _load(connection: Any, ids: list[UUID]) -> list[LoadedWorkflow]:
    # All of them read one snapshot. Otherwise a transition that commits in between would mix two versions.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        workflows = await connection.fetch(sql.LOAD_WORKFLOWS, ids)
        steps = await connection.fetch(sql.LOAD_STEPS, ids)
        open_tasks = await connection.fetch(sql.LOAD_OPEN_TASKS, ids)
        with_items = list({row["workflow_id"] for row in steps if row["for_each"] is not None})
        items = await connection.fetch(LOAD_ITEMS, with_items) if with_items else []
        if items:
            open_tasks += await connection.fetch(sql.LOAD_ITEM_TASKS, with_items)
    loaded = {
        row["id"]: LoadedWorkflow(
            replace(workflow_state(row), child_ended_seen=row["child_ended_count"]),
            row["tenant"],
            row["created_by"],
            row["origin_instance"],
            read_object(row["config"]),
            row["suppress_subtask_events"],
            row["definition_bytes"],
            [],
            [],
            (row["result_bytes"] or 0) + (row["item_result_bytes"] or 0),
            feature_level=row["feature_level"],
            evaluates=row["evaluates"],
            signals=read_signals(row["signals"]),
            inputs=None if row["inputs"] is None else row["inputs"].encode(),
            labels=read_labels(row["labels"]),
            parent=parent_link(row),
            root_has_budget=row["root_has_budget"] or False,
            named_files=None if row["named_files"] is None else json.decode(row["named_files"]),
            reuse=read_reuse(row),
        )
        for row in workflows
    }
    for number, row in enumerate(steps, 1):
        if not number % _SLICE:
            await asyncio.sleep(0)
        with _recording_unreadable(loaded[row["workflow_id"]]):
            loaded[row["workflow_id"]].steps.append(step_record(row, row["created_at"]))
    for number, row in enumerate(items, 1):
        if not number % _SLICE:
            await asyncio.sleep(0)
        with _recording_unreadable(loaded[row["workflow_id"]]):
            loaded[row["workflow_id"]].items.append(read_item(row))
    for row in open_tasks:
        with _recording_unreadable(loaded[row["workflow_id"]]):
            loaded[row["workflow_id"]].open_tasks.append(read_task(row))
    return list(loaded.values())


@contextmanager
def _recording_unreadable(loaded: LoadedWorkflow) -> Iterator[None]:
    """Record in *loaded* that a row can't be read, for example because another version of Stepwell wrote it.

    Without this, one such row would keep all other workflows from being loaded.
    """
    try:
        yield
    except (ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
        loaded.unreadable = str(error)
