"""Purges in the database: the row of the workflow goes first, and the retention takes only what has ended."""

from datetime import timedelta
from uuid import UUID, uuid4

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import CancelReceipt
from stepwell.contract.tasks import Output
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.cleanup_records import FileRemoval, PurgedRows
from stepwell.lifecycle.inputs import Cancel, Cleanup, FollowUpEnded, Sending, Succeeded
from stepwell.lifecycle.model import Sent
from support.database.stored_workflows import ME, OTHER, Stored, dispatched, renamed
from support.database.sub_workflows import make_child
from support.workflows.definitions import body, join

FIRST = UUID(int=0)


async def ended(stored: Stored, *, named: UUID | None = None, tenant: str = "t") -> tuple[ActiveWorkflow, UUID]:
    """Return a CANCELLED workflow, and its task with one file. The workflow names the files of the task *named*."""
    config = {} if named is None else {"of": f"media/{named}/x"}
    handle, task_id = await stored.make(body(join("a", config=config), join("last")), tenant=tenant), uuid4()
    output = Output(f"media/{task_id}/x", 3, "ff")
    await stored.write(handle, dispatched(0, task_id), Succeeded(0, task_id, b"{}", (output,)))
    await stored.write(handle, Cancel("alice"))
    return handle, task_id


async def deleted(stored: Stored, *, named: UUID | None = None, tenant: str = "t") -> tuple[ActiveWorkflow, UUID]:
    handle, task_id = await ended(stored, named=named, tenant=tenant)
    await stored.write(handle, Cleanup("alice", cleanup_tasks=False))
    return handle, task_id


async def test_only_a_deleted_workflow_is_purged_by_its_owner(stored: Stored) -> None:
    handle, task_id = await ended(stored)
    purges, ids = stored.here.purges, [handle.workflow_id]
    assert await purges.request(ME, handle.workflow_id, "alice") is None
    await stored.write(handle, Cleanup("alice", cleanup_tasks=False))
    assert await purges.request(ME, handle.workflow_id, "alice") == ME
    assert await purges.delete_rows(OTHER, ids, 100) == PurgedRows()
    assert await stored.here.reader.get(EVERY_TENANT, handle.workflow_id) is not None
    assert (await purges.delete_rows(ME, ids, 100)).workflow_ids == {handle.workflow_id}
    assert await stored.here.reader.get(EVERY_TENANT, handle.workflow_id) is None
    assert await stored.here.reader.task(EVERY_TENANT, task_id) is None
    assert await purges.request(ME, handle.workflow_id, "bob") == ME, "its file is left"
    assert await purges.removals(ids, FIRST, 10) == [FileRemoval(task_id, handle.workflow_id, (f"media/{task_id}/x",))]
    assert await purges.removals(ids, task_id, 10) == []
    assert await stored.here.reader.stored_outputs(EVERY_TENANT, [task_id]) == {f"media/{task_id}/x"}
    await purges.end_removals([task_id])
    assert await purges.removals(ids, FIRST, 10) == []
    await purges.end(OTHER, ids)
    assert await purges.request(ME, handle.workflow_id, "bob") == ME
    await purges.end(ME, ids)
    assert await purges.request(ME, handle.workflow_id, "bob") is None


async def test_another_tenant_doesnt_learn_the_files_that_a_purge_has_yet_to_remove(stored: Stored) -> None:
    handle, task_id = await deleted(stored)
    purges, store = stored.here.purges, stored.here.reader
    await purges.request(ME, handle.workflow_id, "alice")
    await purges.delete_rows(ME, [handle.workflow_id], 100)
    assert await store.stored_outputs(TenantScope("t"), [task_id]) == {f"media/{task_id}/x"}
    for other in ("u", "", None):
        assert await store.stored_outputs(TenantScope(other), [task_id]) == set()


async def test_a_cleanup_becomes_a_purge_and_doesnt_end_as_a_cleanup(stored: Stored) -> None:
    handle, _ = await ended(stored)
    await stored.write(handle, Cleanup("alice", cleanup_tasks=True))
    assert await stored.here.purges.request(ME, handle.workflow_id, "alice") == ME
    due, _ = await stored.here.cleanups.due(ME, [], 10)
    assert [(each.workflow_id, each.purge) for each in due] == [(handle.workflow_id, True)]
    assert await stored.here.cleanups.counts(ME, handle.workflow_id) is None
    await stored.here.cleanups.end(ME, handle.workflow_id)
    due, _ = await stored.here.cleanups.due(ME, [], 10)
    assert [each.workflow_id for each in due] == [handle.workflow_id]


