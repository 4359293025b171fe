"""The journal against a real server: fences, lost answers, and what a load brings back."""

import asyncio
from copy import copy
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from stepwell.domain.errors import Forbidden, Unavailable
from stepwell.domain.lifecycle.inputs import AttemptFailed, Resume, Start, Succeeded
from stepwell.domain.model import Output, ProviderType, StepState, StepStatus, TaskStatus, WorkflowStatus
from stepwell.domain.records import NewWorkflow
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.persistence.connections.database import create_journal_pool, journal_connect
from stepwell.persistence.stores import workflow_store as journal_module
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from support.database.stored_workflows import CHAIN, ME, OTHER, TABLES, Bench, admitted, renamed
from support.workflows.definitions import body

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
    started, refused = bench.decide(mine, admitted()), bench.decide(theirs, admitted())
    assert await bench.journal.write([started, refused]) == {theirs.workflow_id}
    after = await bench.rows()
    assert len(after["tasks"]) == 1
    for table in TABLES:
        their_rows = [row for row in after[table] if str(theirs.workflow_id) in row]
        assert their_rows == [row for row in before[table] if str(theirs.workflow_id) in row], table
    assert len(after["events"]) == len(before["events"]) + 1


async def test_a_workflow_that_does_not_exist_is_not_landed(bench: Bench) -> None:
    handle, _ = bench.draft(CHAIN, "t", ME)
    assert await bench.journal.write([bench.decide(handle, renamed())]) == {handle.workflow_id}
    assert all(not rows for rows in (await bench.rows()).values())


async def test_what_has_landed_already_counts_as_landed_and_is_written_once(bench: Bench) -> None:
    one, two = await bench.make(), await bench.make()
    batch = [bench.decide(one, admitted()), bench.decide(two, renamed())]
    assert await bench.journal.write(batch[:1]) == set()
    before = await bench.rows()
    assert await bench.journal.write(batch) == set()
    after = await bench.rows()
    assert after["tasks"] == before["tasks"]
    assert len(after["events"]) == len(before["events"]) + 1


async def test_landed_then_taken_over_is_lost(bench: Bench) -> None:
    handle = await bench.make()
    decision = bench.decide(handle, admitted())
    assert await bench.journal.write([decision]) == set()
    assert len(await bench.claim(OTHER)) == 1
    assert await bench.journal.write([decision]) == {handle.workflow_id}


async def test_another_process_that_made_as_many_versions_of_an_unowned_workflow_is_not_taken_for_this_one(
    bench: Bench,
) -> None:
    handle = await bench.make(owner=None)
    loaded = await bench.journal.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    assert await bench.journal.write([bench.decide(ActiveWorkflow(loaded), renamed("theirs"))]) == set()
    assert await bench.journal.write([bench.decide(handle, renamed("mine"))]) == {handle.workflow_id}
    assert await bench.sql.fetchval("SELECT name FROM workflows") == "theirs"


async def test_two_writes_of_one_version_at_once_let_one_land(bench: Bench) -> None:
    handle = await bench.make(owner=None)
    loaded = [await bench.journal.load(EVERY_TENANT, handle.workflow_id) for _ in range(2)]
    decisions = [
        bench.decide(ActiveWorkflow(one), Start("alice", uuid4(), owner))
        for one, owner in zip(loaded, (ME, OTHER), strict=True)
        if one
    ]
    connect = journal_connect(bench.dsn, timeout_s=10)
    other = PostgresWorkflowStore(await create_journal_pool(connect), connect, bench.clock, uuid4())
    journals = bench.journal, other
    lost = await asyncio.gather(
        *(journal.write([decision]) for journal, decision in zip(journals, decisions, strict=True))
    )
    other.end_writing()
    assert sorted(map(len, lost)) == [0, 1]
    assert await bench.sql.fetchval("SELECT count(*) FROM events WHERE type = 'workflow.started'") == 1


