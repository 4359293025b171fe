"""Cleanups in the database: they begin and end with events, have one owner, and are due lane by lane."""

from uuid import UUID, uuid4

from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.tasks import Output
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.cleanup_records import CleanupCounts
from stepwell.lifecycle.inputs import Cancel, Cleanup, FilesDeleted, Succeeded
from stepwell.ports.deletions import BEFORE_ALL_TASKS
from stepwell.rules.list_records import TaskCursor
from support.database.stored_workflows import ME, OTHER, Stored, dispatched
from support.database.sub_workflows import make_child
from support.workflows.definitions import body, join


async def cleaned(stored: Stored, *, tenant: str | None = "t", files: int = 1) -> tuple[ActiveWorkflow, list[UUID]]:
    """Return a workflow whose cleanup has begun, and the tasks with its files."""
    handle = await stored.make(body(*(join(str(n)) for n in range(files)), join("last")), tenant=tenant)
    tasks = [uuid4() for _ in range(files)]
    for position, task_id in enumerate(tasks):
        output = Output(f"media/{task_id}/x", 3, "ff")
        await stored.write(handle, dispatched(position, task_id), Succeeded(position, task_id, b"{}", (output,)))
    await stored.write(handle, Cancel("alice"))
    await stored.write(handle, Cleanup("alice", cleanup_tasks=True))
    return handle, tasks


async def due(stored: Stored, owner: UUID = ME, per_lane: int = 10) -> list[UUID]:
    found, _ = await stored.here.cleanups.due(owner, [], per_lane)
    return [each.workflow_id for each in found]


async def test_a_cleanup_begins_with_its_event_and_ends_with_the_last_one(stored: Stored) -> None:
    handle, _ = await cleaned(stored)
    assert await due(stored) == [handle.workflow_id]
    assert await stored.here.cleanups.due(ME, [handle.workflow_id], 10) == ([], None)
    await stored.write(handle, FilesDeleted(1, 0, 0))
    assert await due(stored) == []
    assert await stored.here.cleanups.counts(ME, handle.workflow_id) is None


async def test_without_cleanup_tasks_none_begins_until_it_is_requested(stored: Stored) -> None:
    handle = await stored.make(owner=None)
    assert await stored.here.cleanups.request(ME, handle.workflow_id) is None, "it isn't deleted"
    await stored.write(handle, Cleanup("alice", cleanup_tasks=False))
    assert await due(stored) == []
    assert await stored.here.cleanups.request(ME, handle.workflow_id) == ME
    assert await due(stored) == [handle.workflow_id]


async def test_a_request_after_the_end_begins_one_only_if_tasks_are_left(stored: Stored) -> None:
    handle, tasks = await cleaned(stored)
    cleanups = stored.here.cleanups
    await stored.write(handle, FilesDeleted(0, 0, 1))
    assert await cleanups.request(ME, handle.workflow_id) == ME
    assert await cleanups.counts(ME, handle.workflow_id) == CleanupCounts(0, 0, repeated=True)
    await cleanups.settle(ME, handle.workflow_id, tasks, 1, 0)
    await cleanups.end(ME, handle.workflow_id)
    assert await cleanups.request(ME, handle.workflow_id) is None


async def test_tasks_come_in_order_and_are_known_as_begun_from_the_second_time_on(stored: Stored) -> None:
    handle, tasks = await cleaned(stored, files=3)
    cleanups = stored.here.cleanups

    async def next_tasks(after: tuple[int, int], limit: int, owner: UUID = ME) -> list[tuple[UUID, bool]]:
        found = await cleanups.next_tasks(owner, handle.workflow_id, TaskCursor(*after), limit)
        return [(each.record.task.id, each.begun) for each in found]

    assert await next_tasks(BEFORE_ALL_TASKS, 10, OTHER) == []
    assert await next_tasks(BEFORE_ALL_TASKS, 2) == [(tasks[0], False), (tasks[1], False)]
    assert await next_tasks((1, 1), 2) == [(tasks[2], False)]
    assert await next_tasks((2, 1), 2) == []
    assert await next_tasks((0, 1), 1) == [(tasks[1], True)]
    await cleanups.settle(OTHER, handle.workflow_id, tasks[:1], 1, 0)
    await cleanups.settle(ME, handle.workflow_id, tasks[1:], 1, 1)
    assert await next_tasks(BEFORE_ALL_TASKS, 10) == [(tasks[0], True)]
    assert await cleanups.counts(ME, handle.workflow_id) == CleanupCounts(1, 1, repeated=False)
    assert await cleanups.counts(OTHER, handle.workflow_id) is None


