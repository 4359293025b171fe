"""Deletions of workflows beside other statements on two connections: no row is left, and none fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Cancel, Cleanup
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.stores.purges import PostgresPurges
from support.database.stored_items import make_with_items
from support.database.stored_workflows import ME, Bench

# As if the statement was slow: its snapshot is older than the lock on the first workflow.
_SLOW_TURN = """
CREATE SCHEMA IF NOT EXISTS slow;
CREATE OR REPLACE FUNCTION slow.pg_try_advisory_xact_lock(integer) RETURNS boolean LANGUAGE plpgsql AS
'BEGIN PERFORM pg_advisory_lock(1); PERFORM pg_advisory_unlock(1); RETURN true; END';
"""
_NEW_EVENT = """
WITH changed AS (UPDATE workflows SET last_event = last_event + 1, updated_at = clock_timestamp() WHERE id = $1
                 RETURNING id, last_event, updated_at)
INSERT INTO events (workflow_id, id, type, at, actor, data)
SELECT id, last_event, 'workflow.updated', updated_at, 'alice', '{}' FROM changed
"""
_KEY = """
INSERT INTO idempotency_keys (scope, key, token, owner, fingerprint, created_at, applied_at, workflow_id)
VALUES ('t', $2, gen_random_uuid(), gen_random_uuid(), '', now(), now(), $1)
"""
_LATE_CHANGES = {
    "event": _NEW_EVENT,
    "attempt to send a webhook": "UPDATE deliveries SET tries = tries + 1 WHERE workflow_id = $1",
    "response": "UPDATE idempotency_keys SET status = 200, headers = '{}', body = 'secret' WHERE workflow_id = $1",
}


@asynccontextmanager
async def connected(bench: Bench, **settings: str) -> AsyncIterator[PostgresPurges]:
    pool = SmallPool(lambda: asyncpg.connect(bench.dsn, server_settings=settings), size=2, timeout_s=10)
    yield PostgresPurges(pool)
    pool.close()


async def ended(bench: Bench) -> ActiveWorkflow:
    """Return a CANCELLED workflow with events, a delivery that is over, and a key."""
    handle = await bench.make(webhook_url="https://example.com/hook")
    await bench.write(handle, Cancel("alice"))
    await bench.sql.execute("UPDATE deliveries SET next_at = NULL, status = 'DELIVERED'")
    await bench.sql.execute(_KEY, handle.workflow_id, uuid4().hex)
    return handle


async def rows_left(bench: Bench, workflow_id: UUID) -> dict[str, int]:
    """Return the number of rows of the workflow in each table that has any."""
    tables = await bench.sql.fetch(
        "SELECT DISTINCT table_name::text FROM information_schema.columns"
        " WHERE column_name = 'workflow_id' AND table_schema = 'public' AND table_name <> 'deletions'"
    )
    counts = {
        table: await bench.sql.fetchval(f"SELECT count(*) FROM {table} WHERE workflow_id = $1", workflow_id)
        for (table,) in tables
    }
    return {table: count for table, count in counts.items() if count}


async def purge(purges: PostgresPurges, workflow_id: UUID) -> None:
    left = {workflow_id}
    while left:
        left = set((await purges.delete_rows(ME, left, 100)).unfinished)
    await purges.end(ME, [workflow_id])


@pytest.mark.parametrize("change", _LATE_CHANGES)
async def test_a_purge_deletes_the_rows_that_another_transaction_is_writing(bench: Bench, change: str) -> None:
    handle = await ended(bench)
    await bench.write(handle, Cleanup("alice", cleanup_tasks=False))
    await bench.sql.execute("UPDATE deliveries SET next_at = NULL")
    async with connected(bench) as purges, asyncio.TaskGroup() as group:
        await purges.request(ME, handle.workflow_id, "alice")
        other = await asyncpg.connect(bench.dsn)
        transaction = other.transaction()
        await transaction.start()
        await other.execute(_LATE_CHANGES[change], handle.workflow_id)
        work = group.create_task(asyncio.wait_for(purge(purges, handle.workflow_id), 60), name="purge")
        if change != "event":  # nobody waits for these locks
            await asyncio.sleep(0)
            while await bench.sql.fetchval("SELECT count(*) FROM workflows"):
                await asyncio.sleep(0.01)
        else:
            await bench.until_blocked()
        await transaction.commit()
        await work
        await other.close()
    assert await rows_left(bench, handle.workflow_id) == {}


@pytest.mark.parametrize("change", _LATE_CHANGES)
async def test_the_retention_leaves_no_row_of_a_workflow_that_has_changed_after_its_snapshot(
    bench: Bench, change: str
) -> None:
    handle = await ended(bench)
    await bench.sql.execute(_SLOW_TURN)
    async with connected(bench, search_path="slow, public, pg_catalog") as purges, asyncio.TaskGroup() as group:
        await bench.sql.execute("SELECT pg_advisory_lock(1)")
        work = group.create_task(purges.expire(ME, 0, 10, 1000), name="expire")
        await bench.until_blocked()
        await bench.sql.execute(_LATE_CHANGES[change], handle.workflow_id)
        await bench.sql.execute("SELECT pg_advisory_unlock(1)")
        await work
    async with connected(bench) as purges:
        await purges.expire(ME, 0, 10, 1000)
        await purge(purges, handle.workflow_id)
    assert await bench.sql.fetchval("SELECT count(*) FROM workflows") == 0
    assert await rows_left(bench, handle.workflow_id) == {}


async def test_a_cleanup_that_was_stored_after_the_snapshot_of_the_retention_becomes_a_purge(bench: Bench) -> None:
    handle = await ended(bench)
    await bench.sql.execute("INSERT INTO artifact_references VALUES (gen_random_uuid(), $1)", handle.workflow_id)
    await bench.sql.execute(_SLOW_TURN)
    async with connected(bench, search_path="slow, public, pg_catalog") as purges, asyncio.TaskGroup() as group:
        await bench.sql.execute("SELECT pg_advisory_lock(1)")
        work = group.create_task(purges.expire(ME, 0, 10, 1000), name="expire")
        await bench.until_blocked()
        await bench.sql.execute(
            "INSERT INTO cleanups (workflow_id, lane, owner, next_at) VALUES ($1, 't', $2, now())",
            handle.workflow_id,
            ME,
        )
        await bench.sql.execute("SELECT pg_advisory_unlock(1)")
        assert (await work).with_files
    assert await bench.sql.fetchval("SELECT purge FROM cleanups")


async def test_a_purge_deletes_items_in_as_many_statements_as_it_takes(bench: Bench) -> None:
    workflow = await make_with_items(bench, list(range(250)), collect=True)
    await workflow.write(Cancel("alice"))
    await workflow.write(Cleanup("alice", cleanup_tasks=False))
    async with connected(bench) as purges:
        await purges.request(ME, workflow.workflow_id, "alice")
        assert (await purges.delete_rows(ME, [workflow.workflow_id], 100)).unfinished == {workflow.workflow_id}
        assert (await rows_left(bench, workflow.workflow_id))["step_items"] == 150
        await purge(purges, workflow.workflow_id)
    assert await rows_left(bench, workflow.workflow_id) == {}
