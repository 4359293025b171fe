"""`ports.Journal` on asyncpg: what the engine writes and what a recovery reads."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, cast
from uuid import UUID

import asyncpg
from msgspec import json

from stepwell.domain.decision import Decision
from stepwell.domain.errors import Forbidden
from stepwell.domain.model import HistoryEvent, StepState, Task
from stepwell.domain.records import LoadedWorkflow, NewWorkflow, StepRecord, TenantScope
from stepwell.offloop import off_loop
from stepwell.persistence import statements as sql
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.database import Connect, unavailable_in_outage
from stepwell.persistence.kept import Kept
from stepwell.persistence.rows import read_object, step_record, task, workflow_state

_STEPS_A_LOAD = 20_000
_SLICE = 250  # so many rows are read, then others get their turn
_TURN_S = 5.0
_INSERTERS = 4


class PostgresJournal:
    """*pool* and *connect* are those of `database`. Every checkpoint sets *clock* by the database's.

    Checkpoints have a connection of their own, made by *connect*, and so have inserts: to borrow one from the pool
    costs as much as a third of a small batch. One of the pool's is left to leases. So neither many large inserts nor
    a claim that waits holds them up.
    """

    def __init__(self, pool: asyncpg.Pool, connect: Connect, clock: DatabaseClock) -> None:
        self._pool, self._connect, self._clock = pool, connect, clock
        self._others = asyncio.Semaphore(pool.get_max_size() - 1)
        self._writer: asyncpg.Connection | None = None
        self._inserters = Kept(connect, size=_INSERTERS, timeout_s=_TURN_S)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A connection that isn't kept for checkpoints and leases; TimeoutError, an outage, if none is free in time."""
        async with asyncio.timeout(_TURN_S):
            await self._others.acquire()
        try:
            yield
        finally:
            self._others.release()

    @unavailable_in_outage
    async def insert(self, scope: TenantScope, new: NewWorkflow) -> None:
        record = new.record
        if not scope.covers(record.tenant):
            raise Forbidden("the workflow belongs to another tenant")
        rows = await off_loop(partial(_inserted, new), steps=record.total_steps)
        await self._inserters.fetch(sql.INSERT, *rows)

    @unavailable_in_outage
    async def load(self, scope: TenantScope, workflow_id: UUID) -> LoadedWorkflow | None:
        async with self._turn(), self._pool.acquire() as connection:
            found = await _load(connection, [workflow_id])
        return found[0] if found and scope.covers(found[0].tenant) else None

    @unavailable_in_outage
    async def results(self, scope: TenantScope, wanted: Mapping[UUID, Sequence[int]]) -> dict[UUID, dict[int, bytes]]:
        pairs = [(workflow_id, position) for workflow_id, positions in wanted.items() for position in positions]
        async with self._turn():
            rows = await self._pool.fetch(sql.LOAD_RESULTS, *_columns(pairs, 2), scope.every, scope.tenant)
        found: dict[UUID, dict[int, bytes]] = defaultdict(dict)
        for row in rows:
            found[row["workflow_id"]][row["position"]] = row["result"].encode()
        return found

    @unavailable_in_outage
    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        if self._writer is None or self._writer.is_closed():
            self._writer = await self._connect()
        try:
            return await self._written(self._writer, batch)
        except BaseException:
            self.end_writing()  # whatever state the connection is in
            raise

    def end_writing(self) -> None:
        """Let go of the connections for checkpoints and inserts, at once."""
        self._inserters.close()
        if self._writer is not None:
            self._writer.terminate()
            self._writer = None

    async def _written(self, connection: asyncpg.Connection, batch: Sequence[Decision]) -> set[UUID]:
        by_id = {decision.workflow.id: decision for decision in batch}
        rows = await connection.fetch(sql.CHECKPOINT, *_checkpoint(batch))
        if rows:
            self._clock.observe(rows[0]["now"])
        lost = by_id.keys() - {row["id"] for row in rows}
        if lost:
            # The answer of an earlier try may have been lost with its connection: then the version is ours.
            for row in await connection.fetch(sql.VERSIONS, list(lost)):
                state = by_id[row["id"]].workflow
                if all(row[name] == getattr(state, name) for name in sql.VERSION_COLUMNS):
                    lost.discard(row["id"])
        return set(lost)

    @unavailable_in_outage
    async def claim(
        self, owner: UUID, held: Collection[UUID], now: datetime, limit: int, only: UUID | None = None
    ) -> list[LoadedWorkflow]:
        async with self._turn(), self._pool.acquire() as connection:
            rows = await connection.fetch(sql.CLAIM, owner, list(held), now, limit, only)
            if not rows:
                if only is None:
                    await connection.execute(sql.FORGET_DEAD)
                return []
            loaded = [await _load(connection, ids) for ids in _loads(rows)]
        return [one for load in loaded for one in load]

    @unavailable_in_outage
    async def renew_lease(self, owner: UUID, seconds: float | None) -> None:
        await self._pool.execute(sql.RENEW_LEASE, owner, seconds)

    @unavailable_in_outage
    async def next_expiry(self, owner: UUID) -> float | None:
        return cast("float | None", await self._pool.fetchval(sql.NEXT_EXPIRY, owner))

    @unavailable_in_outage
    async def release(self, owner: UUID) -> None:
        await self._pool.execute(sql.RELEASE, owner)

    @unavailable_in_outage
    async def expire_others(self, owner: UUID) -> None:
        await self._pool.execute(sql.EXPIRE_OTHERS, owner)

    @unavailable_in_outage
    async def set_clock(self) -> None:
        self._clock.observe(cast("datetime", await self._pool.fetchval(sql.NOW)))