async def test_a_file_that_an_undeleted_workflow_names_is_a_removal_once_that_is_deleted(stored: Stored) -> None:
    handle, task_id = await deleted(stored)
    reader, _ = await ended(stored, named=task_id)
    purges, store = stored.here.purges, stored.here.reader
    await purges.request(ME, handle.workflow_id, "alice")
    await purges.delete_rows(ME, [handle.workflow_id], 100)
    assert await purges.removals([handle.workflow_id, reader.workflow_id], FIRST, 10) == []
    await purges.end(ME, [handle.workflow_id])
    tenant, outputs = await store.needed_outputs(EVERY_TENANT, task_id)
    assert (tenant, [output.path for output in outputs]) == ("t", [f"media/{task_id}/x"])
    assert await store.needed_outputs(TenantScope("u"), task_id) == (None, ())
    await stored.write(reader, Cleanup("alice", cleanup_tasks=False))
    assert await store.needed_outputs(EVERY_TENANT, task_id) == (None, ())
    assert [each.task_id for each in await purges.removals([reader.workflow_id], FIRST, 10)] == [task_id]
    await purges.request(ME, reader.workflow_id, "alice")
    await purges.delete_rows(ME, [reader.workflow_id], 100)
    assert task_id in [each.task_id for each in await purges.removals([reader.workflow_id], FIRST, 10)]


async def test_a_file_stays_while_a_workflow_of_the_tenant_with_an_empty_name_names_it(stored: Stored) -> None:
    handle, task_id = await deleted(stored, tenant="")
    await ended(stored, named=task_id, tenant="")
    purges = stored.here.purges
    await purges.request(ME, handle.workflow_id, "alice")
    await purges.delete_rows(ME, [handle.workflow_id], 100)
    assert await purges.removals([handle.workflow_id], FIRST, 10) == []


async def test_the_retention_deletes_what_ended_before_and_no_more(stored: Stored) -> None:
    first, _ = await ended(stored)
    second, _ = await ended(stored)
    running = await stored.make()
    pending = await stored.make(owner=None)
    purges = stored.here.purges
    nothing = await purges.expire(ME, 3600, 10, 1000)
    assert (nothing.count, nothing.busy, nothing.is_behind) == (0, False, False)
    assert nothing.next_s is not None
    assert 3500 < nothing.next_s <= 3600
    batch = await purges.expire(ME, 0, 1, 1000)
    assert (batch.count, batch.with_files) == (1, True)
    assert await stored.here.reader.get(EVERY_TENANT, first.workflow_id) is None
    assert (await purges.expire(ME, 0, 10, 1000)).busy, "the files of the first are left"
    await purges.end(ME, [first.workflow_id])
    assert (await purges.expire(ME, 0, 10, 1000)).count == 1
    assert await stored.here.reader.get(EVERY_TENANT, second.workflow_id) is None
    await purges.end(ME, [second.workflow_id])
    last = await purges.expire(ME, 0, 10, 1000)
    assert (last.count, last.with_files, last.next_s) == (0, False, None)
    for each in (running, pending):
        assert await stored.here.reader.get(EVERY_TENANT, each.workflow_id) is not None


async def test_the_retention_leaves_what_has_work_left(stored: Stored) -> None:
    cleaning, _ = await ended(stored)
    await stored.write(cleaning, Cleanup("alice", cleanup_tasks=True))
    notifying = await stored.make(webhook_url="https://example.com/hook")
    await stored.write(notifying, Cancel("alice"))
    batch = await stored.here.purges.expire(ME, 0, 10, 1000)
    assert (batch.count, batch.busy, batch.is_behind) == (0, False, True)


async def test_a_batch_of_the_retention_ends_after_so_many_steps(stored: Stored) -> None:
    for _ in range(3):
        await ended(stored)
    assert (await stored.here.purges.expire(ME, 0, 10, 3)).count == 2


