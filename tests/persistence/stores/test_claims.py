"""Claims and leases against a real server: who takes over what, and from whom."""

import asyncio
from uuid import uuid4

import pytest

from stepwell.domain.errors import Unavailable
from stepwell.domain.lifecycle.inputs import Pause
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.persistence.rows.journal_sql import PROCESSES
from stepwell.persistence.stores import workflow_store
from support.database.stored_workflows import ME, OTHER, THIRD, Bench, admitted, renamed


@pytest.mark.parametrize(
    ("lease_s", "claimed", "crashes"),
    [(60, False, 0), (None, False, 0), (-1, True, 1), ("released", True, 0), ("never", True, 0)],
)
async def test_a_claim_takes_what_has_no_live_process(
    bench: Bench,
    lease_s: float | str | None,
    claimed: bool,  # noqa: FBT001
    crashes: int,
) -> None:
    handle = await bench.make(owner=OTHER)
    await bench.write(handle, admitted())
    await bench.make(owner=None)
    if lease_s != "never":
        await bench.lease(OTHER, None if isinstance(lease_s, str) else lease_s)
    if lease_s == "released":
        await bench.journal.release(OTHER)
    found = await bench.claim()
    assert [one.state.id for one in found] == ([handle.workflow_id] if claimed else [])
    if claimed:
        state = found[0].state
        assert (state.owner, state.epoch, state.crashes) == (ME, handle.run.state.epoch + 1, crashes)
        assert state.last_event == handle.run.state.last_event
        assert await bench.journal.write([bench.decide(handle, renamed())]) == {handle.workflow_id}
        assert await bench.journal.write([bench.decide(ActiveWorkflow(found[0]), renamed())]) == set()
    assert await bench.claim(ME, (handle,)) == []


async def test_ones_own_are_claimed_only_where_they_are_unknown_and_older_than_the_claim(bench: Bench) -> None:
    held, unknown, newer = await bench.make(), await bench.make(), await bench.make()
    await bench.lease(ME, 60)
    now = bench.clock.now()
    await bench.write(newer, renamed())
    found = await bench.journal.claim(ME, [held.workflow_id], now, 100)
    assert [(one.state.id, one.state.epoch, one.state.crashes) for one in found] == [(unknown.workflow_id, 2, 0)]


async def test_finished_and_pending_workflows_need_no_process_but_a_paused_one_with_a_running_step_does(
    bench: Bench,
) -> None:
    paused, idle, running = await bench.make(), await bench.make(), await bench.make()
    await bench.write(paused, admitted(), Pause("alice"))
    await bench.write(idle, Pause("alice"))
    await bench.make(owner=None)
    found = await bench.claim(OTHER)
    assert {one.state.id for one in found} == {paused.workflow_id, running.workflow_id}


async def test_a_claim_comes_in_pages_and_counts_each_crash_once(bench: Bench) -> None:
    handles = [await bench.make(owner=OTHER) for _ in range(7)]
    for handle in handles:
        await bench.write(handle, admitted(task_id=uuid4()))
    await bench.lease(OTHER, -1)
    pages = [await bench.claim(limit=3, held=tuple(h for h in handles if h.lost))]
    while pages[-1]:
        taken = {one.state.id for page in pages for one in page}
        for handle in handles:
            handle.lost = handle.workflow_id in taken
        pages.append(await bench.claim(limit=3, held=tuple(h for h in handles if h.lost)))
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert {one.state.id for page in pages for one in page} == {handle.workflow_id for handle in handles}
    assert {(one.state.epoch, one.state.crashes) for page in pages for one in page} == {(2, 1)}


async def test_a_crash_is_blamed_on_those_alone_that_had_an_attempt_under_way(bench: Bench) -> None:
    guilty, waiting = await bench.make(owner=OTHER), await bench.make(owner=OTHER)
    await bench.write(guilty, admitted())
    await bench.lease(OTHER, -1)
    crashes = {one.state.id: one.state.crashes for one in await bench.claim()}
    assert crashes == {guilty.workflow_id: 1, waiting.workflow_id: 0}


async def test_rows_that_make_no_sense_stop_only_their_own_workflow(bench: Bench) -> None:
    odd, sound = await bench.make(owner=OTHER), await bench.make(owner=OTHER)
    await bench.sql.execute(
        """UPDATE steps SET definition = '{"id": "x", "task_type": "PASSTHROUGH", "of_tomorrow": 1}'
        WHERE workflow_id = $1""",
        odd.workflow_id,
    )
    found = {one.state.id: one for one in await bench.claim()}
    assert "of_tomorrow" in str(found[odd.workflow_id].unreadable)
    assert found[sound.workflow_id].unreadable is None
    with pytest.raises(Unavailable, match="of_tomorrow"):
        ActiveWorkflow(found[odd.workflow_id])


async def test_a_page_ends_where_its_steps_are_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    handles = [await bench.make(owner=OTHER) for _ in range(5)]
    monkeypatch.setattr(workflow_store, "_STEPS_A_PAGE", 2 * len(handles[0].run.steps) - 1)
    pages = [await bench.claim()]
    while pages[-1]:
        known = {one.state.id for page in pages for one in page}
        pages.append(await bench.claim(held=tuple(handle for handle in handles if handle.workflow_id in known)))
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert {one.state.id for page in pages for one in page} == {handle.workflow_id for handle in handles}


