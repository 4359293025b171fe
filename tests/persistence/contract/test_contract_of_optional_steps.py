"""Optional steps, `run_if`, conditions, reasons of skips: each way to read them gives what was stored."""

from uuid import uuid4

from msgspec import json

from stepwell.api.responses.sent_definition import encode_step
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import RunIf, SkipReason, StepStatus, WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import AttemptFailed
from stepwell.lifecycle.records import WHOLE, Summary, WorkflowParts, WorkflowRecord
from stepwell.rules.large_workflow_records import StepSnapshot
from stepwell.rules.list_records import ListFilter
from support.database.stored_workflows import Stored, dispatched
from support.workflows.definitions import body, join

CONDITION = 'inputs."d" != `"é\\n"`'
FLOW = body(
    join("a", optional=True),
    join("b", "a"),
    join("c", "a", "d", run_if="all_ended", when=CONDITION),
    join("d", run_if="all_completed", optional=False),
)


async def fail(stored: Stored, handle: ActiveWorkflow, position: int) -> None:
    task_id = uuid4()
    failed = AttemptFailed(position, task_id, "no", retryable=False, provider_fault=False, jitter=0)
    await stored.write(handle, dispatched(position, task_id), failed)


async def summary_of(stored: Stored, handle: ActiveWorkflow) -> tuple[WorkflowStatus, Summary]:
    record = await stored.here.reader.get(EVERY_TENANT, handle.workflow_id)
    assert record is not None
    listed = await stored.here.reader.page(EVERY_TENANT, ListFilter())
    assert [each.summary for each in listed.workflows or () if each.id == record.id] == [record.summary]
    return record.status, record.summary


async def test_what_is_stored_about_flow_is_read_again(stored: Stored) -> None:
    handle = await stored.make(FLOW)
    await fail(stored, handle, 0)
    reader, default = stored.here.reader, RunIf.ALL_COMPLETED
    run_ifs = [default, default, RunIf.ALL_ENDED, default]
    found = await reader.find(EVERY_TENANT, handle.workflow_id, WHOLE)
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert isinstance(found, WorkflowRecord)
    assert loaded is not None
    for steps in (found.steps or [], loaded.steps):
        assert [step.resolved for step in steps] == list(handle.run.resolved_steps)
        assert [step.resolved.run_if for step in steps] == run_ifs
        assert [step.resolved.optional for step in steps] == [True, False, False, False]
        assert [step.definition.condition for step in steps] == [None, None, CONDITION, None]
        assert [step.state.skip_reason for step in steps] == [None, SkipReason.FAILURE, None, None]
    (snapshot,) = await reader.snapshot(EVERY_TENANT, (handle.workflow_id,), WHOLE)
    states = json.decode(snapshot.states[0], type=list[StepSnapshot])
    assert [state.skip_reason for state in states] == [None, SkipReason.FAILURE, None, None]
    parts = WorkflowParts(results=False)
    slices = await reader.step_slice(EVERY_TENANT, handle.workflow_id, parts, 0, 9, 100_000)
    assert [step.run_if for step in slices] == run_ifs
    assert [step.condition for step in slices] == [None, None, CONDITION, None]
    sent = [json.decode(encode_step(step, evaluates=False)) for step in slices]
    assert [{key: step[key] for key in ("run_if", "optional", "when") if key in step} for step in sent] == [
        {"optional": True},
        {},
        {"run_if": "all_ended", "when": CONDITION},
        {},
    ]


async def test_errors_of_optional_steps_are_no_error_of_the_workflow(stored: Stored) -> None:
    handle = await stored.make(FLOW)
    await fail(stored, handle, 0)
    status, summary = await summary_of(stored, handle)
    assert (summary.errors, summary.error_message, summary.done_without_result) == (("a: no",), None, 1)
    await fail(stored, handle, 3)
    status, summary = await summary_of(stored, handle)
    assert (status, summary.error_message) == (WorkflowStatus.FAILED, "d: no")
    assert (summary.errors, summary.done_without_result) == (("a: no", "d: no"), 1)


async def test_steps_that_no_failure_has_skipped_count_as_done(stored: Stored) -> None:
    handle = await stored.make(FLOW)
    task_id = uuid4()
    failed = AttemptFailed(0, task_id, "no", retryable=False, provider_fault=False, jitter=0)
    decision = stored.decide(handle, dispatched(0, task_id), failed)
    assert decision.steps[1].status is StepStatus.SKIPPED
    decision.steps[1].skip_reason = SkipReason.DEPENDENCY
    assert await stored.workflow_store.write([decision]) == set()
    _, summary = await summary_of(stored, handle)
    assert summary.done_without_result == 2


async def test_an_ordinary_workflow_has_its_first_error(stored: Stored) -> None:
    plain = await stored.make(body(join("a"), join("b"), config={"on_failure": "continue"}))
    await fail(stored, plain, 1)
    await fail(stored, plain, 0)
    _, summary = await summary_of(stored, plain)
    assert (summary.errors, summary.error_message) == (("a: no", "b: no"), "a: no")
