"""Results that a later run takes over: which there are, who may take them, and what becomes of their files."""

from uuid import UUID, uuid4

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.tasks import Cost, Money, Output
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Cancel, Cleanup, Evaluated, FingerprintComputed, Pause, Succeeded
from stepwell.lifecycle.model import Reused, UnitKey
from stepwell.lifecycle.records import EarlierResult
from stepwell.ports.deletions import BEFORE_ALL_TASKS
from support.database.stored_workflows import ME, Stored, dispatched
from support.workflows.definitions import body, join

SCOPE = TenantScope("t")
FIRST = UUID(int=0)
A, B = UnitKey(0, None), UnitKey(1, None)


def output(task_id: UUID) -> Output:
    return Output(f"media/{task_id}/x.png", 3, "ff")


async def completed(stored: Stored) -> tuple[ActiveWorkflow, UUID]:
    """A PAUSED workflow whose first step is COMPLETED with a file, and the task of that step."""
    handle, task_id = await stored.make(body(join("a"), join("last", "a"))), uuid4()
    result = b'{"result_image_path":"%b"}' % output(task_id).path.encode()
    done = Succeeded(0, task_id, result, (output(task_id),), Cost(0.04, "USD", "provider"))
    await stored.write(handle, dispatched(0, task_id), FingerprintComputed(0, task_id, "f"), done)
    await stored.write(handle, Pause("alice"))
    return handle, task_id


async def cleaned(stored: Stored, handle: ActiveWorkflow) -> None:
    await stored.write(handle, Cleanup("alice", cleanup_tasks=True))


async def test_a_completed_result_with_a_fingerprint_may_be_taken_over(stored: Stored) -> None:
    handle, task_id = await completed(stored)
    store = stored.workflow_store
    (found,) = await store.earlier_results(SCOPE, handle.workflow_id)
    size = len(b'{"result_image_path":""}') + len(output(task_id).path)
    saved = Money(0.04, "USD")
    assert found == EarlierResult("a", size, Reused(handle.workflow_id, task_id, A, "f", saved, (output(task_id),)))
    assert await store.earlier_results(TenantScope("u"), handle.workflow_id) == []
    await cleaned(stored, handle)
    assert await store.earlier_results(SCOPE, handle.workflow_id) == []


async def test_the_items_of_a_step_are_results_of_their_own(stored: Stored) -> None:
    definition = body(join("a", for_each={"count": 2}))
    handle, tasks = await stored.make(definition), [uuid4(), uuid4()]
    await stored.write(handle, Evaluated(0, 1, items=(b"0", b"1")))
    positions = sorted(handle.run.items.groups[0].taken) if handle.run.items is not None else []
    for position, task_id in zip(positions, tasks, strict=True):
        computed = FingerprintComputed(position, task_id, f"of {position}")
        await stored.write(handle, dispatched(position, task_id), computed, Succeeded(position, task_id, b"{}"))
    found = await stored.workflow_store.earlier_results(SCOPE, handle.workflow_id)
    assert [(each.key, each.reused.task_id) for each in found] == [(UnitKey(0, 0), tasks[0]), (UnitKey(0, 1), tasks[1])]
    taken = await stored.workflow_store.take_results(SCOPE, handle.workflow_id, [UnitKey(0, 1)], uuid4())
    assert taken == {UnitKey(0, 1): b"{}"}


async def test_a_run_needs_the_files_that_it_takes_until_it_is_deleted(stored: Stored) -> None:
    handle, task_id = await completed(stored)
    later = await stored.make(body(join("a")))
    store, cleanups, purges = stored.workflow_store, stored.here.cleanups, stored.here.purges
    assert await store.take_results(TenantScope("u"), handle.workflow_id, [A], later.workflow_id) == {}
    assert await purges.losers(handle.workflow_id) == []
    assert list(await store.take_results(SCOPE, handle.workflow_id, [A, B], later.workflow_id)) == [A]
    assert await purges.losers(handle.workflow_id) == [later.workflow_id]
    await cleaned(stored, handle)
    (task,) = await cleanups.next_tasks(ME, handle.workflow_id, BEFORE_ALL_TASKS, 10)
    assert task.referenced_by == later.workflow_id
    await cleanups.settle(ME, handle.workflow_id, [], 0, 0, [task_id])
    assert await purges.removals([handle.workflow_id], FIRST, 10) == []
    await stored.write(later, Cancel("alice"))
    await cleaned(stored, later)
    assert [each.task_id for each in await purges.removals([later.workflow_id], FIRST, 10)] == [task_id]
    await purges.end_removals([task_id])
    assert await cleanups.next_tasks(ME, handle.workflow_id, BEFORE_ALL_TASKS, 10) == []


async def test_a_deleted_run_gives_nothing_any_more(stored: Stored) -> None:
    handle, _ = await completed(stored)
    await cleaned(stored, handle)
    assert await stored.workflow_store.take_results(SCOPE, handle.workflow_id, [A], uuid4()) == {}


async def test_a_requested_purge_takes_files_from_those_who_have_only_reused_them(stored: Stored) -> None:
    handle, task_id = await completed(stored)
    later = await stored.make(body(join("a")))
    await stored.workflow_store.take_results(SCOPE, handle.workflow_id, [A], later.workflow_id)
    named = await stored.make(body(join("a", config={"of": output(task_id).path})))
    await stored.write(handle, Cleanup("alice", cleanup_tasks=False))
    purges, ids = stored.here.purges, [handle.workflow_id]
    assert await purges.losers(handle.workflow_id) == [], "a definition names the file, so it stays"
    await purges.request(ME, handle.workflow_id, "alice")
    await purges.delete_rows(ME, ids, 100)
    assert await purges.removals(ids, FIRST, 10) == []
    await stored.write(named, Cancel("alice"))
    await stored.write(named, Cleanup("alice", cleanup_tasks=False))
    assert [each.task_id for each in await purges.removals(ids, FIRST, 10)] == [task_id]


async def test_a_run_that_has_ended_without_taking_a_result_loses_nothing(stored: Stored) -> None:
    handle, _ = await completed(stored)
    later, purges = await stored.make(body(join("a"))), stored.here.purges
    await stored.workflow_store.take_results(SCOPE, handle.workflow_id, [A], later.workflow_id)
    assert await purges.losers(handle.workflow_id) == [later.workflow_id], "it may still take the result"
    await stored.write(later, Cancel("alice"))
    assert await purges.losers(handle.workflow_id) == []
