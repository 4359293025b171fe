"""What the workflow store on PostgreSQL adds to the contract: locks, snapshots, lost responses and outages."""

import asyncio
import struct
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from stepwell.basics.errors import Forbidden, Unavailable
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import AttemptFailed, Resume, Start
from stepwell.lifecycle.model import StepState
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.connections.database import asyncpg_connect, create_asyncpg_pool
from stepwell.persistence.stores import workflow_store as workflow_store_module
from stepwell.persistence.stores.lease_store import PostgresLeaseStore
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from support.database.stored_workflows import CHAIN, ME, OTHER, TABLES, Bench, dispatched, renamed

# Fences


@pytest.mark.parametrize(
    "change",
    [
        "owner = NULL",
        f"owner = '{OTHER}'",
        "epoch = epoch + 1",
        "last_event = last_event + 1",
        "last_event = last_event - 1",
    ],
)
async def test_a_decision_of_another_version_writes_nothing_in_any_table(bench: Bench, change: str) -> None:
    mine, theirs = await bench.make(), await bench.make()
    await bench.sql.execute(f"UPDATE workflows SET {change} WHERE id = $1", theirs.workflow_id)
    before = await bench.rows()
    started, refused = bench.decide(mine, dispatched()), bench.decide(theirs, dispatched())
    assert await bench.workflow_store.write([started, refused]) == {theirs.workflow_id}
    after = await bench.rows()
    assert len(after["tasks"]) == 1
    for table in TABLES:
        their_rows = [row for row in after[table] if str(theirs.workflow_id) in row]
        assert their_rows == [row for row in before[table] if str(theirs.workflow_id) in row], table
    assert len(after["events"]) == len(before["events"]) + 1


async def test_two_writes_of_one_version_at_once_let_one_land(bench: Bench) -> None:
    handle = await bench.make(owner=None)
    loaded = [await bench.workflow_store.load(EVERY_TENANT, handle.workflow_id) for _ in range(2)]
    decisions = [
        bench.decide(ActiveWorkflow(one), Start("alice", uuid4(), owner))
        for one, owner in zip(loaded, (ME, OTHER), strict=True)
        if one
    ]
    connect = asyncpg_connect(bench.dsn, timeout_s=10)
    other = PostgresWorkflowStore(await create_asyncpg_pool(connect), connect, bench.clock, uuid4())
    workflow_stores = bench.workflow_store, other
    lost = await asyncio.gather(
        *(workflow_store.write([decision]) for workflow_store, decision in zip(workflow_stores, decisions, strict=True))
    )
    other.end_writing()
    assert sorted(map(len, lost)) == [0, 1]
    assert await bench.sql.fetchval("SELECT count(*) FROM events WHERE type = 'workflow.started'") == 1


async def test_the_database_refuses_a_whole_batch_for_one_bad_row(bench: Bench) -> None:
    good, bad = await bench.make(), await bench.make()
    batch = [bench.decide(good, renamed()), bench.decide(bad, renamed("\x00"))]
    before = await bench.rows()
    with pytest.raises(asyncpg.PostgresError):
        await bench.workflow_store.write(batch)
    assert await bench.rows() == before


async def test_rows_that_can_not_be_encoded_are_no_outage(bench: Bench) -> None:
    handle = await bench.make()
    decision = bench.decide(handle, renamed())
    decision.workflow.crashes = 1 << 40
    with pytest.raises(struct.error):
        await bench.workflow_store.write([decision])


async def test_a_write_sets_the_clock_to_the_databases_time(bench: Bench) -> None:
    handle = await bench.make()
    bench.clock.observe(datetime(2001, 1, 1, tzinfo=UTC))
    await bench.write(handle, renamed())
    now = await bench.sql.fetchval("SELECT clock_timestamp()")
    assert abs(bench.clock._at - now) < timedelta(minutes=1)


# What a load brings back