def _loads(claimed: Iterable[Any]) -> Iterator[list[UUID]]:
    """Their ids in lists whose steps one statement brings in well within its time."""
    ids, steps = list[UUID](), 0
    for row in claimed:
        if ids and steps + row["total_steps"] > _STEPS_A_LOAD:
            yield ids
            ids, steps = [], 0
        ids.append(row["id"])
        steps += row["total_steps"]
    yield ids


async def _load(connection: Any, ids: list[UUID]) -> list[LoadedWorkflow]:
    # One snapshot for all three, else a transition that commits in between would mix two versions.
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        workflows = await connection.fetch(sql.LOAD_WORKFLOWS, ids)
        steps = await connection.fetch(sql.LOAD_STEPS, ids)
        open_tasks = await connection.fetch(sql.LOAD_OPEN_TASKS, ids)
    loaded = {
        row["id"]: LoadedWorkflow(workflow_state(row), row["tenant"], read_object(row["config"]), [], [])
        for row in workflows
    }
    for number, row in enumerate(steps, 1):
        if not number % _SLICE:
            await asyncio.sleep(0)
        with _noting(loaded[row["workflow_id"]]):
            loaded[row["workflow_id"]].steps.append(step_record(row, row["created_at"]))
    for row in open_tasks:
        with _noting(loaded[row["workflow_id"]]):
            loaded[row["workflow_id"]].open_tasks.append(task(row))
    return list(loaded.values())


@contextmanager
def _noting(loaded: LoadedWorkflow) -> Iterator[None]:
    """A row that another version wrote, or a hand, must not keep all other workflows from being loaded."""
    try:
        yield
    except (ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
        loaded.unreadable = str(error)


# From structs to arrays


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> Iterable[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _checkpoint(batch: Sequence[Decision]) -> tuple[list[tuple[Any, ...]], ...]:
    """The rows of each table, as `statements.CHECKPOINT_TYPES` wants them."""
    workflows, steps, tasks, events = [], [], [], []
    for decision in batch:
        state = decision.workflow
        workflow_id = state.id
        fence = (workflow_id, decision.owner, decision.epoch, decision.last_event)
        workflows.append(fence + _workflow_values(state))
        steps += [(workflow_id, step.position, *_step_values(step)) for step in decision.steps.values()]
        tasks += [_task_values(workflow_id, task) for task in decision.tasks.values()]
        events += [_event(workflow_id, event) for event in decision.events]
    return workflows, steps, tasks, events


_workflow_values = attrgetter(*sql.WORKFLOW_COLUMNS)


def _step_values(step: StepState) -> tuple[Any, ...]:
    return (
        step.status,
        step.task_id,
        step.attempt,
        step.provider_attempts,
        step.retry_count,
        step.on_fallback,
        step.next_attempt_at,
        None if step.result is None else step.result.decode(),
        step.error_message,
        step.started_at,
        step.completed_at,
        step.updated_at,
    )


def _task_values(workflow_id: UUID, task: Task) -> tuple[Any, ...]:
    return (
        task.id,
        workflow_id,
        task.position,
        task.attempt,
        task.provider,
        task.seed,
        task.started_at,
        task.status,
        task.phase,
        task.remote_id,
        task.outcome_unknown,
        task.cancel_receipt,
        json.encode(task.outputs).decode() if task.outputs else "[]",
        task.error,
        task.completed_at,
    )


def _event(workflow_id: UUID, event: HistoryEvent) -> tuple[Any, ...]:
    data = json.encode(event.data).decode() if event.data else "{}"
    return (workflow_id, event.id, event.type, event.at, event.step_id, event.task_id, event.actor, data)


def _inserted(new: NewWorkflow) -> tuple[Any, ...]:
    """The parameters of `statements.INSERT`."""
    record = new.record
    return (
        *_new_workflow(new),
        *_columns([_new_step(step) for step in record.steps or []], len(sql.NEW_STEP_COLUMNS)),
        *_columns([_event(record.state.id, event) for event in new.events], len(sql.EVENT_COLUMNS)),
    )


def _new_workflow(new: NewWorkflow) -> tuple[Any, ...]:
    record = new.record
    return (
        record.state.id,
        record.tenant,
        record.origin_instance,
        record.origin_zone,
        record.origin_reference,
        json.encode(record.config).decode(),
        record.suppress_subtask_events,
        record.total_steps,
        new.final_position,
        record.created_at,
        *_workflow_values(record.state),
    )


def _new_step(step: StepRecord) -> tuple[Any, ...]:
    plan = step.plan
    return (
        plan.position,
        step.id,
        plan.step_id,
        plan.task_type,
        json.encode(step.definition).decode(),
        "{" + ",".join(map(str, plan.depends_on)) + "}",
        plan.max_retries,
        plan.timeout_s,
        plan.provider,
        plan.fallback,
    )