async def test_the_database_refuses_a_whole_batch_for_one_bad_row(bench: Bench) -> None:
    good, bad = await bench.make(), await bench.make()
    batch = [bench.decide(good, renamed()), bench.decide(bad, renamed("\x00"))]
    before = await bench.rows()
    with pytest.raises(asyncpg.PostgresError):
        await bench.journal.write(batch)
    assert await bench.rows() == before


async def test_what_can_not_even_be_sent_is_no_outage(bench: Bench) -> None:
    handle = await bench.make()
    decision = bench.decide(handle, renamed())
    decision.workflow.crashes = 1 << 40
    with pytest.raises(asyncpg.DataError):
        await bench.journal.write([decision])


async def test_a_write_tells_the_databases_time(bench: Bench) -> None:
    handle = await bench.make()
    bench.clock.observe(datetime(2001, 1, 1, tzinfo=UTC))
    await bench.write(handle, renamed())
    told = await bench.sql.fetchval("SELECT clock_timestamp()")
    assert abs(bench.clock._at - told) < timedelta(minutes=1)


# What a load brings back


async def test_a_load_brings_back_what_was_written(bench: Bench) -> None:
    handle = await bench.make()
    task_id = uuid4()
    output = Output(f"media/{task_id}/x", 3, "ff")
    await bench.write(handle, admitted(0, task_id), Succeeded(0, task_id, b'{"f": 1.0}', (output,)), admitted(1))
    loaded = await bench.journal.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    assert loaded.state == handle.run.state
    assert (loaded.tenant, loaded.config) == ("t", {"k": [1.0]})
    assert [step.state for step in loaded.steps] == [_without_result(step) for step in handle.run.steps]
    assert [step.plan for step in loaded.steps] == list(handle.run.plans)
    assert [step.definition for step in loaded.steps] == [handle.definition(0), handle.definition(1)]
    assert loaded.open_tasks == [handle.run._frontier.running[1]]
    assert await bench.sql.fetchval("SELECT outputs::text FROM tasks WHERE id = $1", task_id) == (
        f'[{{"path":"media/{task_id}/x","size":3,"sha256":"ff"}}]'
    )


def _without_result(step: StepState) -> StepState:
    plain = copy(step)
    plain.result = None
    return plain


async def test_a_task_that_ended_is_not_open_and_its_error_is_kept(bench: Bench) -> None:
    handle = await bench.make()
    task_id = uuid4()
    failed = AttemptFailed(0, task_id, "no", retryable=True, provider_fault=True, jitter=0.5)
    await bench.write(handle, admitted(0, task_id), failed)
    loaded = await bench.journal.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    assert loaded.open_tasks == []
    assert (loaded.steps[0].state.status, loaded.steps[0].state.next_attempt_at is None) == (StepStatus.RUNNING, False)
    row = await bench.sql.fetchrow("SELECT status, error FROM tasks")
    assert tuple(row) == (TaskStatus.FAILED, "no")


async def test_a_load_is_one_snapshot(bench: Bench) -> None:
    """Loaded over and over while another writes: steps, tasks and workflow always tell of one version."""
    handle = await bench.make()
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(40):
            task_id = uuid4()
            await bench.write(handle, admitted(0, task_id))
            await bench.write(handle, AttemptFailed(0, task_id, "no", retryable=False, provider_fault=False, jitter=0))
            await bench.write(handle, Resume("alice", uuid4(), ME))
        done.set()

    async def read() -> None:
        while not done.is_set():
            loaded = await bench.journal.load(EVERY_TENANT, handle.workflow_id)
            assert loaded is not None
            status, step = loaded.state.status, loaded.steps[0].state
            assert (status is WorkflowStatus.FAILED) == (step.status is StepStatus.FAILED)
            assert (step.status is StepStatus.RUNNING) == bool(loaded.open_tasks)
            # Three events a round: started; failed and workflow.failed are one write; resumed.
            assert loaded.state.last_event == 2 + 4 * (step.attempt - 1) + _told(status, step) if step.attempt else 2

    await asyncio.gather(write(), read())


