"""A decision lands on exactly the version that it was made from, and with all of its rows."""

from uuid import uuid4

import pytest

from stepwell.basics.errors import Forbidden
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Start
from stepwell.lifecycle.records import WHOLE, NewWorkflow, WorkflowRecord
from support.database.stored_workflows import CHAIN, ME, OTHER, Stored, dispatched, renamed
from support.workflows.definitions import body, join


async def numbers(stored: Stored, handle: ActiveWorkflow) -> list[int]:
    events = await stored.here.reader.events(EVERY_TENANT, handle.workflow_id, 0, 100)
    return [event.id for event in events or ()]


async def tasks(stored: Stored, handle: ActiveWorkflow) -> int:
    return len(await stored.here.reader.tasks(EVERY_TENANT, handle.workflow_id, include_deleted=True) or ())


async def test_a_decision_lands_whole(stored: Stored) -> None:
    handle = await stored.make()
    assert await stored.workflow_store.write([stored.decide(handle, dispatched())]) == set()
    assert await numbers(stored, handle) == [1, 2, 3]
    assert await tasks(stored, handle) == 1
    record = await stored.here.reader.find(EVERY_TENANT, handle.workflow_id, WHOLE)
    assert isinstance(record, WorkflowRecord)
    assert record.state == handle.run.state
    assert (record.steps or [])[0].state == handle.run.steps[0]


async def test_after_another_owners_claim_a_decision_writes_nothing_and_the_rest_of_its_batch_lands(
    stored: Stored,
) -> None:
    theirs = await stored.make(owner=OTHER)
    mine = await stored.make()
    assert [one.state.id for one in await stored.claim(ME, (mine,))] == [theirs.workflow_id]
    batch = [stored.decide(theirs, dispatched()), stored.decide(mine, dispatched())]
    assert await stored.workflow_store.write(batch) == {theirs.workflow_id}
    assert (await numbers(stored, theirs), await tasks(stored, theirs)) == ([1, 2], 0)
    assert (await numbers(stored, mine), await tasks(stored, mine)) == ([1, 2, 3], 1)


async def test_a_claim_of_ones_own_fences_the_former_epoch(stored: Stored) -> None:
    handle = await stored.make()
    (claimed,) = await stored.claim()
    assert claimed.state.epoch == handle.run.state.epoch + 1
    assert await stored.workflow_store.write([stored.decide(handle, renamed())]) == {handle.workflow_id}
    assert await stored.workflow_store.write([stored.decide(ActiveWorkflow(claimed), renamed())]) == set()


async def test_a_decision_that_was_made_from_an_older_version_does_not_land(stored: Stored) -> None:
    handle = await stored.make()
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    await stored.write(handle, renamed("first"))
    assert await stored.workflow_store.write([stored.decide(ActiveWorkflow(loaded), renamed("second"))]) == {
        handle.workflow_id
    }
    record = await stored.here.reader.get(EVERY_TENANT, handle.workflow_id)
    assert record is not None
    assert (record.state.name, await numbers(stored, handle)) == ("first", [1, 2, 3])


async def test_a_decision_that_was_written_before_counts_as_committed_and_is_written_once(stored: Stored) -> None:
    one, two = await stored.make(), await stored.make()
    batch = [stored.decide(one, dispatched()), stored.decide(two, renamed())]
    assert await stored.workflow_store.write(batch[:1]) == set()
    assert await stored.workflow_store.write(batch) == set()
    assert (await numbers(stored, one), await tasks(stored, one)) == ([1, 2, 3], 1)
    assert await numbers(stored, two) == [1, 2, 3]


async def test_a_decision_that_was_written_is_lost_once_another_has_taken_over(stored: Stored) -> None:
    handle = await stored.make()
    decision = stored.decide(handle, dispatched())
    assert await stored.workflow_store.write([decision]) == set()
    assert len(await stored.claim(OTHER)) == 1
    assert await stored.workflow_store.write([decision]) == {handle.workflow_id}


async def test_of_two_that_start_an_unowned_workflow_one_lands(stored: Stored) -> None:
    handle = await stored.make(owner=None)
    loaded = [await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id) for _ in range(2)]
    first, second = (
        stored.decide(ActiveWorkflow(one), Start("alice", uuid4(), owner))
        for one, owner in zip(loaded, (ME, OTHER), strict=True)
        if one is not None
    )
    assert await stored.workflow_store.write([first]) == set()
    assert await stored.workflow_store.write([second]) == {handle.workflow_id}
    assert await numbers(stored, handle) == [1, 2]


async def test_an_update_of_an_unowned_workflow_is_not_taken_for_another_ones(stored: Stored) -> None:
    handle = await stored.make(owner=None)
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    assert await stored.workflow_store.write([stored.decide(ActiveWorkflow(loaded), renamed("theirs"))]) == set()
    assert await stored.workflow_store.write([stored.decide(handle, renamed("mine"))]) == {handle.workflow_id}


async def test_a_workflow_that_is_not_stored_is_lost(stored: Stored) -> None:
    handle, _ = stored.draft(CHAIN, "t", ME)
    assert await stored.workflow_store.write([stored.decide(handle, renamed())]) == {handle.workflow_id}
    assert await stored.here.reader.get(EVERY_TENANT, handle.workflow_id) is None


async def test_an_insert_is_all_or_nothing(stored: Stored) -> None:
    handle, new = stored.draft(body(join("a")), "t", ME)
    broken = NewWorkflow(new.record, new.final_position, 0, (*new.events, new.events[0]))
    with pytest.raises(Exception, match=r"unique|numbers"):
        await stored.workflow_store.insert(EVERY_TENANT, broken)
    assert await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id) is None
    await stored.workflow_store.insert(EVERY_TENANT, new)
    assert await numbers(stored, handle) == [1, 2]


async def test_an_insert_keeps_to_the_scope(stored: Stored) -> None:
    handle, new = stored.draft(CHAIN, "t", ME)
    with pytest.raises(Forbidden):
        await stored.workflow_store.insert(TenantScope("u"), new)
    with pytest.raises(Forbidden):
        await stored.workflow_store.insert(TenantScope(), new)
    assert await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id) is None
    await stored.workflow_store.insert(TenantScope("t"), new)
    assert await stored.workflow_store.load(TenantScope("t"), handle.workflow_id) is not None
