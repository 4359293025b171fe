"""The state of a watched workflow: responses of the API and events, in whichever order they come."""

import random
from typing import Any

import pytest

from cli.workflow_commands.display_cases import after, event, step, workflow
from stepwell.cli.workflow_commands.display.watched_workflow import WatchedStep, WatchedWorkflow
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.contract.reasons import ExplainedStep, Explanation, WaitsForSteps

HISTORY = [
    event(1, "workflow.created", 0),
    event(2, "workflow.started", 0),
    event(3, "step.started", 1, "a", attempt=1, provider="FAL"),
    event(4, "step.submitted", 2, "a", provider="FAL", remote_id="r"),
    event(5, "step.progress", 3, "a", progress=0.25, word="IN_PROGRESS"),
    event(6, "step.retrying", 4, "a", attempt=1, error="busy", next_attempt_at="2026-11-26T12:00:06Z"),
    event(7, "step.started", 6, "a", attempt=2, provider="FAL"),
    event(8, "step.progress", 7, "a", progress=0.5, word="IN_PROGRESS"),
    event(9, "step.completed", 8, "a"),
    event(10, "step.started", 8, "b", attempt=1, provider="LOCAL"),
    event(11, "step.failed", 9, "b", error="broken"),
    event(12, "workflow.failed", 9),
    event(13, "workflow.resumed", 20),
]


def _members(each: WatchedStep) -> dict[str, Any]:
    return {
        name: getattr(each, name)
        for name in ("status", "provider", "retries", "error", "progress", "word", "next_attempt_at")
        if getattr(each, name) not in (None, 0)
    }


def _after(count: int) -> WatchedWorkflow:
    state = WatchedWorkflow.of(workflow(step("a"), step("b", "a"), status="PENDING"))
    for each in HISTORY[:count]:
        state.apply(each)
    return state


