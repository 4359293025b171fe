"""Workflows that only a newer version understands: this version leaves them, and what belongs to them, to others."""

from datetime import timedelta
from uuid import uuid4

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.lifecycle.inputs import Cancel, Cleanup
from stepwell.lifecycle.records import AdmissionResult
from support.database.stored_workflows import ME, OTHER, Stored, dispatched

NEWER = FEATURE_LEVEL + 1


async def test_what_a_dead_process_of_a_newer_version_leaves_is_not_claimed(stored: Stored) -> None:
    newer = await stored.make(owner=OTHER, feature_level=NEWER)
    await stored.write(newer, dispatched())
    own = await stored.make(owner=OTHER, feature_level=FEATURE_LEVEL)
    assert [each.state.id for each in await stored.claim()] == [own.workflow_id]


async def test_what_a_dead_process_of_a_newer_version_leaves_is_not_made_to_wait(stored: Stored) -> None:
    await stored.make(owner=OTHER, feature_level=NEWER)
    await stored.make(owner=OTHER)
    now = stored.clock.now() + timedelta(seconds=1)
    assert await stored.workflow_store.release_idle(ME, [], now, 100) == 1


async def test_a_waiting_workflow_of_a_newer_version_is_neither_counted_nor_admitted(stored: Stored) -> None:
    await stored.make_waiting(feature_level=NEWER)
    assert await stored.workflow_store.waiting() == []
    assert await stored.workflow_store.admit(ME, {"t": 10}, []) == AdmissionResult([], {})
    own = await stored.make_waiting()
    assert [(each.tenant, each.number) for each in await stored.workflow_store.waiting()] == [("t", 1)]
    result = await stored.workflow_store.admit(ME, {"t": 10}, [])
    assert [each.state.id for each in result.loaded] == [own.workflow_id]


async def test_a_workflow_of_a_newer_version_is_read_with_its_level(stored: Stored) -> None:
    newer = await stored.make(owner=None, feature_level=NEWER)
    loaded = await stored.workflow_store.load(EVERY_TENANT, newer.workflow_id)
    assert loaded is not None
    assert (loaded.feature_level, loaded.is_understood) == (NEWER, False)
    assert await stored.here.reader.get(EVERY_TENANT, newer.workflow_id) is not None


async def test_cleanups_and_webhooks_of_a_newer_version_are_not_taken_over(stored: Stored) -> None:
    handles = [
        await stored.make(webhook_url="https://example.com/", feature_level=level) for level in (NEWER, FEATURE_LEVEL)
    ]
    for handle in handles:
        await stored.write(handle, Cancel("alice"))
        await stored.write(handle, Cleanup("alice", cleanup_tasks=True))
    there = await stored.process(OTHER)
    await there.cleanups.take_over(OTHER)
    due, _ = await there.cleanups.due(OTHER, [], 10)
    assert [each.workflow_id for each in due] == [handles[1].workflow_id]
    lanes = await there.outbox.take_over(OTHER)
    assert {each.workflow_id for each in await there.outbox.due(OTHER, list(lanes), 10)} == {handles[1].workflow_id}


async def test_the_retention_leaves_workflows_of_a_newer_version(stored: Stored) -> None:
    handle = await stored.make(feature_level=NEWER)
    await stored.write(handle, dispatched(0, uuid4()), Cancel("alice"))
    assert (await stored.here.purges.expire(ME, 0, 10, 1000)).count == 0
    assert await stored.here.reader.get(EVERY_TENANT, handle.workflow_id) is not None
