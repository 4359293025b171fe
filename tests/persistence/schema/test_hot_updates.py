"""A step's transition changes no index: only a workflow's change of status or owner may, and a new row."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from stepwell.lifecycle.inputs import Dispatched, Succeeded
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.connections.database import asyncpg_connect, create_asyncpg_pool
from stepwell.persistence.stores.lease_store import PostgresLeaseStore
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from support.database.stored_items import make_with_items
from support.database.stored_workflows import Bench

WRITTEN = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
EVER_CHANGING = {"completed_steps", "updated_at", "last_event", "crashes", "epoch"}


async def written(sql: asyncpg.Connection) -> dict[str, tuple[int, int, int]]:
    """Of each table: rows inserted, updated, and updated without touching an index."""
    return {name: tuple(counts) for name, *counts in await sql.fetch(WRITTEN)}


async def until_written(sql: asyncpg.Connection, table: str, inserts: int, updates: int) -> tuple[int, int, int]:
    """Wait for the counts of all connections: PostgreSQL adds those of each a while after the connection has ended."""
    async with asyncio.timeout(30):
        while (counts := (await written(sql))[table])[0] < inserts or counts[1] < updates:
            await asyncio.sleep(0.01)
    return counts


@asynccontextmanager
async def writing(dsn: str, sql: asyncpg.Connection) -> AsyncIterator[Bench]:
    """The workflow store. Its connections have ended afterwards, so that their counts are added."""
    clock, connect = DatabaseClock(), asyncpg_connect(dsn, timeout_s=10)
    pool = await create_asyncpg_pool(connect)
    workflow_store = PostgresWorkflowStore(pool, connect, clock, uuid4())
    yield Bench(workflow_store, PostgresLeaseStore(pool), sql, clock, dsn)
    workflow_store.end_writing()
    pool.terminate()


async def test_transitions_of_steps_are_hot(dsn: str) -> None:
    sql = await asyncpg.connect(dsn)
    async with writing(dsn, sql) as bench:
        handle = await bench.make()
        for position in (0, 1):
            task_id = uuid4()
            await bench.write(handle, Dispatched(position, task_id, 7))
            await bench.write(handle, Succeeded(position, task_id, b"{}"))
        assert await sql.fetchval("SELECT status FROM workflows") == "COMPLETED"
    assert await until_written(sql, "steps", 2, 4) == (2, 4, 4)
    assert await until_written(sql, "workflows", 1, 4) == (1, 4, 3)  # all but the last, by which it ends
    await sql.close()


async def test_transitions_of_items_are_hot(dsn: str) -> None:
    sql = await asyncpg.connect(dsn)
    async with writing(dsn, sql) as bench:
        workflow = await make_with_items(bench, ["x" * 100] * 3)
        for item in range(3):
            await workflow.complete(item, {})
    assert await until_written(sql, "step_items", 3, 6) == (3, 6, 6)
    assert await until_written(sql, "steps", 2, 2) == (2, 2, 2)
    await sql.close()


async def test_no_index_contains_a_column_that_every_transition_changes(dsn: str) -> None:
    sql = await asyncpg.connect(dsn)
    definitions = await sql.fetch("SELECT indexdef FROM pg_indexes WHERE tablename IN ('workflows', 'steps')")
    await sql.close()
    assert len(definitions) == 17
    assert [row for row in definitions if any(column in row["indexdef"] for column in EVER_CHANGING)] == []
    assert [row for row in definitions if " steps" in row["indexdef"] and "steps_pkey" not in row["indexdef"]] == []
