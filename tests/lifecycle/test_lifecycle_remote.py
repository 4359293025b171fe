"""Attempts whose work is done elsewhere: what is recorded when, and what is followed up."""

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import (
    CancelReceipt,
    OnFailure,
    ProviderType,
    StepStatus,
    TaskPhase,
    TaskStatus,
    WorkflowStatus,
)
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import CancelAttempt, FollowUp, StartAttempt, WakeAt
from stepwell.lifecycle.inputs import (
    AttemptFailed,
    Cancel,
    FollowUpEnded,
    GiveUp,
    Input,
    OutcomeLost,
    RemoteEnded,
    Sending,
    Submitted,
    Succeeded,
)
from stepwell.lifecycle.model import Sent, Task
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.stored_run import StoredRun
from support.workflows.runs import EPOCH, OWNER, SimulatedRun

SENT = Sent("a/model", "d" * 64, EPOCH)
COST = Cost(0.25, "USD", "provider")
URLS = {"status": "https://p.example/1"}
FALLBACK = ProviderType.REPLICATE
S = StepStatus


class Remote(SimulatedRun):
    """A `SimulatedRun` of steps that FAL does; the first is dispatched."""

    def __init__(self, *, steps: int = 1, config: WorkflowConfig | None = None, max_retries: int = 3) -> None:
        dag = ((),) * steps
        super().__init__(dag, config, max_retries=max_retries, provider=ProviderType.FAL, fallback=FALLBACK)
        self.dispatch(0)

    @property
    def task(self) -> Task:
        """The first step's latest, as recorded."""
        return max((t for t in self.task_rows.values() if t.position == 0), key=lambda t: t.attempt)

    def send(self) -> Decision:
        return self.do(Sending(0, self.task.id, SENT))

    def submit(self) -> Decision:
        return self.do(Submitted(0, self.task.id, "job-1", URLS))

    def lose(self) -> Decision:
        return self.do(OutcomeLost(0, self.task.id, "no answer"))

    def time_out(self) -> Decision:
        task_id = self.task.id
        return self.do(AttemptFailed(0, task_id, "timed out", True, True, 0.5, timed_out=True))  # noqa: FBT003

    def settle(self, receipt: CancelReceipt) -> Decision:
        (task_id,) = self.following
        return self.do(FollowUpEnded(0, task_id, receipt))


def test_each_phase_is_recorded_before_the_next() -> None:
    sim = Remote()
    assert (sim.task.phase, sim.task.sent) == (TaskPhase.INTENT, None)
    sim.send()
    assert (sim.task.phase, sim.task.sent, sim.task.remote_id) == (TaskPhase.INTENT, SENT, None)
    sim.submit()
    assert (sim.task.phase, sim.task.remote_id, sim.task.urls) == (TaskPhase.SUBMITTED, "job-1", URLS)
    sim.do(RemoteEnded(0, sim.task.id))
    assert sim.task.phase is TaskPhase.REMOTE_DONE
    sim.do(Succeeded(0, sim.task.id, b"{}", cost=COST))
    assert (sim.task.phase, sim.task.status, sim.task.cost) == (TaskPhase.STORED, TaskStatus.COMPLETED, COST)
    history = ["workflow.created", "workflow.started", "step.started s0", "step.submitted s0", "step.completed s0"]
    assert sim.short_history() == [*history, "workflow.completed"]
    assert sim.events[3].data == {"provider": "FAL", "remote_id": "job-1"}


@pytest.mark.parametrize("stage", ["none", "sent", "lost", "submitted"])
def test_after_a_crash_the_attempt_continues_from_its_recorded_phase(stage: str) -> None:
    sim = Remote()
    if stage != "none":
        sim.send()
    if stage == "lost":
        sim.lose()
    if stage == "submitted":
        sim.submit()
    before = sim.task
    sim.crash()
    (effect,) = sim.dispatch(0).effects
    assert effect == StartAttempt(before)
    assert (before.sent is None, before.remote_id) == (stage == "none", "job-1" if stage == "submitted" else None)
    assert before.outcome_unknown is (stage == "lost")


def test_a_lost_outcome_is_reported_until_the_job_is_found() -> None:
    sim = Remote()
    sim.send()
    decision = sim.lose()
    assert sim.task.outcome_unknown
    assert [(e.type, e.data) for e in decision.events] == [("step.outcome_unknown", {"error": "no answer"})]
    sim.submit()
    assert not sim.task.outcome_unknown


