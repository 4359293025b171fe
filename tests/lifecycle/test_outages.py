"""A provider that is away: the same attempt is tried again, and nothing is counted."""

from datetime import timedelta

import pytest

from stepwell.contract.definition import RetryPolicy, WorkflowConfig
from stepwell.contract.enums import CancelReceipt, OnFailure, StepStatus, TaskStatus, WorkflowStatus
from stepwell.contract.enums import ProviderType as Provider
from stepwell.lifecycle.inputs import AttemptFailed
from support.workflows.runs import EPOCH, SimulatedRun


def away(sim: SimulatedRun, position: int = 0, *, retry_after_s: float | None = None) -> None:
    sim.fail(position, retryable=True, error="no connection", retry_after_s=retry_after_s, provider_away=True)


def try_until(sim: SimulatedRun, seconds: float) -> int:
    """Let the attempt be tried until so many seconds after the beginning. Return how often it was."""
    tries = 0
    while sim.now < EPOCH + timedelta(seconds=seconds):
        away(sim)
        sim.due(0)
        sim.dispatch(0)
        tries += 1
    return tries


def test_a_minute_of_outage_costs_no_retry_and_no_second_task() -> None:
    sim = SimulatedRun(max_retries=0)
    sim.dispatch(0)
    assert 4 <= try_until(sim, 60) <= 12
    sim.succeed(0)
    (step,) = sim.step_rows
    assert (sim.status, step.attempt, step.retry_count) == (WorkflowStatus.COMPLETED, 1, 0)
    assert [task.status for task in sim.task_rows.values()] == [TaskStatus.COMPLETED]
    assert sim.short_history() == [
        *("workflow.created", "workflow.started", "step.started s0", "step.completed s0", "workflow.completed")
    ]


def test_the_pauses_grow_to_half_a_minute() -> None:
    sim = SimulatedRun()
    sim.dispatch(0)
    pauses: list[float] = []
    while len(pauses) < 12:
        away(sim)
        pauses.append((sim.wake[0] - sim.now).total_seconds())
        sim.due(0)
        sim.dispatch(0)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.75, 22.5)  # three quarters by a jitter of 0.5


def test_a_longer_retry_after_is_the_pause() -> None:
    sim = SimulatedRun()
    sim.dispatch(0)
    away(sim, retry_after_s=45)
    assert sim.wake[0] == sim.now + timedelta(seconds=45)


def test_after_the_time_of_outages_a_try_counts_as_a_failure() -> None:
    sim = SimulatedRun(config=WorkflowConfig(retry=RetryPolicy(outage_s=60)), max_retries=1)
    sim.dispatch(0)
    try_until(sim, 20)
    sim.later(60)
    away(sim)
    assert [task.status for task in sim.task_rows.values()] == [TaskStatus.FAILED]
    sim.due(0)
    sim.dispatch(0)
    away(sim)
    assert (sim.status, sim.step_rows[0].attempt) == (WorkflowStatus.FAILED, 2)


@pytest.mark.parametrize("retryable", [True, False])
def test_only_the_try_that_ends_the_attempt_is_reported_as_the_last(*, retryable: bool) -> None:
    sim = SimulatedRun(config=WorkflowConfig(retry=RetryPolicy(outage_s=60)), max_retries=0)
    sim.dispatch(0)
    try_until(sim, 20)
    reports = list[bool]()
    while sim.status is WorkflowStatus.RUNNING:
        failed = AttemptFailed(
            0, sim.live[0].id, "no connection", retryable, provider_fault=True, jitter=0.5, provider_away=True
        )
        reports.append(sim.run.attempts.is_last(failed, sim.now))
        sim.do(failed)
        if sim.status is WorkflowStatus.RUNNING:
            sim.due(0)
            sim.dispatch(0)
    assert reports == [False] * retryable + [True]


@pytest.mark.parametrize("config", [WorkflowConfig(retry=RetryPolicy(outage_s=0)), WorkflowConfig()])
def test_without_time_for_outages_and_beyond_it_a_failure_counts_at_once(config: WorkflowConfig) -> None:
    sim = SimulatedRun(config=config, max_retries=0)
    sim.dispatch(0)
    away(sim, retry_after_s=601)
    assert sim.status is WorkflowStatus.FAILED


def test_a_step_with_a_fallback_uses_it() -> None:
    sim = SimulatedRun(max_retries=0, provider=Provider.FAL, fallback=Provider.REPLICATE)
    sim.dispatch(0)
    away(sim)
    sim.due(0)
    sim.dispatch(0)
    assert [task.provider for task in sim.task_rows.values()] == [Provider.FAL, Provider.REPLICATE]


def test_a_pause_of_the_workflow_withdraws_the_attempt_and_resume_begins_a_new_one() -> None:
    sim = SimulatedRun(max_retries=0)
    sim.dispatch(0)
    away(sim)
    sim.pause()
    assert (sim.statuses, sim.live, sim.run.open_tasks()) == ([StepStatus.PENDING], {}, [])
    (task,) = sim.task_rows.values()
    assert (task.status, task.cancel_receipt) == (TaskStatus.CANCELLED, CancelReceipt.NEVER_STARTED)
    sim.resume()
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert (sim.step_rows[0].attempt, sim.step_rows[0].retry_count) == (2, 0)


def test_an_outage_that_is_seen_while_nothing_may_start_counts_no_attempt() -> None:
    sim = SimulatedRun([[], []], max_retries=0)
    sim.dispatch(0, 1)
    sim.fail(0)
    away(sim, 1)
    assert (sim.status, sim.statuses) == (WorkflowStatus.FAILED, [StepStatus.FAILED, StepStatus.PENDING])
    sim.resume()
    assert sim.drive() is WorkflowStatus.COMPLETED


@pytest.mark.parametrize("on_failure", [OnFailure.DRAIN, OnFailure.CANCEL])
def test_a_failure_elsewhere_ends_the_wait_for_a_provider(on_failure: OnFailure) -> None:
    sim = SimulatedRun([[], []], WorkflowConfig(on_failure=on_failure), max_retries=0)
    sim.dispatch(0, 1)
    away(sim, 1)
    sim.fail(0)
    assert sim.status is WorkflowStatus.FAILED
    assert sim.run.open_tasks() == []


def test_a_killed_process_loses_neither_the_attempt_nor_the_time_of_the_outage() -> None:
    sim = SimulatedRun(max_retries=0)
    sim.dispatch(0)
    try_until(sim, 20)
    away(sim)
    outage = sim.step_rows[0].flow
    sim.crash()
    assert sim.step_rows[0].flow == outage
    assert sim.run.open_task(0) == next(iter(sim.task_rows.values()))
    sim.due(0)
    sim.crash()
    sim.due(0)
    sim.dispatch(0)
    sim.crash()
    sim.take_up()
    sim.succeed(0)
    assert (sim.status, len(sim.task_rows)) == (WorkflowStatus.COMPLETED, 1)


def test_a_cancel_ends_the_wait_for_a_provider() -> None:
    sim = SimulatedRun()
    sim.dispatch(0)
    away(sim)
    sim.cancel()
    assert (sim.status, sim.statuses) == (WorkflowStatus.CANCELLED, [StepStatus.CANCELLED])
