"""The result of a step with items is built from their results, wherever it is read."""

from typing import Any

import pytest
from msgspec import json, structs

from stepwell.basics.errors import ResultTooLarge
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import StepStatus
from stepwell.contract.workflows import ItemCounts
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES
from stepwell.lifecycle.inputs import Cancel, RetryDue
from stepwell.lifecycle.records import WHOLE, StepRecord, WorkflowParts, WorkflowRecord
from stepwell.rules.large_workflow_records import LargeWorkflow, StepSnapshot, StoredStep
from stepwell.rules.list_records import ListFilter
from support.database.stored_items import ItemWorkflow, make_with_items
from support.database.stored_workflows import Stored

NO_STEPS = WorkflowParts(steps=False)


async def find(stored: Stored, workflow: ItemWorkflow, parts: WorkflowParts = WHOLE) -> WorkflowRecord:
    found = await stored.here.reader.find(EVERY_TENANT, workflow.workflow_id, parts)
    assert isinstance(found, WorkflowRecord)
    return found


async def first_steps(stored: Stored, workflow: ItemWorkflow) -> list[StepRecord]:
    """The step with items, as each way of reading it returns it."""
    reader = stored.here.reader
    found = await find(stored, workflow)
    page = await reader.page(EVERY_TENANT, ListFilter())
    (listed,) = page.workflows or []
    by_id = await reader.step(EVERY_TENANT, workflow.workflow_id, "a")
    by_position = await reader.step_at(EVERY_TENANT, workflow.workflow_id, 0)
    assert by_id is not None
    assert by_position is not None
    return [(found.steps or [])[0], (listed.steps or [])[0], by_id, by_position]


async def large(stored: Stored, workflow: ItemWorkflow) -> tuple[StepSnapshot, StoredStep]:
    """The step with items, as it is read of a large workflow."""
    reader = stored.here.reader
    (snapshot,) = await reader.snapshot(EVERY_TENANT, (workflow.workflow_id,), WHOLE)
    states = json.decode(snapshot.states[0], type=list[StepSnapshot])
    (step, *_) = await reader.step_slice(EVERY_TENANT, workflow.workflow_id, WHOLE, 0, 9, 10_000_000)
    return states[0], step


async def loaded_result(stored: Stored, workflow: ItemWorkflow) -> bytes | None:
    results = await stored.workflow_store.results(EVERY_TENANT, {workflow.workflow_id: [0]})
    return results.get(workflow.workflow_id, {}).get(0)


async def completed(stored: Stored, results: list[Any], *failed: int, last: bool = False) -> ItemWorkflow:
    """A workflow whose step has such results of its items; those of *failed* have none."""
    workflow = await make_with_items(stored, results, collect=True, last=last)
    for item, result in enumerate(results):
        if item in failed:
            await workflow.write(workflow.dispatch(item))
            await workflow.write(workflow.fail(item))
        else:
            await workflow.complete(item, result)
    return workflow


async def test_the_results_of_items_are_in_their_order_and_null_for_failed_ones(stored: Stored) -> None:
    results = [{"f": 1.0}, {}, {"result_text": 'ü "x" \n'}]
    workflow = await completed(stored, results, 1)
    expected = json.encode(
        {"items": [results[0], None, results[2]], "count": 3, "failed": 1, "result_texts": ['ü "x" \n']}
    )
    counts = ItemCounts(total=3, pending=0, running=0, completed=2, failed=1, retries=0)
    for step in await first_steps(stored, workflow):
        assert (step.state.status, step.state.result, step.items) == (StepStatus.COMPLETED, expected, counts)
    state, step_of_slice = await large(stored, workflow)
    assert (state.items, step_of_slice.result) == (counts, expected)
    assert await loaded_result(stored, workflow) == expected


async def test_files_of_items_are_listed_in_the_order_of_the_items(stored: Stored) -> None:
    results = [
        {"result_image_path": "a", "result_image_paths": ["a", "b"], "result_video_path": "v"},
        {"result_image_path": "c", "result_video_path": None},
        {"result_image_path": "d", "result_image_paths": [], "result_text": 1},
    ]
    workflow = await completed(stored, results)
    (step, *_) = await first_steps(stored, workflow)
    assert step.state.result is not None
    built = json.decode(step.state.result)
    assert (built["result_image_paths"], built["result_video_paths"]) == (["a", "b", "c"], ["v"])
    assert "result_texts" not in built


async def test_an_empty_list_has_a_result(stored: Stored) -> None:
    workflow = await completed(stored, [])
    for step in await first_steps(stored, workflow):
        assert step.state.result == b'{"items":[],"count":0,"failed":0}'
        assert step.items == ItemCounts(total=0, pending=0, running=0, completed=0, failed=0, retries=0)
    assert await loaded_result(stored, workflow) == b'{"items":[],"count":0,"failed":0}'


