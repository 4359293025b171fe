"""What claims and leases on PostgreSQL add to the contract: locks, broken rows, notifications and pages."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.basics.errors import Unavailable
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.records import LoadedWorkflow
from stepwell.persistence.statements.claim_statements import PROCESSES
from stepwell.persistence.stores import workflow_store as workflow_store_module
from support.database.stored_items import make_with_items
from support.database.stored_workflows import ME, OTHER, THIRD, Bench, dispatched, renamed


async def test_a_claim_comes_in_pages(bench: Bench) -> None:
    handles = [await bench.make(owner=OTHER) for _ in range(7)]
    for handle in handles:
        await bench.write(handle, dispatched(task_id=uuid4()))
    await bench.lease(OTHER, -1)
    pages = [await bench.claim(limit=3, held=tuple(h for h in handles if h.lost))]
    while pages[-1]:
        taken = {one.state.id for page in pages for one in page}
        for handle in handles:
            handle.lost = handle.workflow_id in taken
        pages.append(await bench.claim(limit=3, held=tuple(h for h in handles if h.lost)))
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert {one.state.id for page in pages for one in page} == {handle.workflow_id for handle in handles}
    assert {one.state.epoch for page in pages for one in page} == {2}


async def test_rows_that_make_no_sense_stop_only_their_own_workflow(bench: Bench) -> None:
    odd, sound = await bench.make(owner=OTHER), await bench.make(owner=OTHER)
    await bench.sql.execute(
        """UPDATE steps SET definition = '{"id": "x", "task_type": "PASSTHROUGH", "of_tomorrow": 1}'
        WHERE workflow_id = $1""",
        odd.workflow_id,
    )
    claims = {one.state.id: one for one in await bench.claim()}
    assert "of_tomorrow" in str(claims[odd.workflow_id].unreadable)
    assert claims[sound.workflow_id].unreadable is None
    with pytest.raises(Unavailable, match="of_tomorrow"):
        ActiveWorkflow(claims[odd.workflow_id])


async def test_a_page_ends_where_its_steps_are_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    handles = [await bench.make(owner=OTHER) for _ in range(5)]
    monkeypatch.setattr(workflow_store_module, "STEPS_A_PAGE", 2 * len(handles[0].run.steps) - 1)
    pages = [await bench.claim()]
    while pages[-1]:
        known = {one.state.id for page in pages for one in page}
        pages.append(await bench.claim(held=tuple(handle for handle in handles if handle.workflow_id in known)))
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert {one.state.id for page in pages for one in page} == {handle.workflow_id for handle in handles}


async def test_items_count_as_steps_in_a_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        await make_with_items(bench, range(10))
    monkeypatch.setattr(workflow_store_module, "STEPS_A_PAGE", 20)
    await bench.lease(ME, -1)
    assert [len(one.items) for one in await bench.claim(OTHER)] == [10, 10]


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


async def test_a_process_that_comes_to_life_or_ends_in_order_is_notified(bench: Bench) -> None:
    heard: list[str] = []
    await bench.sql.add_listener(PROCESSES, lambda *args: heard.append(args[-1]))

    async def notifications() -> list[str]:
        """All notifications so far; what this connection sends itself comes last."""
        await bench.sql.execute("SELECT pg_notify($1, 'end')", PROCESSES)
        async with asyncio.timeout(30):
            while "end" not in heard:
                await asyncio.sleep(0.001)
        found, heard[:] = heard[:-1], []
        return found

    # Who looks when a lease ends that is just being renewed may find none: so that is announced, too.
    for left, tells in ((None, True), ("60 s", False), ("40 s", False), ("1 s", True), ("-1 s", True)):
        if left is not None:
            until = f"clock_timestamp() + interval '{left}'"
            await bench.sql.execute(f"UPDATE processes SET lease_until = {until}")
        await bench.leases.renew(OTHER, 60)
        assert await notifications() == [str(OTHER)] * tells, left
    await bench.leases.release(OTHER)
    await bench.leases.release(THIRD)
    assert await notifications() == [str(OTHER)]


async def test_dead_processes_without_workflows_are_deleted(bench: Bench) -> None:
    await bench.make(owner=OTHER)
    for owner, seconds in ((OTHER, -1), (THIRD, -1), (ME, 60)):
        await bench.lease(owner, seconds)
    assert len(await bench.claim()) == 1
    (handle,) = await bench.sql.fetch("SELECT id FROM workflows")
    assert await bench.workflow_store.claim(ME, [handle["id"]], bench.clock.now(), 10) == []
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
        await bench.leases.renew(ME, 60)
        assert not any(asyncio_task.done() for asyncio_task in waiting)
        await transaction.commit()
    assert {len(asyncio_task.result()) for asyncio_task in waiting} == {1}


async def test_a_fence_returns_nothing_if_another_process_claims_the_workflow_before_it_is_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await bench.make(owner=OTHER)
    await bench.lease(OTHER, -1)
    load = workflow_store_module._load
    claims = [bench.claim]

    async def late_load(connection: Any, ids: list[UUID]) -> list[LoadedWorkflow]:
        while claims:
            (claimed,) = await claims.pop()()
            assert claimed.state.id == handle.workflow_id
        return await load(connection, ids)

    monkeypatch.setattr(workflow_store_module, "_load", late_load)
    assert await bench.workflow_store.fence(THIRD, handle.workflow_id) is None
