"""Pages of the items of a step: those that are asked for, in their order, with values, results and attempts."""

from typing import Any

from msgspec import structs

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.inputs import RunVerdict
from stepwell.rules.list_records import ItemFilter, ItemSlice
from support.database.stored_items import ItemWorkflow, make_before_items, make_with_items
from support.database.stored_workflows import Stored

COMPLETED, FAILED, PENDING, RUNNING = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.PENDING, StepStatus.RUNNING
MUCH = 1_000_000


async def read(
    stored: Stored, workflow: ItemWorkflow, *, count: int = 100, max_bytes: int = MUCH, **wanted: Any
) -> ItemSlice:
    query = ItemFilter(**{"step_id": "a"} | wanted)
    found = await stored.here.reader.item_slice(EVERY_TENANT, workflow.workflow_id, query, count, max_bytes)
    assert found is not None
    return found


def numbers(page: ItemSlice) -> list[int]:
    return [each.state.item_key.item for each in page.items]


async def test_items_have_their_values_results_and_attempts(stored: Stored) -> None:
    workflow = await make_with_items(stored, [{"a": 1}, None, "x", 4], collect=True)
    await workflow.complete(0, {"f": 1})
    await workflow.write(workflow.dispatch(1))
    await workflow.write(workflow.fail(1, "too dark"))
    await workflow.write(workflow.dispatch(2))
    page = await read(stored, workflow)
    assert (page.total, page.has_items, page.repeats) == (4, True, False)
    assert [(each.state.value, each.state.result, each.state.status) for each in page.items] == [
        (b'{"a":1}', b'{"f":1}', COMPLETED),
        (b"null", None, FAILED),
        (b'"x"', None, RUNNING),
        (b"4", None, PENDING),
    ]
    assert page.items[1].state.error_message == "too dark"
    assert [each.state.task_id is not None for each in page.items] == [True, True, True, False]
    assert page.items[2].state.task_id == workflow.open_task(2).id


async def test_pages_skip_filter_and_end(stored: Stored) -> None:
    workflow = await make_with_items(stored, ["x" * 10] * 7)
    await workflow.complete(2, {"f": 1})
    await workflow.complete(5, {"f": 1})
    assert numbers(await read(stored, workflow, count=3)) == [0, 1, 2]
    assert numbers(await read(stored, workflow, skip=5)) == [5, 6]
    assert numbers(await read(stored, workflow, skip=1, after=3)) == [5, 6]
    assert numbers(await read(stored, workflow, count=0)) == []
    done = await read(stored, workflow, statuses=frozenset({COMPLETED}), skip=1)
    assert (numbers(done), done.total) == ([5], 2)
    assert numbers(await read(stored, workflow, statuses=frozenset({COMPLETED, PENDING}), count=2)) == [0, 1]
    some = await read(stored, workflow, max_bytes=30)
    assert (numbers(some), some.total) == ([0, 1], 7)
    assert numbers(await read(stored, workflow, max_bytes=1, after=2)) == [3]


async def test_a_best_result_so_far_is_no_result(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1], repeat={"until": "ok", "max": 3})
    await workflow.write(workflow.dispatch(0))
    verdict = RunVerdict(done=False)
    await workflow.write(structs.replace(workflow.succeed(0, {"f": 1}), verdict=verdict))
    page = await read(stored, workflow)
    assert page.repeats
    assert (page.items[0].state.result, page.items[0].state.status) == (None, RUNNING)


async def test_a_step_has_no_items_before_it_begins_and_other_steps_never_have(stored: Stored) -> None:
    workflow = await make_before_items(stored)
    assert await read(stored, workflow) == ItemSlice()
    assert await read(stored, workflow, step_id="b") == ItemSlice(has_items=False)
    reader, query = stored.here.reader, ItemFilter("c")
    assert await reader.item_slice(EVERY_TENANT, workflow.workflow_id, query, 1, MUCH) is None
    other, query = TenantScope("another"), ItemFilter("a")
    assert await reader.item_slice(other, workflow.workflow_id, query, 1, MUCH) is None