async def test_files_that_another_workflow_of_the_tenant_names_are_known(stored: Stored) -> None:
    handle, (task_id,) = await cleaned(stored)
    named = join("a", config={"of": f"media/{task_id}/x"})
    await stored.make(body(named), tenant="u")
    reader = await stored.make(body(named), owner=None)

    async def readers() -> list[UUID | None]:
        tasks = await stored.here.cleanups.next_tasks(ME, handle.workflow_id, BEFORE_ALL_TASKS, 10)
        return [each.referenced_by for each in tasks]

    assert await readers() == [reader.workflow_id]
    await stored.write(reader, Cleanup("alice", cleanup_tasks=False))
    assert await readers() == [None]


async def test_each_lane_gets_its_share_of_what_is_due(stored: Stored) -> None:
    many = [(await cleaned(stored))[0].workflow_id for _ in range(4)]
    one = (await cleaned(stored, tenant=None))[0].workflow_id
    found, later = await stored.here.cleanups.due(ME, [], 2)
    assert sorted(each.lane for each in found) == ["", "t", "t"]
    assert ({one} | set(many[:2]), later) == ({each.workflow_id for each in found}, None)


async def test_a_postponed_cleanup_is_due_later(stored: Stored) -> None:
    handle, _ = await cleaned(stored)
    await stored.here.cleanups.postpone(OTHER, handle.workflow_id, 60)
    assert await due(stored) == [handle.workflow_id]
    await stored.here.cleanups.postpone(ME, handle.workflow_id, 60)
    found, later = await stored.here.cleanups.due(ME, [], 10)
    assert found == []
    assert later is not None
    assert 50 < later <= 60
    assert await stored.here.cleanups.request(ME, handle.workflow_id) == ME
    found, _ = await stored.here.cleanups.due(ME, [], 10)
    assert [(each.workflow_id, each.tries) for each in found] == [(handle.workflow_id, 1)]


async def test_the_cleanups_of_a_dead_process_are_taken_over(stored: Stored) -> None:
    first, _ = await cleaned(stored)
    second, _ = await cleaned(stored)
    await stored.leases.renew(ME, 60)
    assert await stored.here.cleanups.take_over(OTHER) is None
    assert await stored.here.cleanups.request(OTHER, first.workflow_id) == ME
    await stored.here.cleanups.postpone(ME, second.workflow_id, 60)
    await stored.leases.release(ME)
    assert await stored.leases.next_expiry(OTHER) == 0
    assert await stored.here.cleanups.take_over(OTHER) == 0
    assert await due(stored) == []
    assert await due(stored, OTHER) == [first.workflow_id]
    assert await stored.here.cleanups.counts(OTHER, second.workflow_id) == CleanupCounts(0, 0, repeated=False)


async def test_the_sub_workflows_that_are_not_deleted_are_read(stored: Stored) -> None:
    parent = await stored.make()
    first, second, third = [await make_child(stored, parent) for _ in range(3)]
    await make_child(stored, first)
    for each in (second, third):
        await stored.write(each, Cancel("alice"))
    await stored.write(third, Cleanup("alice", cleanup_tasks=True))
    statuses = {first.workflow_id: WorkflowStatus.RUNNING, second.workflow_id: WorkflowStatus.CANCELLED}
    cleanups = stored.here.cleanups
    assert await cleanups.children(parent.workflow_id, 9) == statuses
    assert len(await cleanups.children(parent.workflow_id, 1)) == 1
    assert await cleanups.children(second.workflow_id, 9) == {}