def test_a_failed_attempt_of_unknown_outcome_allows_neither_retry_nor_fallback() -> None:
    sim = Remote()
    sim.send()
    sim.lose()
    sim.fail(0, retryable=False, provider_fault=False, error="nobody knows")
    assert (sim.statuses, sim.status) == ([S.FAILED], WorkflowStatus.FAILED)
    assert (sim.task.outcome_unknown, sim.task.status) == (True, TaskStatus.FAILED)
    assert not sim.following


def test_resubmit_counts_the_unknown_attempt_and_allows_the_fallback() -> None:
    sim = Remote(max_retries=0)
    sim.send()
    sim.lose()
    sim.fail(0, retryable=True, provider_fault=True)
    assert sim.run.steps[0].on_fallback
    sim.due(0)
    sim.dispatch(0)
    assert (sim.task.provider, sim.task.attempt, sim.task.sent) == (FALLBACK, 2, None)


# Given up


def test_an_attempt_cancelled_before_its_request_was_sent_never_started() -> None:
    sim = Remote()
    sim.cancel()
    assert (sim.task.cancel_receipt, sim.task.follow_up_until) == (CancelReceipt.NEVER_STARTED, None)
    assert (sim.workflow.owner, sim.following) == (None, set())


def test_work_in_this_process_has_no_receipt() -> None:
    sim = SimulatedRun()
    sim.do(replace(sim.dispatch_input(0), in_process=True))
    sim.cancel()
    assert [task.cancel_receipt for task in sim.task_rows.values()] == [None]


@pytest.mark.parametrize(("in_process", "receipt"), [([0], None), ([], CancelReceipt.NEVER_STARTED)])
def test_an_attempt_of_an_earlier_process_has_a_receipt_if_its_provider_is_remote(
    in_process: list[int], receipt: CancelReceipt | None
) -> None:
    before = SimulatedRun()
    before.dispatch(0)
    run, tasks = before.run, before.run.open_tasks()
    later = Run(
        StoredRun(run.state, run.config, run.resolved_steps, run.steps, open_tasks=tasks, in_process=in_process)
    )
    decision = later.apply(Cancel("alice"), EPOCH)
    assert [task.cancel_receipt for task in decision.tasks.values()] == [receipt]


@pytest.mark.parametrize("submitted", [False, True])
def test_an_attempt_cancelled_after_its_request_was_sent_is_followed_up(*, submitted: bool) -> None:
    sim = Remote()
    sim.send()
    if submitted:
        sim.submit()
    decision = sim.cancel()
    task_id = sim.task.id
    assert decision.effects == [CancelAttempt(0, task_id), FollowUp(0, task_id)]
    assert (sim.status, sim.workflow.owner) == (WorkflowStatus.CANCELLED, OWNER)
    assert (sim.task.cancel_receipt, sim.task.status) == (CancelReceipt.UNKNOWN, TaskStatus.CANCELLED)
    assert sim.task.follow_up_until == sim.now + timedelta(hours=1)


@pytest.mark.parametrize("receipt", CancelReceipt)
def test_a_final_receipt_ends_the_follow_up(receipt: CancelReceipt) -> None:
    sim = Remote()
    sim.send()
    sim.submit()
    sim.cancel()
    decision = sim.settle(receipt)
    assert [(e.type, e.step_id, e.data) for e in decision.events] == [
        ("step.cancel_settled", "s0", {"receipt": receipt})
    ]
    assert (sim.task.cancel_receipt, sim.task.follow_up_until, sim.workflow.owner) == (receipt, None, None)
    assert sim.do(FollowUpEnded(0, sim.task.id, CancelReceipt.UNKNOWN)).has_rows is False


def test_a_job_reported_after_the_cancel_is_recorded() -> None:
    sim = Remote()
    sim.send()
    sim.cancel()
    decision = sim.submit()
    assert (sim.task.remote_id, sim.task.status, decision.events) == ("job-1", TaskStatus.CANCELLED, [])


def test_a_follow_up_continues_in_the_next_process() -> None:
    sim = Remote()
    sim.send()
    sim.submit()
    sim.cancel()
    sim.crash()
    assert sim.following == {sim.task.id}
    assert sim.run.remote.followed_up.get(sim.task.id) == sim.task
    sim.settle(CancelReceipt.PROVIDER_CANCELLED)
    sim.crash()
    assert sim.following == set()