async def test_a_failed_purge_doesnt_hold_up_the_retention(stored: Stored) -> None:
    handles = [(await ended(stored))[0] for _ in range(2)]
    purges = stored.here.purges
    assert (await purges.expire(ME, 0, 1, 1000)).count == 1
    await stored.here.cleanups.postpone(ME, handles[0].workflow_id, timedelta(hours=1).total_seconds())
    assert (await purges.expire(ME, 0, 1, 1000)).count == 1


async def family(stored: Stored, depth: int = 3) -> list[ActiveWorkflow]:
    """A root, a sub-workflow of it, one of that, and so on. All have ended, those below first."""
    made = [await stored.make()]
    for _ in range(depth - 1):
        root, above = made[0], made[-1]
        link = ParentLink(above.workflow_id, "a", None, root.workflow_id, len(made))
        made.append(await make_child(stored, above, link=link))
    for each in reversed(made):
        await stored.write(each, Cancel("alice"))
    return made


async def expired(stored: Stored, seconds: float = 0.0) -> tuple[int, bool]:
    batch = await stored.here.purges.expire(ME, seconds, 10, 1_000)
    return batch.count, batch.is_behind


async def test_a_purge_takes_the_sub_workflows_that_have_ended(stored: Stored) -> None:
    root, child, grandchild = await family(stored)
    other = await make_child(stored, await stored.make())
    await stored.write(root, Cleanup("alice", cleanup_tasks=False))
    purges, ids = stored.here.purges, [each.workflow_id for each in (root, child, grandchild)]
    assert await purges.request(ME, root.workflow_id, "alice") == ME
    due, _ = await stored.here.cleanups.due(ME, [], 10)
    assert {each.workflow_id for each in due} == set(ids)
    assert (await purges.delete_rows(ME, [*ids, other.workflow_id], 100)).workflow_ids == set(ids)
    assert await stored.here.reader.get(EVERY_TENANT, other.workflow_id) is not None


async def test_a_purge_takes_a_sub_workflow_that_a_verb_has_loaded(stored: Stored) -> None:
    """The verb would store it as it was, without its deletion."""
    root, child, grandchild = await family(stored)
    await stored.write(root, Cleanup("alice", cleanup_tasks=False))
    late = stored.decide(child, renamed())
    assert await stored.here.purges.request(ME, root.workflow_id, "alice") == ME
    assert await stored.workflow_store.write([late]) == {child.workflow_id}
    ids = {each.workflow_id for each in (root, child, grandchild)}
    assert (await stored.here.purges.delete_rows(ME, ids, 100)).workflow_ids == ids


async def test_a_workflow_is_followed_up_while_one_of_its_sub_workflows_is(stored: Stored) -> None:
    root, task_id = await stored.make(), uuid4()
    child = await make_child(stored, root)
    link = ParentLink(child.workflow_id, "a", None, root.workflow_id, 2)
    grandchild = await make_child(stored, child, link=link)
    followed_up = stored.here.purges.is_followed_up
    sending = Sending(0, task_id, Sent("flux", "aa", stored.clock.now()))
    await stored.write(grandchild, dispatched(0, task_id), sending, Cancel("alice"))
    assert [await followed_up(each.workflow_id) for each in (root, child, grandchild)] == [True] * 3
    await stored.write(grandchild, FollowUpEnded(0, task_id, CancelReceipt.NEVER_STARTED))
    assert [await followed_up(each.workflow_id) for each in (root, child, grandchild)] == [False] * 3


async def test_the_retention_takes_a_family_once_its_root_is_due(stored: Stored) -> None:
    root, child, grandchild = await family(stored)
    assert await expired(stored, 3_600) == (0, False)
    assert [await expired(stored) for _ in range(3)] == [(1, True)] * 3
    assert await expired(stored) == (0, False)
    reader = stored.here.reader
    assert [await reader.get(EVERY_TENANT, each.workflow_id) for each in (root, child, grandchild)] == [None] * 3


async def test_the_retention_leaves_the_sub_workflows_of_a_root_that_has_not_ended(stored: Stored) -> None:
    root = await stored.make()
    child = await make_child(stored, root)
    await stored.write(child, Cancel("alice"))
    assert await expired(stored) == (0, False)
    await stored.write(root, Cancel("alice"))
    assert [await expired(stored) for _ in range(3)] == [(1, True), (1, True), (0, False)]
