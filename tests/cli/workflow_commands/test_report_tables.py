"""Tables, event lines and the overview, as text of a fixed width."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from cli.workflow_commands.display_cases import WORKFLOW_ID, after, event, rendered, workflow
from stepwell.cli.workflow_commands.display.event_lines import event_line
from stepwell.cli.workflow_commands.display.report_tables import (
    cost_table,
    delivery_table,
    explanation_table,
    provider_table,
    task_table,
)
from stepwell.cli.workflow_commands.display.step_advice import step_advice, workflow_advice
from stepwell.cli.workflow_commands.text_tables import byte_size, duration, exact_number, time_text
from stepwell.cli.workflow_commands.top import ServiceOverview, ServiceSnapshot
from stepwell.contract.enums import (
    BreakerState,
    DeliveryStatus,
    EventType,
    ProviderType,
    StepStatus,
    TaskPhase,
    TaskStatus,
    TaskType,
    WorkflowStatus,
)
from stepwell.contract.events import DeliveryAttemptPublic, DeliveryPublic
from stepwell.contract.providers import BreakerStatus, Latency, ModelLimit, ModelStatus, ProviderStatus
from stepwell.contract.reasons import (
    ExplainedStep,
    Explanation,
    FailedElsewhere,
    HasFailed,
    IsPaused,
    NotStarted,
    OutcomeNotKnown,
    RateLimited,
    RemoteJob,
    StepReason,
    WaitsForSlot,
    WaitsForSteps,
)
from stepwell.contract.tasks import Cost, CostGroup, Output, TaskPublic
from stepwell.lifecycle.allowed_verbs import ALLOWED_FROM


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7265, "2 h 01 min"),
        (90_000, "1 d 01 h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes_and_numbers_are_plain() -> None:
    assert [byte_size(n) for n in (0, 999, 1000, 999_949, 999_950, 5 * 10**12, 10**16)] == [
        *("0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "5.0 TB", "10000.0 TB")
    ]
    numbers = (0.1, 1e-7, 1234567.89, 1e21, 5.0, Decimal("0.10"), Decimal(100))
    assert [exact_number(n) for n in numbers] == [
        *("0.1", "0.0000001", "1234567.89", "1000000000000000000000", "5", "0.1", "100")
    ]


def test_an_event_is_one_line_that_cannot_control_the_terminal() -> None:
    line = event_line(event(7, "step.retrying", 1.5, "a\x1b[2J\nb", attempt=1, error="[red]no", next_attempt_at=None))
    assert line.plain.split(" ", 2)[2] == ("   7 step.retrying        a�[2J b attempt=1 error=[red]no by service")


def _task(**members: Any) -> TaskPublic:
    content: dict[str, Any] = {
        "id": UUID(int=2),
        "workflow_id": WORKFLOW_ID,
        "step_id": "generate",
        "item": None,
        "task_type": "GENERATION",
        "attempt": 1,
        "provider": "FAL",
        "status": TaskStatus.COMPLETED,
        "phase": TaskPhase.STORED,
        "seed": 1,
        "remote_id": "r-1",
        "outcome_unknown": False,
        "cancel_receipt": None,
        "model": "fal-ai/flux",
        "sent_at": None,
        "cost": None,
        "outputs": [],
        "error": None,
        "started_at": after(0),
        "completed_at": after(2),
        "created_at": after(0),
        "is_deleted": False,
        "deleted_at": None,
    }
    return TaskPublic(**content | members)


def test_tasks_show_their_files_costs_and_errors() -> None:
    failed = _task(status=TaskStatus.FAILED, error="503: [bold] busy", cancel_receipt="unknown")
    done = _task(attempt=2, outputs=[Output("media/2/a.png", 2_500_000, "00")], cost=Cost(0.0000025, "USD", "settings"))
    running = _task(step_id="refine", provider="LOCAL", model=None, remote_id=None, completed_at=None)
    assert rendered(task_table([failed, done, running], after(65)), 140) == [
        "STEP      ATTEMPT  STATUS     WHERE                      TIME  COST           OUTPUTS OR ERROR",
        "generate        1  FAILED     FAL fal-ai/flux r-1       2.0 s                 503: [bold] busy, job: unknown",
        "generate        2  COMPLETED  FAL fal-ai/flux r-1       2.0 s  0.0000025 USD  a.png (2.5 MB)",
        "refine          1  COMPLETED  LOCAL                1 min 05 s",
    ]


def test_deliveries_show_the_last_response() -> None:
    attempts = [
        DeliveryAttemptPublic(after(1), None, None, None, "no route"),
        DeliveryAttemptPublic(after(2), 500, 12, "x", None),
    ]
    type_ = EventType.WORKFLOW_COMPLETED
    deliveries = [
        DeliveryPublic("d1", 7, type_, DeliveryStatus.PENDING, after(9), after(0), attempts),
        DeliveryPublic("d2", 8, type_, DeliveryStatus.FAILED, None, after(0), attempts[:1]),
        DeliveryPublic("d3", 9, type_, DeliveryStatus.STOPPED, None, after(0), []),
    ]
    assert rendered(delivery_table(deliveries), 110) == [
        "DELIVERY  STATUS   EVENT AND LAST ATTEMPT",
        f"d1        PENDING  workflow.completed, attempt 2: 500, next attempt at {time_text(after(9))}",
        "d2        FAILED   workflow.completed, attempt 1: no route",
        "d3        STOPPED  workflow.completed",
    ]


def _providers() -> list[ProviderStatus]:
    open_ = BreakerStatus(BreakerState.OPEN, 5, after(30))
    closed = BreakerStatus(BreakerState.CLOSED, 0, None)
    models = [
        ModelStatus("flux", ModelLimit(2, 600), 2, 3, open_, 10, 0.5, Latency(4.25)),
        ModelStatus("veo", None, 0, 0, closed, 0, None, Latency()),
    ]
    detail = "The key default is refused."
    return [
        ProviderStatus(ProviderType.LOCAL, {TaskType.GENERATION: ()}, 2, 1, 0, []),
        ProviderStatus(ProviderType.FAL, {TaskType.GENERATION: ()}, 100, 2, 3, models, detail=detail),
    ]


def test_providers_show_their_slots_breakers_and_refused_keys() -> None:
    about = f"10 attempts in 5 min, at most 600 a minute, open until {time_text(after(30))}"
    assert rendered(provider_table(_providers()), 160) == [
        "PROVIDER  RUNNING  WAITING  BREAKER  ERRORS  MEDIAN  ABOUT",
        "LOCAL         1/2        0                           GENERATION",
        "FAL         2/100        3                           The key default is refused.",
        f" flux         2/2        3  open       50 %   4.2 s  {about}",
        " veo            0        0  closed",
    ]


def test_costs_are_exact_and_have_the_keys_of_the_sums() -> None:
    costs = [
        CostGroup(
            tenant=None,
            day=date(2026, 11, 1),
            currency="USD",
            amount=_amount("0.10000000000000000001"),
            attempts=1,
            saved=_amount("0"),
        ),
        CostGroup(
            tenant="acme",
            day=date(2026, 11, 2),
            currency="EUR",
            amount=_amount("12"),
            attempts=1234,
            saved=_amount("3.50"),
        ),
    ]
    assert rendered(cost_table(costs)) == [
        "TENANT  DAY                         AMOUNT  SAVED  CURRENCY  ATTEMPTS",
        "-       2026-11-01  0.10000000000000000001      0  USD              1",
        "acme    2026-11-02                      12    3.5  EUR          1,234",
    ]
    assert rendered(cost_table([])) == ["There are no costs."]


def _amount(text: str) -> Any:
    return Decimal(text)


def _explanation() -> Explanation:
    paused = IsPaused(detail="The workflow was paused.", by="me", at=after(0))
    steps = [
        ExplainedStep("a", StepStatus.RUNNING, _job("a")),
        ExplainedStep(
            "b",
            StepStatus.PENDING,
            WaitsForSlot(
                detail="No slot.",
                limit="provider",
                provider=ProviderType.LOCAL,
                model=None,
                slots=2,
                used=2,
                position=1,
            ),
        ),
        ExplainedStep(
            "c",
            StepStatus.PENDING,
            RateLimited(
                detail="Too fast.", provider=ProviderType.FAL, model="m", per_minute=1, until=after(9), position=1
            ),
        ),
        ExplainedStep(
            "d", StepStatus.PENDING, WaitsForSteps(detail="'x' failed.", unfinished=1, steps=["x"], stuck=["x"])
        ),
        ExplainedStep("e", StepStatus.PENDING, WaitsForSteps(detail="Waits.", unfinished=1, steps=["a"], stuck=[])),
    ]
    return Explanation(WORKFLOW_ID, WorkflowStatus.PAUSED, paused, steps)


def _job(remote_id: str) -> RemoteJob:
    return RemoteJob(
        detail=f"Job {remote_id} at FAL is 'IN_QUEUE' for 3 s.",
        attempt=1,
        provider=ProviderType.FAL,
        remote_id=remote_id,
        state="IN_QUEUE",
        since=after(0),
        seconds=3,
        progress=None,
        trouble=None,
    )


def test_an_explanation_says_why_and_what_to_do() -> None:
    assert rendered(explanation_table(_explanation())) == [
        "STEP      STATUS   REASON",
        "workflow  PAUSED   The workflow was paused.",
        "                   To continue it: stepwell resume deadbeef",
        "a         RUNNING  Job a at FAL is 'IN_QUEUE' for 3 s.",
        "b         PENDING  No slot.",
        "                   It starts when a slot is free. The limit:",
        "                   STEPWELL_MAX_LOCAL_STEPS",
        "c         PENDING  Too fast.",
        "                   It starts by itself. The limit: STEPWELL_LIMITS",
        "d         PENDING  'x' failed.",
        "                   Remove the cause, then: stepwell resume deadbeef",
        "e         PENDING  Waits.",
    ]


@pytest.mark.parametrize("status", WorkflowStatus)
def test_advice_names_only_commands_that_the_status_allows(status: WorkflowStatus) -> None:
    job_lost = OutcomeNotKnown(detail="Lost.", attempt=1, provider=ProviderType.FAL, since=after(0), trouble=None)
    reasons: list[StepReason] = [
        NotStarted(detail="x"),
        IsPaused(detail="x", by=None, at=None),
        FailedElsewhere(detail="x", steps=["a"], failure=None),
        WaitsForSteps(detail="x", unfinished=1, steps=["a"], stuck=["a"]),
        job_lost,
    ]
    failed = HasFailed(detail="x", steps=["a"], error="x", failure=None)
    advice = [step_advice(reason, WORKFLOW_ID, status) for reason in reasons]
    advice.append(workflow_advice(failed, WORKFLOW_ID, status))
    commands = {text.split("stepwell ")[1].split()[0] for text in advice if text is not None}
    assert commands == {verb for verb in ("start", "resume", "cancel") if status in ALLOWED_FROM[verb]}


def test_the_overview_shows_what_runs_and_waits_within_the_rows() -> None:
    running = workflow(progress=25.0, total_steps=4, completed_steps=1)
    counts = {WorkflowStatus.RUNNING: 1, WorkflowStatus.COMPLETED: 1200, WorkflowStatus.FAILED: 0}
    snapshot = ServiceSnapshot(after(65), counts, [running], _providers(), [_explanation()])
    assert rendered(ServiceOverview(snapshot, note="a note")) == [
        "12:01:05 UTC  1 RUNNING  1,200 COMPLETED",
        "",
        "WORKFLOW  PROGRESS          STEPS        TIME  COST  NAME              REASON",
        "deadbeef  ━━────────  25 %    1/4  1 min 05 s  -     Fashion pipeline  The work…",
        "",
        "WORKFLOW  STEP  STATUS   REASON",
        "deadbeef  a     RUNNING  Job a at FAL is 'IN_QUEUE' for 3 s.",
        "deadbeef  b     PENDING  No slot.",
        "deadbeef  c     PENDING  Too fast.",
        "deadbeef  d     PENDING  'x' failed.",
        "",
        "PROVIDER  RUNNING  WAITING  BREAKER  ERRORS  MEDIAN  ABOUT",
        "LOCAL         1/2        0                           GENERATION",
        "FAL         2/100        3                           The key default is refused.",
        " flux         2/2        3  open       50 %   4.2 s  10 attempts in 5 min, at m…",
        " veo            0        0  closed",
        "a note",
    ]
    for rows in range(15, 24):
        assert len(rendered(ServiceOverview(snapshot, rows=rows, note="a note"))) <= rows
    assert rendered(ServiceOverview(snapshot, rows=15))[5:9] == [
        "WORKFLOW  STEP  STATUS   REASON",
        "deadbeef  a     RUNNING  Job a at FAL is 'IN_QUEUE' for 3 s.",
        "deadbeef  b     PENDING  No slot.",
        "… 2 more",
    ]