def test_a_timeout_ends_the_job_and_counts_as_a_failure() -> None:
    sim = Remote()
    sim.send()
    sim.submit()
    first = sim.task.id
    decision = sim.time_out()
    assert [type(effect) for effect in decision.effects] == [FollowUp, WakeAt]
    assert (sim.task_rows[first].status, sim.task_rows[first].cancel_receipt) == (TaskStatus.FAILED, "unknown")
    sim.due(0)
    sim.dispatch(0)
    assert sim.task.attempt == 2
    sim.settle(CancelReceipt.FINISHED_TOO_LATE)
    assert sim.task_rows[first].cancel_receipt is CancelReceipt.FINISHED_TOO_LATE
    assert sim.drive() is WorkflowStatus.COMPLETED


def test_a_timeout_with_an_unknown_outcome_fails_the_step() -> None:
    sim = Remote()
    sim.send()
    sim.time_out()
    assert (sim.statuses, sim.task.outcome_unknown) == ([S.FAILED], True)


def test_a_timeout_before_a_request_was_sent_is_retried() -> None:
    sim = Remote()
    decision = sim.time_out()
    assert [type(effect) for effect in decision.effects] == [WakeAt]


@pytest.mark.parametrize("how", ["deadline", "on_failure"])
def test_every_way_to_cancel_an_attempt_follows_its_job_up(how: str) -> None:
    config = WorkflowConfig(on_failure=OnFailure.CANCEL, workflow_timeout_s=60)
    sim = Remote(steps=2, config=config, max_retries=0)
    sim.send()
    sim.submit()
    if how == "deadline":
        sim.timeout()
    else:
        sim.dispatch(1)
        sim.fail(1, provider_fault=False)
    assert (sim.status, len(sim.following), sim.workflow.owner) == (WorkflowStatus.FAILED, 1, OWNER)
    sim.resume()
    sim.settle(CancelReceipt.PROVIDER_REFUSED)
    assert sim.drive() is WorkflowStatus.COMPLETED


@pytest.mark.parametrize(
    "late",
    [
        Sending(0, UUID(int=404), SENT),
        OutcomeLost(0, UUID(int=404), "no answer"),
        Submitted(0, UUID(int=404), "job", {}),
        RemoteEnded(0, UUID(int=404)),
        FollowUpEnded(0, UUID(int=404), CancelReceipt.UNKNOWN),
    ],
)
def test_an_input_about_another_attempt_changes_nothing(late: Input) -> None:
    assert Remote().do(late).has_rows is False


def test_a_request_that_was_not_sent_after_all_leaves_no_trace() -> None:
    sim = Remote()
    sim.send()
    sim.do(Sending(0, sim.task.id, None))
    assert (sim.task.sent, sim.task.phase) == (None, TaskPhase.INTENT)
    sim.cancel()
    assert sim.task.cancel_receipt is CancelReceipt.NEVER_STARTED


@pytest.mark.parametrize("submitted", [False, True])
def test_a_bug_in_stepwell_ends_the_paid_job_and_starts_no_other(*, submitted: bool) -> None:
    sim = Remote()
    sim.send()
    if submitted:
        sim.submit()
    task_id = sim.task.id
    decision = sim.do(AttemptFailed(0, task_id, "internal error", True, True, 0.5, broken=True))  # noqa: FBT003
    assert decision.effects == [FollowUp(0, task_id)]
    assert (sim.statuses, sim.task.outcome_unknown) == ([S.FAILED], not submitted)
    assert (sim.status, sim.workflow.owner) == (WorkflowStatus.FAILED, OWNER)


def test_a_result_that_could_not_be_fetched_in_time_is_not_paid_for_again() -> None:
    sim = Remote()
    sim.send()
    sim.submit()
    sim.do(RemoteEnded(0, sim.task.id))
    decision = sim.time_out()
    assert (sim.statuses, decision.effects, sim.following) == ([S.FAILED], [], set())


@pytest.mark.parametrize("status", [WorkflowStatus.CANCELLED, WorkflowStatus.FAILED])
def test_giving_up_changes_only_the_jobs_of_a_workflow_that_has_ended(status: WorkflowStatus) -> None:
    sim = Remote()
    sim.send()
    sim.submit()
    if status is WorkflowStatus.CANCELLED:
        sim.cancel()
    else:
        sim.do(GiveUp("enough"))
    count = len(sim.events)
    sim.crash()
    assert sim.do(GiveUp("enough")).has_rows is False
    assert (sim.status, len(sim.events), sim.following) == (status, count, {sim.task.id})
    sim.settle(CancelReceipt.PROVIDER_CANCELLED)
    assert sim.workflow.owner is None