@pytest.mark.parametrize(
    ("count", "status", "first", "second"),
    [
        (1, "PENDING", {"status": "PENDING"}, {"status": "PENDING"}),
        (3, "RUNNING", {"status": "RUNNING", "provider": "FAL"}, {"status": "PENDING"}),
        (
            5,
            "RUNNING",
            {"status": "RUNNING", "provider": "FAL", "progress": 0.25, "word": "IN_PROGRESS"},
            {"status": "PENDING"},
        ),
        (
            6,
            "RUNNING",
            {"status": "RUNNING", "provider": "FAL", "error": "busy", "next_attempt_at": after(6)},
            {"status": "PENDING"},
        ),
        (7, "RUNNING", {"status": "RUNNING", "provider": "FAL", "retries": 1, "error": "busy"}, {"status": "PENDING"}),
        (
            12,
            "FAILED",
            {"status": "COMPLETED", "provider": "FAL", "retries": 1},
            {"status": "FAILED", "provider": "LOCAL", "error": "broken"},
        ),
        (
            13,
            "RUNNING",
            {"status": "COMPLETED", "provider": "FAL", "retries": 1},
            {"status": "PENDING", "provider": "LOCAL"},
        ),
    ],
)
def test_events_change_the_state(count: int, status: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    state = _after(count)
    assert state.status == status
    assert _members(state.steps["a"]) == first
    assert _members(state.steps["b"]) == second


def test_events_before_a_response_change_nothing() -> None:
    failed = workflow(
        step("a", status="COMPLETED", at=8, started_at=after(1), completed_at=after(8), retry_count=1, provider="FAL"),
        step("b", "a", status="FAILED", at=9, started_at=after(8), completed_at=after(9), error_message="broken"),
        status="FAILED",
        at=9,
        completed_at=after(9),
    )
    state = WatchedWorkflow.of(failed)
    before = repr(state)
    for each in HISTORY[:9]:
        state.apply(each)
    assert repr(state) == before


def test_a_response_that_is_older_than_an_event_changes_only_costs_and_models() -> None:
    state = _after(9)
    state.refresh(workflow(step("a", status="RUNNING", at=6, model="flux", retry_count=0), step("b", "a"), at=6))
    assert state.steps["a"].status is StepStatus.COMPLETED
    assert (state.steps["a"].model, state.steps["a"].retries) == ("flux", 1)


def test_steps_that_are_held_back_return_to_pending() -> None:
    state = _after(6)
    state.apply(event(7, "workflow.paused", 5, held_back=["a"]))
    assert (state.status, state.steps["a"].status, state.steps["a"].next_attempt_at) == ("PAUSED", "PENDING", None)
    state = _after(5)
    state.apply(event(6, "step.retrying", 4, "a", attempt=1, error="busy", held_back=True))
    assert (state.steps["a"].status, state.steps["a"].error) == ("PENDING", "busy")


def test_a_reason_holds_only_for_the_status_that_it_explains() -> None:
    state = _after(2)
    reason = WaitsForSteps(detail="Waits for 'a'.", unfinished=1, steps=["a"], stuck=[])
    explained = [ExplainedStep("a", StepStatus.RUNNING, reason), ExplainedStep("b", StepStatus.PENDING, reason)]
    state.explain(Explanation(state.id, WorkflowStatus.RUNNING, None, explained))
    assert (state.steps["a"].reason, state.steps["b"].reason) == (None, reason)
    state.apply(event(3, "step.started", 1, "b", attempt=1, provider="FAL"))
    assert state.steps["b"].reason is None


def test_unknown_steps_and_wrong_data_change_nothing() -> None:
    state = _after(3)
    state.apply(event(4, "step.failed", 5, "nowhere", error="x", held_back=["nowhere", 7]))
    state.apply(event(5, "step.progress", 5, "a", progress="half", word=7))
    assert _members(state.steps["a"]) == {"status": "RUNNING", "provider": "FAL", "word": "7"}


def test_layers_follow_the_dependencies_whatever_the_order_of_the_definition() -> None:
    steps = [step("d", "b", "c"), step("a"), step("c", "a"), step("b", "c"), step("e")]
    random.Random(1).shuffle(steps)
    state = WatchedWorkflow.of(workflow(*steps))
    assert [{each.step_id for each in layer} for layer in state.layers] == [{"a", "e"}, {"c"}, {"b"}, {"d"}]


def test_resume_resets_what_it_does_not_name() -> None:
    state = WatchedWorkflow.of(workflow(step("a"), step("b", "a"), step("c"), step("d"), status="RUNNING"))
    for each in (
        event(1, "step.failed", 1, "a", error="broken", optional=True),
        event(2, "step.skipped", 1, "b", reason="failure"),
        event(3, "step.failed", 2, "c", error="broken"),
        event(4, "workflow.paused", 3),
        event(5, "workflow.resumed", 4, still_failed=["a"], still_skipped=["b"]),
    ):
        state.apply(each)
    assert [each.status for each in state.steps.values()] == ["FAILED", "SKIPPED", "PENDING", "PENDING"]
    assert state.steps["b"].skip_reason == "failure"


@pytest.mark.parametrize(
    ("members", "progress"),
    [
        ({"status": "COMPLETED"}, 0.5),
        ({"status": "FAILED"}, 0.0),
        ({"status": "FAILED", "optional": True}, 0.5),
        ({"status": "SKIPPED", "skip_reason": "failure"}, 0.0),
        ({"status": "SKIPPED", "skip_reason": "dependency"}, 0.5),
        ({"status": "PENDING"}, 0.0),
    ],
)
def test_progress_counts_what_is_done(members: dict[str, Any], progress: float) -> None:
    assert WatchedWorkflow.of(workflow(step("a", **members), step("b"))).progress() == progress


def test_a_completed_workflow_is_done_whatever_was_skipped() -> None:
    skipped = step("a", status="SKIPPED", skip_reason="failure")
    assert WatchedWorkflow.of(workflow(skipped, step("b"), status="COMPLETED")).progress() == 1.0


def test_a_step_that_waits_runs_from_the_beginning_of_its_wait() -> None:
    state = WatchedWorkflow.of(workflow(step("a"), status="PENDING"))
    state.apply(event(1, "step.waiting", 3, "a", waits_for="delay", until="2026-11-26T13:00:00Z"))
    watched = state.steps["a"]
    assert (watched.status, watched.started_at, watched.completed_at) == (StepStatus.RUNNING, after(3), None)
    state.apply(event(2, "step.completed", 9, "a"))
    assert (watched.status, watched.completed_at) == (StepStatus.COMPLETED, after(9))
