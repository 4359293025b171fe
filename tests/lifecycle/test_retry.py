"""How often a step is tried, by whom, and when."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stepwell.contract.definition import RetryPolicy, WorkflowConfig
from stepwell.contract.enums import ProviderType, StepStatus, TaskStatus, TaskType, WorkflowStatus
from stepwell.lifecycle.effects import WakeAt
from stepwell.lifecycle.inputs import RetryDue
from stepwell.lifecycle.model import StepState
from stepwell.lifecycle.retry import RETRY_AFTER_CAP_S, RetryDecision, backoff_s, decide_retry
from stepwell.lifecycle.steps import ResolvedStep
from support.workflows.runs import EPOCH, SimulatedRun

S = StepStatus
LOCAL, FAL = ProviderType.LOCAL, ProviderType.FAL


def exhaust(
    sim: SimulatedRun, position: int = 0, *, retryable: bool = True, provider_fault: bool = True
) -> list[ProviderType]:
    """Let every attempt fail; the providers that were asked, in order."""
    asked = []
    while sim.step_rows[position].status in (S.PENDING, S.RUNNING):
        if position in sim.wake:
            sim.due(position)
        sim.dispatch(position)
        asked.append(sim.live[position].provider)
        sim.fail(position, retryable=retryable, provider_fault=provider_fault)
    return [provider for provider in asked if provider is not None]


@pytest.mark.parametrize("max_retries", [0, 1, 3, 20])
@pytest.mark.parametrize("fallback", [None, FAL])
def test_attempts_are_retries_plus_one_per_provider(max_retries: int, fallback: ProviderType | None) -> None:
    sim = SimulatedRun(max_retries=max_retries, fallback=fallback)
    asked = exhaust(sim)
    assert asked == [LOCAL] * (max_retries + 1) + ([FAL] * (max_retries + 1) if fallback else [])
    step = sim.step_rows[0]
    providers = 2 if fallback else 1
    assert (step.status, step.attempt) == (S.FAILED, len(asked))
    assert step.retry_count == len(asked) - providers
    assert sim.status is WorkflowStatus.FAILED
    assert sorted(t.attempt for t in sim.task_rows.values()) == list(range(1, len(asked) + 1))
    assert {t.status for t in sim.task_rows.values()} == {TaskStatus.FAILED}
    assert sim.short_history().count("step.retrying s0") == len(asked) - 1
    assert sim.short_history().count("step.failed s0") == 1


@pytest.mark.parametrize(
    ("retryable", "provider_fault", "fallback", "asked"),
    [
        (False, True, None, [LOCAL]),
        (False, False, None, [LOCAL]),
        (False, True, FAL, [LOCAL, FAL]),
        (False, False, FAL, [LOCAL]),
        (True, False, FAL, [LOCAL, LOCAL, FAL, FAL]),  # used up is used up, whoever's fault it was
    ],
)
def test_an_error_that_is_not_retryable_is_not_retried(
    retryable: bool,  # noqa: FBT001
    provider_fault: bool,  # noqa: FBT001
    fallback: ProviderType | None,
    asked: list[ProviderType],
) -> None:
    sim = SimulatedRun(max_retries=1, fallback=fallback)
    assert exhaust(sim, retryable=retryable, provider_fault=provider_fault) == asked
    assert sim.step_rows[0].retry_count == len(asked) - len(set(asked))


def test_the_retry_count_is_the_attempts_minus_one_per_provider() -> None:
    sim = SimulatedRun(max_retries=2, fallback=FAL)
    counts = []
    for _ in range(6):
        if 0 in sim.wake:
            sim.due(0)
        sim.dispatch(0)
        counts.append(sim.step_rows[0].retry_count)
        sim.fail(0, retryable=True)
    assert counts == [0, 1, 2, 2, 3, 4]


def test_between_attempts_a_step_is_running_and_shows_next_attempt_at() -> None:
    sim = SimulatedRun(config=WorkflowConfig(retry=RetryPolicy(base_s=8)))
    sim.dispatch(0)
    at = EPOCH + timedelta(seconds=4)
    failed = sim.fail(0, retryable=True, jitter=0.5, error="busy")
    step = sim.step_rows[0]
    assert (step.status, step.next_attempt_at, step.error_message) == (S.RUNNING, at, "busy")
    assert failed.effects == [WakeAt(0, at)]
    assert failed.events[0].data == {"attempt": 1, "error": "busy", "next_attempt_at": at}
    assert not failed.ready
    early = sim.do(RetryDue(0))  # a timer that is fast: nothing starts, it is asked for again
    assert (early.ready, early.effects) == ([], [WakeAt(0, at)])
    assert sim.due(0).ready == [0]
    assert sim.do(RetryDue(0)).ready == []
    sim.later(1)
    sim.dispatch(0)
    step = sim.step_rows[0]
    assert (step.next_attempt_at, step.attempt, step.started_at) == (None, 2, EPOCH)
    sim.succeed(0)
    assert (sim.status, sim.step_rows[0].error_message) == (WorkflowStatus.COMPLETED, None)


def test_the_fallback_starts_without_a_delay() -> None:
    sim = SimulatedRun(max_retries=0, fallback=FAL)
    sim.dispatch(0)
    sim.fail(0, retryable=True, retry_after_s=99)
    assert sim.step_rows[0].next_attempt_at == sim.now
    assert sim.step_rows[0].on_fallback


@pytest.mark.parametrize(
    ("said", "waits"),
    [(0.0, 0), (7.5, 7.5), (-3.0, 0), (1e9, RETRY_AFTER_CAP_S), (float("inf"), RETRY_AFTER_CAP_S), (float("nan"), 0)],
)
def test_retry_after_is_used_within_its_bounds(said: float, waits: float) -> None:
    sim = SimulatedRun()
    sim.dispatch(0)
    sim.fail(0, retryable=True, retry_after_s=said, jitter=0.99)
    assert sim.step_rows[0].next_attempt_at == EPOCH + timedelta(seconds=waits)


def test_the_backoff_of_a_fallback_starts_again() -> None:
    sim = SimulatedRun(max_retries=3, fallback=FAL)
    waits = []
    for _ in range(8):
        if 0 in sim.wake:
            sim.due(0)
        sim.dispatch(0)
        sim.fail(0, retryable=True, jitter=0.5)
        if (at := sim.step_rows[0].next_attempt_at) is not None:
            waits.append((at - sim.now).total_seconds())
    assert waits == [0.5, 1, 2, 0, 0.5, 1, 2]


policies = st.builds(
    RetryPolicy,
    base_s=st.floats(0, 3600),
    factor=st.floats(1, 100),
    max_s=st.floats(0, 86400),
)


@given(policies, st.integers(1, 21), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded_and_grows(policy: RetryPolicy, attempts: int, jitter: float) -> None:
    wait = backoff_s(policy, attempts, jitter)
    assert 0 <= wait <= min(policy.max_s, policy.base_s * policy.factor ** (attempts - 1))
    assert wait <= backoff_s(policy, attempts + 1, jitter)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_never_overflows(attempts: int, jitter: float) -> None:
    assert 0 <= backoff_s(RetryPolicy(factor=100), attempts, jitter) <= 60


def test_the_default_backoff_doubles_up_to_a_minute() -> None:
    ceilings = [backoff_s(RetryPolicy(), n, 1.0) for n in range(1, 9)]
    assert ceilings == [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(a <= b for a, b in pairwise(ceilings))


@given(
    st.integers(0, 20),
    st.integers(1, 21),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_retry_needs_attempts_left_and_an_error_that_may_pass(
    max_retries: int,
    attempts: int,
    on_fallback: bool,  # noqa: FBT001
    has_fallback: bool,  # noqa: FBT001
    retryable: bool,  # noqa: FBT001
    provider_fault: bool,  # noqa: FBT001
) -> None:
    resolved = ResolvedStep(
        position=0,
        step_id="s",
        task_type=TaskType.EDITING,
        max_retries=max_retries,
        fallback=FAL if has_fallback else None,
    )
    step = StepState(0, provider_attempts=attempts, on_fallback=on_fallback)
    verdict = decide_retry(resolved, step, retryable=retryable, provider_fault=provider_fault)
    if retryable and attempts < max_retries + 1:
        assert verdict is RetryDecision.RETRY
    elif has_fallback and not on_fallback and (retryable or provider_fault):
        assert verdict is RetryDecision.FALLBACK
    else:
        assert verdict is RetryDecision.FAIL


# Held back: nothing is retried while nothing may start


@pytest.mark.parametrize("slot", [False, True])
def test_pause_holds_back_a_retry_whether_its_time_has_come_or_not(slot: bool) -> None:  # noqa: FBT001
    sim = SimulatedRun(fallback=FAL)
    sim.dispatch(0)
    sim.fail(0, retryable=True)
    if slot:
        sim.due(0)
    paused = sim.pause()
    assert paused.events[0].data == {"held_back": ["s0"]}
    assert (sim.statuses, sim.step_rows[0].next_attempt_at) == ([S.PENDING], None)
    assert (sim.status, sim.workflow.owner) == (WorkflowStatus.PAUSED, None)
    late = sim.do(RetryDue(0))
    assert (late.has_rows, late.ready, late.effects) == (False, [], [])
    assert sim.resume().ready == [0]
    assert len(exhaust(sim)) == 8  # the whole budget again
    assert sim.step_rows[0].attempt == 9


@pytest.mark.parametrize("error", ["busy", ""])
def test_a_failure_while_paused_is_retried_after_resume(error: str) -> None:
    sim = SimulatedRun(max_retries=1)
    sim.dispatch(0)
    sim.pause()
    failed = sim.fail(0, retryable=True, error=error)
    assert failed.events[0].data == {"attempt": 1, "error": error, "held_back": True}
    assert (sim.statuses, sim.status) == ([S.PENDING], WorkflowStatus.PAUSED)
    sim.resume()
    assert len(exhaust(sim)) == 2


def test_a_failure_while_draining_is_retried_after_resume() -> None:
    sim = SimulatedRun(((), ()), max_retries=0, fallback=FAL)
    sim.dispatch(0, 1)
    sim.fail(0, retryable=False, provider_fault=False)
    sim.fail(1, retryable=True)  # its fallback would be next
    assert sim.statuses == [S.FAILED, S.PENDING]
    assert sim.status is WorkflowStatus.FAILED
    sim.resume()
    assert exhaust(sim, 1) == [LOCAL, FAL]


def test_resume_gives_a_failed_step_all_its_attempts_and_its_primary_provider() -> None:
    sim = SimulatedRun(max_retries=1, fallback=FAL)
    exhaust(sim)
    sim.resume()
    step = sim.step_rows[0]
    assert (step.retry_count, step.provider_attempts, step.on_fallback, step.attempt) == (0, 0, False, 4)
    assert exhaust(sim) == [LOCAL, LOCAL, FAL, FAL]
    assert sorted(t.attempt for t in sim.task_rows.values()) == list(range(1, 9))


def test_resume_counts_a_live_attempt_as_the_first_of_the_new_execution() -> None:
    sim = SimulatedRun(max_retries=1, fallback=FAL)
    for _ in range(4):
        if 0 in sim.wake:
            sim.due(0)
        sim.dispatch(0)
        if sim.step_rows[0].attempt < 4:
            sim.fail(0, retryable=True)
    sim.pause()
    before = sim.step_rows[0]
    resumed = sim.resume()
    assert resumed.steps == {0: replace(before, retry_count=0, provider_attempts=1, updated_at=sim.now)}
    sim.fail(0, retryable=True)  # one of two attempts of the fallback
    assert exhaust(sim) == [FAL]
    assert sim.step_rows[0].retry_count == 1


def test_a_restart_neither_forgets_nor_repeats_an_attempt() -> None:
    sim = SimulatedRun(max_retries=2, fallback=FAL)
    asked = []
    while sim.statuses != [S.FAILED]:
        sim.crash()
        sim.take_up()
        if 0 in sim.wake:
            sim.due(0)
            sim.crash()
            sim.take_up()
        if 0 not in sim.live:
            sim.dispatch(0)
        sim.crash()
        sim.take_up()
        asked.append(sim.live[0].provider)
        sim.fail(0, retryable=True)
    assert asked == [LOCAL] * 3 + [FAL] * 3
    assert sim.step_rows[0].attempt == 6
