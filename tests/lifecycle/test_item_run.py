"""Steps that run once for each item, in single steps: what each part does, one after the other."""

import pytest

from stepwell.contract.enums import OnFailure, StepStatus, WorkflowStatus
from stepwell.lifecycle.inputs import Evaluated, Pause
from support.workflows.flow_specs import RepeatSpec, Script, StepSpec
from support.workflows.flows import ACTOR, evaluate, flow, run_step

COMPLETED, FAILED, PENDING, RUNNING = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.PENDING, StepStatus.RUNNING


def test_at_most_so_many_items_are_under_way_and_the_first_ones_begin_first() -> None:
    sim = flow(StepSpec(items=4, concurrency=2))
    evaluate(sim, 0)
    first, second = sim.startable()
    assert (sim.item_rows[first].item_key, sim.item_rows[second].item_key) == ((0, 0), (0, 1))
    for position in (first, second):
        sim.do(sim.dispatch_input(position))
    assert sim.startable() == []
    sim.do(sim.end_input(second))
    assert [sim.item_rows[position].item_key for position in sim.startable()] == [(0, 2)]


def test_an_item_that_finds_no_room_and_cancels_the_others_ends_the_workflow() -> None:
    sim = flow(StepSpec(items=2, concurrency=2), policy=OnFailure.CANCEL)
    evaluate(sim, 0)
    first, second = sim.startable()
    sim.do(sim.dispatch_input(first))
    sim.run.output_budget.result_bytes = sim.run.output_budget.max_bytes
    sim.do(sim.dispatch_input(second))
    assert (sim.status, sim.statuses) == (WorkflowStatus.FAILED, [FAILED])


def test_an_empty_list_completes_at_once() -> None:
    sim = flow(StepSpec(items=0))
    evaluate(sim, 0)
    assert sim.status is WorkflowStatus.COMPLETED


def test_a_failed_item_starts_no_other_and_lets_running_ones_end() -> None:
    sim = flow(StepSpec(items=4, concurrency=2, scripts={(0, 0): Script(succeeds=False)}))
    evaluate(sim, 0)
    first, second = sim.startable()
    sim.do(sim.dispatch_input(first))
    sim.do(sim.dispatch_input(second))
    sim.do(sim.end_input(first))
    assert (sim.statuses, sim.startable()) == ([RUNNING], [])
    sim.do(sim.end_input(second))
    assert sim.status is WorkflowStatus.FAILED
    assert sim.step_rows[0].error_message == "item 0: no"
    assert [row.status for row in sim.item_rows.values()] == [FAILED, COMPLETED, PENDING, PENDING]


def test_items_between_two_attempts_are_held_back_when_another_has_failed() -> None:
    scripts = {(0, 0): Script(flaky=1), (1, 0): Script(succeeds=False)}
    sim = flow(StepSpec(items=2, concurrency=2, scripts=scripts))
    evaluate(sim, 0)
    for position in sim.startable():
        run_step(sim, position)
    assert sim.status is WorkflowStatus.FAILED
    assert [row.status for row in sim.item_rows.values()] == [PENDING, FAILED]
    (event,) = [event for event in sim.events if "held_back_items" in event.data]
    assert event.data["held_back_items"] == [0]


def test_collect_completes_the_step_although_items_fail() -> None:
    scripts = {(item, 0): Script(succeeds=False) for item in range(2)}
    sim = flow(StepSpec(items=2, collect=True, scripts=scripts))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert [row.status for row in sim.item_rows.values()] == [FAILED, FAILED]


def test_the_items_of_a_step_are_not_evaluated_again_after_a_failure() -> None:
    sim = flow(StepSpec(items=2, condition=True, scripts={(1, 0): Script(succeeds=False)}))
    assert sim.drive() is WorkflowStatus.FAILED
    sim.resume()
    assert sim.evaluations[0].items is False
    evaluate(sim, 0)
    assert [sim.item_rows[position].item_key for position in sim.startable()] == [(0, 1)]


def test_a_step_with_items_is_pending_while_the_workflow_is_paused_and_none_is_under_way() -> None:
    sim = flow(StepSpec(items=3, concurrency=1))
    evaluate(sim, 0)
    sim.do(sim.dispatch_input(sim.startable()[0]))
    sim.do(Pause(ACTOR))
    assert sim.statuses == [RUNNING]
    sim.do(sim.end_input(next(iter(sim.live))))
    assert (sim.status, sim.statuses) == (WorkflowStatus.PAUSED, [PENDING])


@pytest.mark.parametrize(
    ("count", "error"), [(1_000, None), (1_001, "for_each has 1,001 items; a step has at most 1,000")]
)
def test_a_step_has_at_most_a_thousand_items(count: int, error: str | None) -> None:
    sim = flow(StepSpec(items=1))
    sim.do(Evaluated(0, sim.evaluations[0].number, items=tuple([b"0"] * count)))
    assert sim.step_rows[0].error_message == error


def test_an_item_does_not_start_when_no_result_has_room() -> None:
    sim = flow(StepSpec(items=2, concurrency=1, collect=True))
    evaluate(sim, 0)
    sim.run.output_budget.result_bytes = sim.run.output_budget.max_bytes
    sim.do(sim.dispatch_input(sim.startable()[0]))
    assert sim.task_rows == {}
    assert [row.status for row in sim.item_rows.values()] == [FAILED, PENDING]


def test_no_item_starts_after_the_result_of_another_one_had_no_room() -> None:
    sim = flow(StepSpec(items=5, concurrency=1, collect=True))
    sim.run.output_budget.max_bytes = 20  # for two of b'{"run":0}'
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert len(sim.task_rows) == 3
    assert [row.status for row in sim.item_rows.values()] == [COMPLETED] * 2 + [FAILED] * 3


def test_each_item_repeats() -> None:
    scripts = {(item, run): Script(score=score) for item in range(2) for run, score in enumerate([0.1, 0.9, 0.5])}
    sim = flow(StepSpec(items=2, repeat=RepeatSpec(3, None, has_best=True), scripts=scripts))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert [row.result for row in sim.item_rows.values()] == [b'{"run":1}', b'{"run":1}']
