"""What is read back is what was written."""

from copy import copy
from typing import Any
from uuid import uuid4

from msgspec import json

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import ProviderType, StepStatus, TaskStatus
from stepwell.contract.tasks import Output
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import AttemptFailed, SeedResolved, Sending, Submitted, Succeeded
from stepwell.lifecycle.model import Sent, StepState
from stepwell.lifecycle.records import NO_INPUTS, LoadedWorkflow
from support.database.stored_workflows import Stored, dispatched, renamed
from support.workflows.definitions import body, draw, join

RESULT = b'{"f": 1.0, "a": -0.0}'


async def load(stored: Stored, handle: ActiveWorkflow) -> LoadedWorkflow:
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    return loaded


def without_result(step: StepState) -> StepState:
    plain = copy(step)
    plain.result = None
    return plain


async def test_a_load_brings_back_all_but_the_results(stored: Stored) -> None:
    handle, task_id = await stored.make(), uuid4()
    output = Output(f"media/{task_id}/x", 3, "ff")
    await stored.write(handle, dispatched(0, task_id), Succeeded(0, task_id, RESULT, (output,)), dispatched(1))
    loaded = await load(stored, handle)
    assert loaded.state == handle.run.state
    assert (loaded.tenant, loaded.origin_instance, loaded.config) == ("t", "tests", {"k": [1.0]})
    assert loaded.suppress_subtask_events is True
    assert loaded.unreadable is None
    assert [step.state for step in loaded.steps] == [without_result(step) for step in handle.run.steps]
    assert [step.resolved for step in loaded.steps] == list(handle.run.resolved_steps)
    assert [step.definition for step in loaded.steps] == [handle.definition(0), handle.definition(1)]
    assert loaded.open_tasks == [handle.run.open_task(1)]


async def test_a_task_has_the_seed_of_its_inputs(stored: Stored) -> None:
    handle, task_id = await stored.make(), uuid4()
    await stored.write(handle, dispatched(0, task_id))
    await stored.write(handle, SeedResolved(0, task_id, 41), Sending(0, task_id, Sent("u", "m", stored.clock.now())))
    (task,) = (await load(stored, handle)).open_tasks
    assert task.seed == 41


async def test_a_load_brings_back_what_expressions_read_and_only_if_there_are_some(stored: Stored) -> None:
    members: dict[str, Any] = {"inputs": {"x": [1, "ü"]}, "inputs_schema": {"type": "object"}}
    members["labels"] = {"b": "1:2", "a": ""}
    with_some = await load(stored, await stored.make(body(join("a", config={"x": "${inputs.x}"}), **members)))
    assert (with_some.evaluates, with_some.labels) == (True, {"a": "", "b": "1:2"})
    assert json.decode(with_some.inputs or b"") == {"x": [1, "ü"]}
    without = await load(stored, await stored.make(body(join("a"), **members)))
    assert (without.evaluates, without.inputs, without.labels) == (False, None, {})
    for each in (with_some, without):
        inputs = await stored.here.reader.inputs(EVERY_TENANT, each.state.id)
        assert json.decode(inputs.inputs or b"") == {"x": [1, "ü"]}
        assert json.decode(inputs.inputs_schema or b"") == {"type": "object"}
        assert await stored.here.reader.inputs(TenantScope("other"), each.state.id) == NO_INPUTS


async def test_a_load_brings_back_the_size_of_the_results_together_until_the_workflow_has_ended_for_good(
    stored: Stored,
) -> None:
    handle, first, second = await stored.make(), uuid4(), uuid4()
    assert (await load(stored, handle)).result_bytes == 0
    await stored.write(handle, dispatched(0, first), Succeeded(0, first, RESULT))
    loaded = await load(stored, handle)
    assert loaded.result_bytes == len(RESULT)
    assert ActiveWorkflow(loaded).run.output_budget.result_bytes == len(RESULT)
    text = b'{"t": "' + "ü".encode() * 5_000 + b'"}'  # compressed in its row
    await stored.write(handle, dispatched(1, second), Succeeded(1, second, text))
    assert handle.run.output_budget.result_bytes == len(RESULT) + len(text)


