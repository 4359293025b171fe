"""Statements that lock several rows, two at a time: neither waits for one that waits for it.

`statements.child_statements` has the order in which all of them lock. In each test the first statement has locked some
of the workflows, and waits for one that the test has locked, when the second one begins. If their orders differed, each
would get what the other one wants, and PostgreSQL would end one of them.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Cancel, Cleanup
from stepwell.lifecycle.records import NO_PROCESS
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores.purges import PostgresPurges
from support.database.parked_workflows import park, signals
from support.database.stored_workflows import CHAIN, ME, OTHER, Bench, renamed
from support.database.sub_workflows import end, make_child

LATER = timedelta(days=1)
# Rows about the workflow $1, which others also lock without its row.
_COMMAND = """
INSERT INTO commands (id, workflow_id, lane, requester, recipient, request, created_at)
VALUES (gen_random_uuid(), $1, 't', gen_random_uuid(), gen_random_uuid(), '{}', now())
"""
_KEY = """
INSERT INTO idempotency_keys (scope, key, token, owner, fingerprint, created_at, applied_at, workflow_id)
VALUES ('t', 'k', gen_random_uuid(), gen_random_uuid(), '', now(), now(), $1)
"""


def by_id(workflows: Sequence[ActiveWorkflow]) -> list[ActiveWorkflow]:
    return sorted(workflows, key=lambda each: each.workflow_id)


async def make_children(bench: Bench, parent: ActiveWorkflow) -> list[ActiveWorkflow]:
    return by_id([await make_child(bench, parent) for _ in range(3)])


def claim_all(bench: Bench) -> Coroutine[Any, Any, Any]:
    """Claim all workflows of ME, which has no lease."""
    return bench.workflow_store.claim(OTHER, [], bench.clock.now() + LATER, 9)


async def run_both_blocked(
    bench: Bench, locked: ActiveWorkflow, first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any]
) -> tuple[Any, Any]:
    """Run both statements, the second one while the first one waits for the row of *locked*. Return their results."""
    async with asyncio.TaskGroup() as group, bench.sql.transaction():
        await bench.sql.execute("SELECT FROM workflows WHERE id = $1 FOR UPDATE", locked.workflow_id)
        one = group.create_task(first)
        await bench.until_blocked()
        other = group.create_task(second)
        await bench.until_blocked(2)
    return one.result(), other.result()


@pytest.mark.parametrize("kind", ["plain", "flow", "ends"])
async def test_a_claim_and_a_late_checkpoint_never_wait_for_each_other(bench: Bench, kind: str) -> None:
    parent = await bench.make(CHAIN)
    least, between, most = await make_children(bench, parent)
    if kind == "ends":
        batch = [end(bench, most), end(bench, least)]
    else:
        last = bench.decide(most, renamed()) if kind == "plain" else park(most, bench.clock.now() + LATER)
        batch = [last, bench.decide(least, renamed())]
    claimed, lost = await run_both_blocked(bench, between, claim_all(bench), bench.workflow_store.write(batch))
    assert {one.state.id for one in claimed} == {each.workflow_id for each in (parent, least, between, most)}
    assert lost == {least.workflow_id, most.workflow_id}


async def test_a_claim_and_workflows_that_are_handed_over_never_wait_for_each_other(bench: Bench) -> None:
    parent, between = by_id([await bench.make(CHAIN) for _ in range(2)])
    child = await make_child(bench, parent)
    ids = [each.workflow_id for each in (parent, between, child)]
    handing_over = bench.workflow_store.hand_over(ME, ids)
    _, claimed = await run_both_blocked(bench, between, handing_over, claim_all(bench))
    assert claimed == []
    owners = await bench.sql.fetch("SELECT owner FROM workflows WHERE id = ANY($1)", ids)
    assert [row["owner"] for row in owners] == [NO_PROCESS] * 3


@asynccontextmanager
async def purges_of(bench: Bench) -> AsyncIterator[PostgresPurges]:
    pool = SmallPool(asyncpg_connect(bench.dsn, timeout_s=10), size=1, timeout_s=10)
    yield PostgresPurges(pool)
    pool.close()


async def make_deleted(bench: Bench, *, falling: bool) -> tuple[ActiveWorkflow, list[ActiveWorkflow]]:
    """A deleted workflow and its sub-workflows, which have ended in the order of their ids, or in the opposite one."""
    root = await bench.make(CHAIN)
    children = await make_children(bench, root)
    for seconds, each in enumerate(reversed(children) if falling else children):
        assert await bench.workflow_store.write([end(bench, each)]) == set()
        later = "UPDATE workflows SET created_at = created_at + make_interval(secs => $2) WHERE id = $1"
        await bench.sql.execute(later, each.workflow_id, 60 * seconds)
    assert (
        await bench.workflow_store.write([bench.decide(root, Cancel("alice"), Cleanup("alice", cleanup_tasks=False))])
        == set()
    )
    return root, children


@pytest.mark.parametrize("falling", [False, True])
async def test_a_checkpoint_and_the_purge_of_a_family_never_wait_for_each_other(bench: Bench, *, falling: bool) -> None:
    root, children = await make_deleted(bench, falling=falling)
    writing = bench.workflow_store.write([bench.decide(each, renamed()) for each in children])
    async with purges_of(bench) as purges:
        requesting = purges.request(ME, root.workflow_id, "alice")
        assert await run_both_blocked(bench, children[1], writing, requesting) == (set(), ME)
    assert await bench.sql.fetchval("SELECT count(*) FROM workflows WHERE deleted_at IS NOT NULL") == 4


@pytest.mark.parametrize("falling", [False, True])
async def test_a_checkpoint_and_the_deletion_of_rows_never_wait_for_each_other(bench: Bench, *, falling: bool) -> None:
    root, children = await make_deleted(bench, falling=falling)
    ids = {each.workflow_id for each in (root, *children)}
    async with purges_of(bench) as purges:
        assert await purges.request(ME, root.workflow_id, "alice") == ME
        loaded = [await bench.workflow_store.load(EVERY_TENANT, each.workflow_id) for each in children]
        batch = [signals(ActiveWorkflow(each), bench.clock.now(), {}) for each in loaded if each is not None]
        for seconds, each in enumerate(reversed(children) if falling else children):
            due = "UPDATE cleanups SET next_at = next_at + make_interval(secs => $2) WHERE workflow_id = $1"
            await bench.sql.execute(due, each.workflow_id, 60 * seconds)
        written, deleted = await run_both_blocked(
            bench, children[1], bench.workflow_store.write(batch), purges.delete_rows(ME, ids, 100)
        )
    assert written == set()
    assert deleted.workflow_ids == ids
    assert await bench.sql.fetchval("SELECT count(*) FROM workflows") == 0


async def test_a_deletion_of_rows_locks_the_workflow_before_its_cleanup(bench: Bench) -> None:
    """A checkpoint that ends a cleanup does, too."""
    root, _ = await make_deleted(bench, falling=False)
    async with purges_of(bench) as purges, asyncio.TaskGroup() as group:
        assert await purges.request(ME, root.workflow_id, "alice") == ME
        async with bench.sql.transaction():
            await bench.sql.execute("SELECT FROM workflows WHERE id = $1 FOR UPDATE", root.workflow_id)
            deleting = group.create_task(purges.delete_rows(ME, [root.workflow_id], 100))
            await bench.until_blocked()
            await bench.sql.execute("SELECT FROM cleanups WHERE workflow_id = $1 FOR UPDATE", root.workflow_id)
    assert deleting.result().workflow_ids == {root.workflow_id}


@pytest.mark.parametrize("table", ["commands", "deliveries", "idempotency_keys"])
async def test_a_deletion_of_rows_does_not_wait_for_rows_that_others_lock_before_the_workflow(
    bench: Bench, table: str
) -> None:
    handle = await bench.make(CHAIN, webhook_url="https://example.com/hook")
    assert (
        await bench.workflow_store.write([bench.decide(handle, Cancel("alice"), Cleanup("alice", cleanup_tasks=False))])
        == set()
    )
    for row in (_COMMAND, _KEY):
        await bench.sql.execute(row, handle.workflow_id)
    async with purges_of(bench) as purges:
        assert await purges.request(ME, handle.workflow_id, "alice") == ME
        async with bench.sql.transaction():
            await bench.sql.execute(f"SELECT FROM {table} WHERE workflow_id = $1 FOR UPDATE", handle.workflow_id)
            deleted = await purges.delete_rows(ME, [handle.workflow_id], 100)
            assert deleted.workflow_ids == deleted.unfinished == {handle.workflow_id}
            await bench.sql.execute("SELECT FROM workflows WHERE id = $1 FOR UPDATE", handle.workflow_id)
        assert (await purges.delete_rows(ME, [handle.workflow_id], 100)).unfinished == set()
    assert await bench.sql.fetchval(f"SELECT count(*) FROM {table}") == 0