async def test_two_processes_that_claim_at_once_share_and_never_both_have_one(bench: Bench) -> None:
    handles = [await bench.make(owner=OTHER) for _ in range(20)]
    await bench.lease(OTHER, -1)
    for owner in (ME, THIRD):
        await bench.lease(owner, 60)
    both = await asyncio.gather(bench.claim(ME), bench.claim(THIRD))
    ids = [one.state.id for found in both for one in found]
    assert sorted(ids) == sorted(handle.workflow_id for handle in handles)
    assert await bench.sql.fetchval("SELECT array_agg(DISTINCT epoch) FROM workflows") == [2]


async def test_a_claim_waits_for_the_last_write_of_the_dead_and_takes_over_from_there(bench: Bench) -> None:
    handle = await bench.make(owner=OTHER)
    await bench.lease(OTHER, -1)
    transaction = bench.sql.transaction()
    await transaction.start()
    await bench.sql.execute("UPDATE workflows SET last_event = 77")
    async with asyncio.TaskGroup() as group:
        claiming = group.create_task(bench.claim())
        await bench.until_blocked()
        assert not claiming.done()
        await transaction.commit()
    (found,) = claiming.result()
    assert (found.state.id, found.state.last_event, found.state.owner) == (handle.workflow_id, 77, ME)


async def test_a_claim_that_waited_for_another_claim_leaves_it_what_it_took(bench: Bench) -> None:
    await bench.make(owner=OTHER)
    await bench.lease(OTHER, -1)
    await bench.lease(THIRD, 60)
    transaction = bench.sql.transaction()
    await transaction.start()
    await bench.sql.execute("UPDATE workflows SET owner = $1, epoch = epoch + 1", THIRD)
    async with asyncio.TaskGroup() as group:
        claiming = group.create_task(bench.claim())
        await bench.until_blocked()
        assert not claiming.done()
        await transaction.commit()
    assert claiming.result() == []


async def test_leases(bench: Bench) -> None:
    await bench.make(owner=OTHER)
    assert await bench.journal.next_expiry(OTHER) is None, "it is its own"
    assert await bench.journal.next_expiry(ME) == 0, "it ended in order, and its workflow is left"
    await bench.lease(OTHER, 60)
    due = await bench.journal.next_expiry(ME)
    assert due is not None
    assert 30 < due <= 60
    await bench.lease(THIRD, 5)
    due = await bench.journal.next_expiry(ME)
    assert due is not None
    assert 0 < due <= 5, "the one without workflows may get some before"
    await bench.lease(THIRD, -1)
    due = await bench.journal.next_expiry(ME)
    assert due is not None
    assert 30 < due <= 60, "it has nothing, and says so when it gets something"
    await bench.lease(OTHER, -1)
    assert await bench.journal.next_expiry(ME) == 0, "it may have ended since the last claim"
    assert await bench.journal.next_expiry(OTHER) is None
    await bench.lease(OTHER, None)
    assert await bench.journal.next_expiry(ME) is None
    assert await bench.claim() == []
    await bench.journal.expire_others(ME)
    assert await bench.journal.next_expiry(ME) is None
    assert len(await bench.claim()) == 1


async def test_who_comes_to_life_or_ends_in_order_is_told_of(bench: Bench) -> None:
    heard: list[str] = []
    await bench.sql.add_listener(PROCESSES, lambda *args: heard.append(args[-1]))

    async def told() -> list[str]:
        """All that has been told; what this connection tells itself comes last."""
        await bench.sql.execute("SELECT pg_notify($1, 'end')", PROCESSES)
        async with asyncio.timeout(30):
            while "end" not in heard:
                await asyncio.sleep(0.001)
        found, heard[:] = heard[:-1], []
        return found

    # Who looks when a lease ends that is just being renewed may find none: so that is told, too.
    for left, tells in ((None, True), ("60 s", False), ("40 s", False), ("1 s", True), ("-1 s", True)):
        if left is not None:
            until = f"clock_timestamp() + interval '{left}'"
            await bench.sql.execute(f"UPDATE processes SET lease_until = {until}")
        await bench.journal.renew_lease(OTHER, 60)
        assert await told() == [str(OTHER)] * tells, left
    await bench.journal.release(OTHER)
    await bench.journal.release(THIRD)
    assert await told() == [str(OTHER)]


async def test_the_dead_without_workflows_are_forgotten(bench: Bench) -> None:
    await bench.make(owner=OTHER)
    for owner, seconds in ((OTHER, -1), (THIRD, -1), (ME, 60)):
        await bench.lease(owner, seconds)
    assert len(await bench.claim()) == 1
    (handle,) = await bench.sql.fetch("SELECT id FROM workflows")
    assert await bench.journal.claim(ME, [handle["id"]], bench.clock.now(), 10) == []
    assert await bench.sql.fetch("SELECT id FROM processes") == [(ME,)]


async def test_checkpoints_and_leases_go_on_while_claims_wait(bench: Bench) -> None:
    """Neither may stand in a queue with what can take long."""
    await bench.make(owner=OTHER)
    mine = await bench.make()
    await bench.lease(OTHER, -1)
    transaction = bench.sql.transaction()
    await transaction.start()
    await bench.sql.execute("UPDATE workflows SET last_event = 77 WHERE owner = $1", OTHER)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(bench.claim(held=(mine,))) for _ in range(10)]
        await bench.until_blocked()
        await bench.write(mine, renamed())
        await bench.journal.renew_lease(ME, 60)
        assert not any(task.done() for task in waiting)
        await transaction.commit()
    assert {len(task.result()) for task in waiting} == {1}