async def test_the_result_of_the_last_step_is_that_of_the_workflow(stored: Stored) -> None:
    workflow = await completed(stored, [{"f": 1}], last=True)
    expected = b'{"items":[{"f":1}],"count":1,"failed":0}'
    assert (await find(stored, workflow)).summary.final_step_result == expected
    assert (await find(stored, workflow, NO_STEPS)).summary.final_step_result == expected
    (snapshot,) = await stored.here.reader.snapshot(EVERY_TENANT, (workflow.workflow_id,), NO_STEPS)
    assert snapshot.record.summary.final_step_result == expected


async def test_a_step_under_way_has_counts_and_no_result(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1, 2, 3, 4], collect=True)
    await workflow.complete(0, {"f": 1})
    await workflow.write(workflow.dispatch(1))
    position = workflow.open_task(1).position
    await workflow.write(structs.replace(workflow.fail(1), retryable=True, jitter=0.0))
    await workflow.write(RetryDue(position))
    await workflow.write(workflow.dispatch(1))
    counts = ItemCounts(total=4, pending=2, running=1, completed=1, failed=0, retries=1)
    for step in await first_steps(stored, workflow):
        assert (step.state.result, step.items) == (None, counts)
    state, step_of_slice = await large(stored, workflow)
    assert (state.items, step_of_slice.result) == (counts, None)
    assert await loaded_result(stored, workflow) is None
    assert (await find(stored, workflow)).summary.items_done == 0.25
    await workflow.write(Cancel("alice"))
    (step, *_) = await first_steps(stored, workflow)
    assert step.items == ItemCounts(total=4, pending=3, running=0, completed=1, failed=0, retries=1)


async def test_a_step_without_items_and_one_before_its_items_have_no_counts(stored: Stored) -> None:
    workflow = await make_with_items(stored, [1])
    found = await find(stored, workflow)
    assert (found.steps or [])[1].items is None
    handle = await stored.make()
    ordinary = await stored.here.reader.find(EVERY_TENANT, handle.workflow_id, WHOLE)
    assert isinstance(ordinary, WorkflowRecord)
    assert [step.items for step in ordinary.steps or []] == [None, None]
    assert ordinary.summary.items_done == 0


async def test_results_of_items_make_a_workflow_large(stored: Stored) -> None:
    workflow = await completed(stored, [{"f": "x" * 40_000 + str(item)} for item in range(3)])
    assert isinstance(await stored.here.reader.find(EVERY_TENANT, workflow.workflow_id, WHOLE), LargeWorkflow)
    size = await stored.here.reader.size(EVERY_TENANT, [workflow.workflow_id], WHOLE, 10_000_000)
    assert size is not None
    assert size.largest_step >= 120_000
    found = await find(stored, workflow, WorkflowParts(results=False))
    assert [step.state.result for step in found.steps or []] == [None, None]


async def test_a_result_that_is_too_large_to_be_read_by_a_step_is_refused(stored: Stored) -> None:
    text = "x" * 1_000_000
    workflow = await make_with_items(stored, [0] * 17, collect=True)
    for item in range(17):
        await workflow.write(workflow.dispatch(item))
        await workflow.write(structs.replace(workflow.succeed(item, {}), result=b'{"f":"%s"}' % text.encode()))
    assert 17 * len(text) > MAX_MAPPED_BYTES
    with pytest.raises(ResultTooLarge, match="the results that the step reads are over 16,777,216 bytes"):
        await loaded_result(stored, workflow)
    with pytest.raises(ResultTooLarge):
        await stored.here.reader.step(EVERY_TENANT, workflow.workflow_id, "a")


async def test_a_workflow_shows_no_final_result_of_over_1_mib(stored: Stored) -> None:
    text = "x" * (MAX_RESULT_BYTES // 2)
    workflow = await completed(stored, [{"f": text}], last=True)
    record = await stored.here.reader.get(EVERY_TENANT, workflow.workflow_id)
    assert record is not None
    assert record.summary.final_step_result == json.encode({"items": [{"f": text}], "count": 1, "failed": 0})
    workflow = await completed(stored, [{"f": text}, {"f": text}], last=True)
    record = await stored.here.reader.get(EVERY_TENANT, workflow.workflow_id)
    assert record is not None
    assert record.summary.final_step_result is None
    size = await stored.here.reader.size(EVERY_TENANT, [workflow.workflow_id], NO_STEPS, 10_000_000)
    assert size is not None
    assert size.snapshot < 3 * MAX_RESULT_BYTES
