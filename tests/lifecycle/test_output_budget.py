"""The results of a workflow are bounded together, and so are its errors."""

import pytest

from stepwell.contract.enums import EventType, ProviderType, StepStatus, TaskStatus, WorkflowStatus
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.inputs import Succeeded
from stepwell.lifecycle.output_budget import ERRORS_MAX_BYTES, OutputBudget
from support.workflows.runs import SimulatedRun

REFUSAL = (
    "the results of the workflow would be over 10 bytes together (STEPWELL_RESULTS_MAX_BYTES): "
    "files belong into artifacts, their paths into results"
)


def three_steps(**options: object) -> SimulatedRun:
    sim = SimulatedRun(((), (), ()), **options)  # type: ignore[arg-type]
    sim.run.output_budget.max_bytes = 10
    sim.dispatch(0, 1, 2)
    return sim


def test_a_result_that_exceeds_the_bound_of_the_workflow_fails_its_step_and_a_smaller_one_still_fits() -> None:
    sim = three_steps()
    sim.succeed(0, result=b"12345678")
    decision = sim.succeed(1, result=b"123")
    assert [(event.type, event.data) for event in decision.events] == [(EventType.STEP_FAILED, {"error": REFUSAL})]
    (task,) = decision.tasks.values()
    assert (task.status, task.error, task.outputs) == (TaskStatus.FAILED, REFUSAL, ())
    sim.succeed(2, result=b"12")
    assert sim.statuses == [StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.COMPLETED]
    assert sim.status is WorkflowStatus.FAILED
    assert sim.step_rows[1].result is None
    assert sim.run.output_budget.result_bytes == 10


def test_a_result_that_does_not_fit_is_neither_retried_nor_sent_to_the_fallback_and_keeps_its_cost() -> None:
    sim = three_steps(max_retries=3, provider=ProviderType.CUSTOM, fallback=ProviderType.FAL)
    cost = Cost(0.5, "USD", "settings")
    decision = sim.do(Succeeded(0, sim.live[0].id, b"x" * 11, (), cost))
    assert sim.statuses[0] is StepStatus.FAILED
    assert [task.cost for task in decision.tasks.values() if task.status is TaskStatus.FAILED] == [cost]


def test_a_late_result_of_an_earlier_attempt_is_not_counted() -> None:
    sim = three_steps()
    earlier = sim.live[0].id
    sim.fail(0, retryable=True)
    sim.due(0)
    sim.dispatch(0)
    assert not sim.do(Succeeded(0, earlier, b"x" * 11)).has_rows
    assert sim.run.output_budget.result_bytes == 0


@pytest.mark.parametrize(("error", "stored"), [("e" * 300, "e" * 199 + "…"), ("e" * 200, "e" * 200)])
def test_errors_beyond_the_bound_of_the_workflow_are_cut_to_200_characters(error: str, stored: str) -> None:
    budget = OutputBudget(errors=[None, "x" * ERRORS_MAX_BYTES])
    assert budget.shorten("f" * 2_000) == "f" * 2_000
    assert budget.shorten(error) == stored


def test_the_shortened_error_is_that_of_the_step_its_task_and_its_event() -> None:
    sim = three_steps()
    sim.run.output_budget.shorten("x" * (ERRORS_MAX_BYTES + 1))
    decision = sim.fail(0, error="e" * 300)
    assert {sim.step_rows[0].error_message, *(task.error for task in decision.tasks.values())} == {"e" * 199 + "…"}
    assert [event.data["error"] for event in decision.events] == ["e" * 199 + "…"]
