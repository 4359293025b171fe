"""Items of steps with `for_each`: what is loaded is what was written, and each item is written once.

What must hold:
- A decision is written by one statement with the fence, its items too (F1).
- A run that is rebuilt from its rows continues as the run that was not interrupted (F2).
- The items of a step are stored once, values too (F3).
- Results of items count as results of the workflow (F8).
"""

from uuid import uuid4

from msgspec import convert, json, structs

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.definition import ForEach
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Cancel, Cleanup, Pause, RetryDue, RunVerdict
from stepwell.lifecycle.model import ItemKey, Task
from stepwell.lifecycle.records import WHOLE, WorkflowRecord
from stepwell.ports.deletions import BEFORE_ALL_TASKS
from stepwell.rules.list_records import TaskCursor, TaskFilter
from support.database.stored_items import ItemWorkflow, make_before_items, make_with_items
from support.database.stored_workflows import ME, OTHER, Stored, renamed
from support.workflows.definitions import body, join

COMPLETED, FAILED, PENDING, RUNNING = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.PENDING, StepStatus.RUNNING


async def test_items_are_loaded_as_they_were_written(stored: Stored) -> None:
    workflow = await make_with_items(stored, [{"a": 1.0}, None, "ü"], collect=True)
    await workflow.complete(0, {"f": 1})
    await workflow.write(workflow.dispatch(1))
    loaded = await workflow.load()
    assert [(item.item_key, item.value, item.status) for item in loaded.items] == [
        (ItemKey(0, 0), b'{"a":1.0}', COMPLETED),
        (ItemKey(0, 1), b"null", RUNNING),
        (ItemKey(0, 2), '"ü"'.encode(), PENDING),
    ]
    assert [item.result for item in loaded.items] == [None] * 3
    assert loaded.result_bytes == len(b'{"f":1}')
    flow = loaded.steps[0].state.flow
    assert flow is not None
    assert (loaded.steps[0].state.status, flow.items) == (RUNNING, 3)
    (task,) = loaded.open_tasks
    assert (task.id, task.attempt, task.item_key) == (workflow.open_task(1).id, 1, ItemKey(0, 1))


async def test_a_run_that_is_loaded_equals_the_one_that_was_not_interrupted(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1, 2, 3, 4], collect=True)
    await workflow.complete(0, {"f": 1})
    await workflow.write(workflow.dispatch(2))
    await workflow.write(workflow.dispatch(3))
    await workflow.write(workflow.fail(3, "no"))
    run, loaded = workflow.handle.run, ActiveWorkflow(await workflow.load()).run
    assert loaded.units == run.units
    assert loaded.open_tasks() == run.open_tasks()
    assert loaded.output_budget.result_bytes == run.output_budget.result_bytes


async def test_new_items_and_their_first_attempts_are_one_transaction(stored: Stored) -> None:
    workflow = await make_before_items(stored)
    decision = workflow.decide(workflow.evaluated(["x", "y"]))
    decision.merge(workflow.decide(workflow.dispatch(0)))
    decision.merge(workflow.decide(workflow.succeed(0, {"f": 1})))
    decision.merge(workflow.decide(workflow.dispatch(1)))
    assert await stored.workflow_store.write([decision]) == set()
    loaded = await workflow.load()
    assert [(item.value, item.status, item.attempt) for item in loaded.items] == [
        (b'"x"', COMPLETED, 1),
        (b'"y"', RUNNING, 1),
    ]
    assert [task.item_key for task in loaded.open_tasks] == [ItemKey(0, 1)]


async def test_items_of_a_process_that_has_lost_the_workflow_are_not_written(stored: Stored) -> None:
    workflow, other = await make_before_items(stored), await stored.make()
    lost = workflow.decide(workflow.evaluated([1]))
    handle = ActiveWorkflow(await workflow.load())
    await stored.write(handle, renamed())
    kept = stored.decide(other, renamed())
    assert await stored.workflow_store.write([lost, kept]) == {workflow.workflow_id}
    assert (await workflow.load()).items == []


async def test_an_ordinary_workflow_has_no_items(stored: Stored) -> None:
    handle = await stored.make()
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    assert loaded.items == []


async def test_claims_load_items(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1, 2])
    await workflow.write(workflow.dispatch(1))
    await stored.leases.renew(OTHER, 60.0)
    (claimed,) = await stored.claim(OTHER)
    assert [item.status for item in claimed.items] == [PENDING, RUNNING]
    assert [task.item_key for task in claimed.open_tasks] == [ItemKey(0, 1)]


async def all_tasks(stored: Stored, workflow: ItemWorkflow) -> list[Task]:
    found = await stored.here.reader.tasks(EVERY_TENANT, workflow.workflow_id, include_deleted=True)
    return [each.task for each in found or ()]