def _told(status: WorkflowStatus, step: StepState) -> int:
    if status is WorkflowStatus.FAILED:
        return 3
    return 1 if step.status is StepStatus.RUNNING else 4


async def test_results_come_by_position_and_only_where_there_are_any(bench: Bench) -> None:
    one, two = await bench.make(), await bench.make(tenant=None)
    for handle in (one, two):
        task_id = uuid4()
        await bench.write(handle, admitted(0, task_id), Succeeded(0, task_id, b'{"f": 1.0, "a": -0.0}'))
    wanted = {one.workflow_id: [0, 1, 99], two.workflow_id: [0], uuid4(): [0]}
    stored = {0: b'{"f": 1.0, "a": -0.0}'}
    assert await bench.journal.results(EVERY_TENANT, wanted) == {one.workflow_id: stored, two.workflow_id: stored}
    assert await bench.journal.results(TenantScope("t"), wanted) == {one.workflow_id: stored}
    assert await bench.journal.results(TenantScope(), wanted) == {two.workflow_id: stored}
    assert await bench.journal.results(EVERY_TENANT, {}) == {}


async def test_a_load_sees_only_its_tenants(bench: Bench) -> None:
    of_t, of_nobody = await bench.make(), await bench.make(tenant=None)
    seen = [
        [scope for scope in ("t", "u", None) if await bench.journal.load(TenantScope(scope), handle.workflow_id)]
        for handle in (of_t, of_nobody)
    ]
    assert seen == [["t"], [None]]
    assert await bench.journal.load(EVERY_TENANT, uuid4()) is None


async def test_an_insert_is_all_or_nothing_and_keeps_to_its_tenant(bench: Bench) -> None:
    _, new = bench.draft(CHAIN, "t", ME)
    with pytest.raises(Forbidden):
        await bench.journal.insert(TenantScope("u"), new)
    broken = NewWorkflow(new.record, new.final_position, (*new.events, new.events[0]))
    with pytest.raises(asyncpg.UniqueViolationError):
        await bench.journal.insert(EVERY_TENANT, broken)
    assert all(not rows for rows in (await bench.rows()).values())
    await bench.journal.insert(TenantScope("t"), new)
    assert {table: len(rows) for table, rows in (await bench.rows()).items()} == {
        "workflows": 1, "steps": 2, "tasks": 0, "events": 2,
    }  # fmt: skip


async def test_an_outage_has_one_name(bench: Bench) -> None:
    connect = journal_connect(bench.dsn.replace("port=", "port=1"), timeout_s=1)
    pool = await create_journal_pool(connect)
    journal = PostgresWorkflowStore(pool, connect, bench.clock, uuid4())
    handle, new = bench.draft(CHAIN, "t", ME)
    for call in (
        journal.insert(EVERY_TENANT, new),
        journal.load(EVERY_TENANT, handle.workflow_id),
        journal.results(EVERY_TENANT, {handle.workflow_id: [0]}),
        journal.write([bench.decide(handle, renamed())]),
        journal.claim(ME, [], bench.clock.now(), 1),
        journal.renew_lease(ME, 1),
        journal.next_expiry(ME),
        journal.release(ME),
        journal.set_clock(),
        journal.expire_others(ME),
    ):
        with pytest.raises(Unavailable):
            await call
    await pool.close()


async def test_a_provider_and_a_fallback_come_back_as_what_they_were(bench: Bench) -> None:
    step = {"id": "a", "task_type": "GENERATION", "config": {"prompt": "x"}, "fallback_provider_type": "FAL"}
    handle = await bench.make(body(step), owner=None)
    loaded = await bench.journal.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    assert (loaded.steps[0].plan.provider, loaded.steps[0].plan.fallback) == (ProviderType.LOCAL, ProviderType.FAL)


async def test_who_finds_no_free_connection_is_told_so_in_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await bench.make()
    monkeypatch.setattr(journal_module, "_TURN_S", 0.05)
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
        return await bench.journal.load(EVERY_TENANT, handle.workflow_id) is not None
    except Unavailable:
        return False
