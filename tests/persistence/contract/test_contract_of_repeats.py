"""Steps that repeat: the best result so far stays stored while the step goes on, and no response shows it."""

from msgspec import json

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.definition import Repeat
from stepwell.contract.enums import StepStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import AttemptFailed, RunVerdict, Succeeded
from stepwell.lifecycle.records import WHOLE, LoadedWorkflow, WorkflowRecord
from support.database.stored_workflows import Stored, dispatched
from support.workflows.definitions import body, join

REPEATING = body(join("a", repeat={"until": "done", "max": 3, "best": "score"}))
FIRST, SECOND = b'{"score": 0.9}', b'{"score": 0.1}'


def succeed(stored: Stored, handle: ActiveWorkflow, result: bytes) -> Decision:
    task = handle.run.open_task(0)
    assert task is not None
    verdict = RunVerdict(done=False, best=json.decode(result)["score"])
    return stored.decide(handle, Succeeded(0, task.id, result, verdict=verdict))


async def load(stored: Stored, handle: ActiveWorkflow) -> LoadedWorkflow:
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    return loaded


async def find(stored: Stored, handle: ActiveWorkflow) -> WorkflowRecord:
    found = await stored.here.reader.find(EVERY_TENANT, handle.workflow_id, WHOLE)
    assert isinstance(found, WorkflowRecord)
    return found


async def result_of(stored: Stored, handle: ActiveWorkflow) -> bytes:
    results = await stored.workflow_store.results(EVERY_TENANT, {handle.workflow_id: [0]})
    return results[handle.workflow_id][0]


async def test_the_best_result_so_far_is_the_result_at_the_end(stored: Stored) -> None:
    handle = await stored.make(REPEATING)
    await stored.write(handle, dispatched())
    both = succeed(stored, handle, FIRST)
    both.merge(stored.decide(handle, dispatched()))  # the next attempt begins in the same transaction
    assert await stored.workflow_store.write([both]) == set()
    found = await find(stored, handle)
    assert [step.state.result for step in found.steps or []] == [None]
    assert found.summary.final_step_result is None
    assert (await load(stored, handle)).result_bytes == len(FIRST)
    assert await stored.workflow_store.write([succeed(stored, handle, SECOND)]) == set()
    await stored.write(handle, dispatched())
    task = handle.run.open_task(0)
    assert task is not None
    failure = AttemptFailed(0, task.id, "no", retryable=False, provider_fault=False, jitter=0.5)
    await stored.write(handle, failure)
    (step,) = (await find(stored, handle)).steps or []
    assert (step.state.status, step.state.result) == (StepStatus.COMPLETED, FIRST)
    assert step.state.flow is not None
    assert (step.state.flow.run, step.state.flow.best) == (3, 0.9)
    assert await result_of(stored, handle) == FIRST


async def test_the_member_is_read_as_it_was_sent(stored: Stored) -> None:
    handle = await stored.make(REPEATING)
    (step,) = (await load(stored, handle)).steps
    assert step.definition.repeat == Repeat(until="done", max=3, best="score")
    assert step.resolved == handle.resolved_step(0)