def task_of(tasks: list[Task], item: int) -> Task:
    return next(task for task in tasks if task.item_key == ItemKey(0, item))


async def test_each_item_counts_its_own_attempts(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1, 2], collect=True)
    for item in (1, 0):
        await workflow.write(workflow.dispatch(item))
    failure = structs.replace(workflow.fail(1), retryable=True, jitter=0.0)
    await workflow.write(failure)
    workflow.decide(RetryDue(failure.position))
    await workflow.write(workflow.dispatch(1))
    tasks = await stored.here.reader.tasks(EVERY_TENANT, workflow.workflow_id, include_deleted=False)
    assert [(each.task.position, each.task.item_key, each.task.attempt, each.step_id) for each in tasks or ()] == [
        (0, ItemKey(0, 0), 1, "a"),
        (0, ItemKey(0, 1), 1, "a"),
        (0, ItemKey(0, 1), 2, "a"),
    ]


async def test_an_item_that_waits_for_its_next_attempt_still_waits_once_it_is_loaded(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1, 2], collect=True)
    await workflow.write(workflow.dispatch(1))
    failure = structs.replace(workflow.fail(1), retryable=True, jitter=0.0)
    await workflow.write(failure)
    due = workflow.handle.run.units[failure.position].next_attempt_at
    assert due is not None
    assert [item.next_attempt_at for item in (await workflow.load()).items] == [None, due]


async def test_a_cleanup_and_a_list_take_the_tasks_of_items_page_by_page(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1, 2, 3], collect=True)
    for item in (2, 0, 1):
        await workflow.complete(item, {})
    await workflow.write(Cancel("alice"))
    await workflow.write(Cleanup("alice", cleanup_tasks=True))
    pages, cursor = list[list[int]](), BEFORE_ALL_TASKS
    while page := await stored.here.cleanups.next_tasks(ME, workflow.workflow_id, cursor, 2):
        places = [each.record.task.item_key for each in page]
        pages.append([item.item for item in places if item is not None])
        cursor = TaskCursor.of(page[-1].record.task)
    assert pages == [[0, 1], [2]]
    after = TaskCursor.of(task_of(await all_tasks(stored, workflow), 1))
    query = TaskFilter(9, 10_000, after, include_deleted=True)
    rest = await stored.here.reader.task_slice(EVERY_TENANT, workflow.workflow_id, query)
    assert rest is not None
    assert [each.task.item_key for each in rest.tasks] == [ItemKey(0, 2)]


async def test_the_best_result_of_an_item_is_kept_while_it_repeats(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1], repeat={"until": "done", "max": 3, "best": "score"})
    await workflow.write(workflow.dispatch(0))
    verdict = RunVerdict(done=False, best=0.9)
    await workflow.write(structs.replace(workflow.succeed(0, {"score": 0.9}), verdict=verdict))
    await workflow.write(workflow.dispatch(0))
    (item,) = (await workflow.load()).items
    assert item.flow is not None
    assert (item.status, item.flow.run, item.flow.best) == (RUNNING, 1, 0.9)
    assert (await workflow.load()).result_bytes == len(b'{"score":0.9}')


async def test_the_member_is_read_as_it_was_sent(stored: Stored) -> None:
    members = {"from_step": "a", "from_field": "f", "as": None, "max_concurrency": 3, "on_item_failure": "collect"}
    handle = await stored.make(body(join("a"), join("b", for_each=members)))
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    _, step = loaded.steps
    assert step.definition.for_each == convert(members, ForEach)
    assert step.resolved == handle.resolved_step(1)
    _, slice_step = await stored.here.reader.step_slice(EVERY_TENANT, handle.workflow_id, WHOLE, 0, 9, 10_000)
    assert slice_step.for_each is not None
    assert json.decode(slice_step.for_each, type=ForEach) == step.definition.for_each


async def test_files_that_items_name_are_needed(stored: Stored) -> None:
    file_id = uuid4()
    items = {"items": [f"media/{file_id}/x.png"]}
    handle = await stored.make(body(join("a", for_each=items)))
    needed = await stored.here.reader.references_to(EVERY_TENANT, uuid4(), [file_id])
    assert needed == {file_id: handle.workflow_id}


async def test_a_workflow_with_items_is_read_as_others_are(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1, 2])
    await workflow.write(Pause("alice"))
    record = await stored.here.reader.find(EVERY_TENANT, workflow.workflow_id, WHOLE)
    assert isinstance(record, WorkflowRecord)
    assert record.status is WorkflowStatus.PAUSED
    assert [step.resolved.step_id for step in record.steps or []] == ["a", "b"]