async def test_a_provider_and_a_fallback_come_back_as_what_they_were(stored: Stored) -> None:
    handle = await stored.make(body(draw(fallback_provider_type="FAL")), owner=None)
    (step,) = (await load(stored, handle)).steps
    assert (step.resolved.provider, step.resolved.fallback) == (ProviderType.LOCAL, ProviderType.FAL)


async def test_an_attempt_that_failed_is_not_open_and_its_error_is_kept(stored: Stored) -> None:
    handle, task_id = await stored.make(), uuid4()
    failed = AttemptFailed(0, task_id, "no", retryable=True, provider_fault=True, jitter=0.5)
    await stored.write(handle, dispatched(0, task_id), failed)
    loaded = await load(stored, handle)
    assert (loaded.open_tasks, loaded.steps[0].state.status) == ([], StepStatus.RUNNING)
    assert loaded.steps[0].state.next_attempt_at == handle.run.steps[0].next_attempt_at
    record = await stored.here.reader.task(EVERY_TENANT, task_id)
    assert record is not None
    assert (record.task.status, record.task.error) == (TaskStatus.FAILED, "no")


async def test_the_sent_request_and_the_job_are_loaded_and_found_by_the_jobs_id(stored: Stored) -> None:
    handle, task_id = await stored.make(body(draw())), uuid4()
    sent = Sent("flux", "aa", stored.clock.now())
    await stored.write(handle, dispatched(0, task_id), Sending(0, task_id, sent))
    await stored.write(handle, Submitted(0, task_id, "job-1", {"status": "http://x"}))
    (task,) = (await load(stored, handle)).open_tasks
    assert (task.sent, task.remote_id, task.urls) == (sent, "job-1", {"status": "http://x"})
    assert await stored.workflow_store.known_jobs(ProviderType.LOCAL, ["job-1", "job-2"]) == {"job-1"}
    assert await stored.workflow_store.known_jobs(ProviderType.FAL, ["job-1"]) == set()


async def test_a_loaded_workflow_does_not_change_with_the_rows(stored: Stored) -> None:
    handle = await stored.make()
    before = await load(stored, handle)
    await stored.write(handle, renamed("later"), dispatched())
    assert (before.state.name, before.steps[0].state.status, before.open_tasks) == ("n", StepStatus.PENDING, [])
    assert (await load(stored, handle)).state.name == "later"


async def test_results_come_by_position_and_only_where_there_are_any(stored: Stored) -> None:
    one, two = await stored.make(), await stored.make(tenant=None)
    for handle in (one, two):
        task_id = uuid4()
        await stored.write(handle, dispatched(0, task_id), Succeeded(0, task_id, RESULT))
    wanted = {one.workflow_id: [0, 1, 99], two.workflow_id: [0], uuid4(): [0]}
    assert await stored.workflow_store.results(EVERY_TENANT, wanted) == {
        one.workflow_id: {0: RESULT},
        two.workflow_id: {0: RESULT},
    }
    assert await stored.workflow_store.results(TenantScope("t"), wanted) == {one.workflow_id: {0: RESULT}}
    assert await stored.workflow_store.results(TenantScope(), wanted) == {two.workflow_id: {0: RESULT}}
    assert await stored.workflow_store.results(EVERY_TENANT, {}) == {}


async def test_a_load_sees_only_its_tenants(stored: Stored) -> None:
    of_t, of_nobody = await stored.make(), await stored.make(tenant=None)
    scopes = [
        [
            scope
            for scope in ("t", "u", None)
            if await stored.workflow_store.load(TenantScope(scope), handle.workflow_id)
        ]
        for handle in (of_t, of_nobody)
    ]
    assert scopes == [["t"], [None]]
    assert await stored.workflow_store.load(EVERY_TENANT, uuid4()) is None