async def test_a_load_is_one_snapshot(bench: Bench) -> None:
    """Loaded over and over while another writes: steps, tasks and workflow always tell of one version."""
    handle = await bench.make()
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(40):
            task_id = uuid4()
            await bench.write(handle, dispatched(0, task_id))
            await bench.write(handle, AttemptFailed(0, task_id, "no", retryable=False, provider_fault=False, jitter=0))
            await bench.write(handle, Resume("alice", uuid4(), ME))
        done.set()

    async def read() -> None:
        while not done.is_set():
            loaded = await bench.workflow_store.load(EVERY_TENANT, handle.workflow_id)
            assert loaded is not None
            status, step = loaded.state.status, loaded.steps[0].state
            assert (status is WorkflowStatus.FAILED) == (step.status is StepStatus.FAILED)
            assert (step.status is StepStatus.RUNNING) == bool(loaded.open_tasks)
            # Three events a round: started; failed and workflow.failed are one write; resumed.
            assert (
                loaded.state.last_event == 2 + 4 * (step.attempt - 1) + event_count(status, step) if step.attempt else 2
            )

    await asyncio.gather(write(), read())


def event_count(status: WorkflowStatus, step: StepState) -> int:
    if status is WorkflowStatus.FAILED:
        return 3
    return 1 if step.status is StepStatus.RUNNING else 4


async def test_an_insert_is_all_or_nothing_and_keeps_to_its_tenant(bench: Bench) -> None:
    _, new = bench.draft(CHAIN, "t", ME)
    with pytest.raises(Forbidden):
        await bench.workflow_store.insert(TenantScope("u"), new)
    broken = NewWorkflow(new.record, new.final_position, 0, (*new.events, new.events[0]))
    with pytest.raises(asyncpg.UniqueViolationError):
        await bench.workflow_store.insert(EVERY_TENANT, broken)
    assert all(not rows for rows in (await bench.rows()).values())
    await bench.workflow_store.insert(TenantScope("t"), new)
    assert {table: len(rows) for table, rows in (await bench.rows()).items()} == {
        "workflows": 1, "steps": 2, "tasks": 0, "events": 2,
    }  # fmt: skip


async def test_every_call_raises_unavailable_in_an_outage(bench: Bench) -> None:
    connect = asyncpg_connect(bench.dsn.replace("port=", "port=1"), timeout_s=1)
    pool = await create_asyncpg_pool(connect)
    workflow_store, leases = PostgresWorkflowStore(pool, connect, bench.clock, uuid4()), PostgresLeaseStore(pool)
    handle, new = bench.draft(CHAIN, "t", ME)
    for call in (
        workflow_store.insert(EVERY_TENANT, new),
        workflow_store.load(EVERY_TENANT, handle.workflow_id),
        workflow_store.results(EVERY_TENANT, {handle.workflow_id: [0]}),
        workflow_store.write([bench.decide(handle, renamed())]),
        workflow_store.claim(ME, [], bench.clock.now(), 1),
        workflow_store.set_clock(),
        leases.renew(ME, 1),
        leases.next_expiry(ME),
        leases.release(ME),
        leases.expire_others(ME),
    ):
        with pytest.raises(Unavailable):
            await call
    await pool.close()


async def test_a_call_that_finds_no_free_connection_fails_in_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await bench.make()
    monkeypatch.setattr(workflow_store_module, "_CONNECTION_S", 0.05)
    async with bench.sql.transaction():
        await bench.sql.execute("LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE")
        async with asyncio.TaskGroup() as group:
            loads = [group.create_task(_loaded(bench, handle)) for _ in range(5)]
            await asyncio.wait(loads, return_when=asyncio.FIRST_COMPLETED)
            # As many as there are connections for them are still at it; the others know already.
            while sum(load.done() for load in loads) < 3:
                await asyncio.sleep(0.01)
            assert [load.result() for load in loads if load.done()] == [False] * 3
            await bench.sql.execute("ROLLBACK; BEGIN")
    assert sorted(load.result() for load in loads) == [False, False, False, True, True]


async def _loaded(bench: Bench, handle: ActiveWorkflow) -> bool:
    try:
        return await bench.workflow_store.load(EVERY_TENANT, handle.workflow_id) is not None
    except Unavailable:
        return False
