"""The tree of a workflow's steps, as text of a fixed width."""

import re

from cli.workflow_commands.display_cases import after, rendered, step, workflow
from stepwell.cli.workflow_commands.display.watched_workflow import WatchedWorkflow
from stepwell.cli.workflow_commands.display.workflow_tree import WorkflowTree
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.contract.reasons import ExplainedStep, Explanation, IsPaused, WaitsForSlot, WaitsForSteps
from stepwell.contract.tasks import CostSums, Money
from stepwell.contract.workflows import ItemCounts


def _pipeline() -> WatchedWorkflow:
    cost = CostSums((Money(0.025, "USD"),))
    generate = step(
        "generate",
        status="COMPLETED",
        started_at=after(0),
        completed_at=after(4.2),
        provider="FAL",
        model="fal-ai/flux/dev",
        cost=cost,
    )
    refine = step("refine", "generate", status="RUNNING", started_at=after(5), provider="REPLICATE", retry_count=1)
    broken = step(
        "mask [bold]\x1b[2J",
        "generate",
        status="FAILED",
        started_at=after(5),
        completed_at=after(6),
        error_message="base_image_url: no image\nat all",
    )
    again = step(
        "again",
        "generate",
        status="RUNNING",
        started_at=after(5),
        next_attempt_at=after(67.5),
        error_message="503 from FAL",
    )
    state = WatchedWorkflow.of(workflow(generate, refine, broken, again, step("video", "refine", "again"), cost=cost))
    state.steps["refine"].progress, state.steps["refine"].word = 0.45, "IN_PROGRESS"
    waits = WaitsForSteps(detail="Waits for 'refine', 'again'.", unfinished=2, steps=["refine", "again"], stuck=[])
    explained = [ExplainedStep("video", StepStatus.PENDING, waits)]
    state.explain(Explanation(state.id, WorkflowStatus.RUNNING, None, explained))
    return state


def test_the_tree_shows_each_step_with_its_progress_or_reason() -> None:
    assert rendered(WorkflowTree(_pipeline(), after(65)), 110) == [
        "Fashion pipeline  RUNNING  019ac000-0000-7000-8000-0000deadbeef",
        "━━━━━━────────────────────────  20 %  1 of 5 steps  2 running  1 failed  1 min 05 s  0.025 USD",
        "",
        "1 ─ ✔ generate              4.2 s  FAL fal-ai/flux/dev  0.025 USD",
        "2 ┬ ⠋ refine           1 min 00 s  REPLICATE            retry 1 of 3  ━━━━────── 45 % IN_PROGRESS",
        "  ├ ✘ mask [bold]�[2J       1.0 s                       base_image_url: no image at all",
        "  └ ↻ again            1 min 00 s                       next attempt in 2.5 s  503 from FAL",
        "3 ─ · video                                             Waits for 'refine', 'again'.",
    ]


def test_the_retries_of_a_step_with_items_are_those_of_all_its_items() -> None:
    counts = ItemCounts(total=9, pending=0, running=2, completed=7, failed=0, retries=12)
    state = WatchedWorkflow.of(workflow(step("each", status="RUNNING", items=counts, retry_count=12)))
    assert rendered(WorkflowTree(state, after(2)))[3].endswith("7 of 9 items  retries: 12")


def test_a_narrow_terminal_leaves_out_providers_and_cuts_lines() -> None:
    lines = rendered(WorkflowTree(_pipeline(), after(65)), 50)
    assert lines[3:] == [
        "1 ─ ✔ generate              4.2 s  0.025 USD",
        "2 ┬ ⠋ refine           1 min 00 s  retry 1 of 3  …",
        "  ├ ✘ mask [bold]�[2J       1.0 s  base_image_url…",
        "  └ ↻ again            1 min 00 s  next attempt i…",
        "3 ─ · video                        Waits for 'ref…",
    ]
    assert max(map(len, lines)) <= 50


def test_the_reason_of_the_workflow_stands_below_with_what_to_do() -> None:
    state = WatchedWorkflow.of(workflow(step("a"), status="PAUSED"))
    paused = IsPaused(detail="The workflow was paused by me. Resume goes on.", by="me", at=after(1))
    state.explain(Explanation(state.id, WorkflowStatus.PAUSED, paused, []))
    assert rendered(WorkflowTree(state, after(2), notes=["a note"]))[3:] == [
        "1 ─ · a",
        "",
        "The workflow was paused by me. Resume goes on.",
        "To continue it: stepwell resume deadbeef",
        "a note",
    ]


def _wide_and_long() -> WatchedWorkflow:
    """1,000 steps in 500 layers; 3 run, one has failed, one waits for a slot."""
    steps = [step("s0", status="COMPLETED", started_at=after(0), completed_at=after(1))]
    steps += [step(f"s{i}", f"s{i - 1 if i % 2 else i - 2}") for i in range(1, 1000)]
    state = WatchedWorkflow.of(workflow(*steps))
    for i in (5, 7, 300):
        state.steps[f"s{i}"].status = StepStatus.RUNNING
    state.steps["s400"].status, state.steps["s400"].error = StepStatus.FAILED, "boom"
    slot = WaitsForSlot(detail="No slot.", limit="total", provider=None, model=None, slots=1, used=1, position=1)
    explained = [ExplainedStep("s900", StepStatus.PENDING, slot)]
    state.explain(Explanation(state.id, WorkflowStatus.RUNNING, None, explained))
    return state


def test_a_thousand_steps_fit_into_24_rows_with_the_important_ones() -> None:
    lines = rendered(WorkflowTree(_wide_and_long(), after(3), rows=24, notes=["a note"]))
    assert len(lines) <= 24
    assert lines[1] == "────────────────────────────   0 %  1 of 1,000 steps  3 running  1 failed  3.0 s"
    text = "\n".join(lines)
    for name in ("s5", "s7", "s300", "s400", "s900"):
        assert name in text.split()
    assert "boom" in text
    assert "No slot." in text
    assert lines[-1] == "a note"


def test_every_height_is_kept_and_every_step_counted() -> None:
    state = _wide_and_long()
    for rows in range(8, 60):
        lines = rendered(WorkflowTree(state, after(3), rows=rows))
        assert len(lines) <= rows
        tree = lines[3:]
        counted = sum(
            int(word) for line in tree if "…" in line for word in line.split("…")[1].split() if word.isdecimal()
        )
        assert counted + sum("…" not in line for line in tree) == 1000


def test_what_has_ended_last_is_shown_of_many_ended_steps() -> None:
    steps = [step(f"s{i}", status="COMPLETED", at=i, started_at=after(0), completed_at=after(i)) for i in range(100)]
    state = WatchedWorkflow.of(workflow(*steps, status="COMPLETED", completed_at=after(100)))
    lines = rendered(WorkflowTree(state, after(200), rows=7))
    assert lines[1:] == [
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 100 %  100 of 100 steps  1 min 40 s",
        "",
        "1 ┬ ✔ s97  1 min 37 s",
        "  ├ ✔ s98  1 min 38 s",
        "  ├ ✔ s99  1 min 39 s",
        "  └ … 97 completed",
    ]


def test_the_tree_says_why_a_step_was_skipped_and_that_a_failed_one_is_optional() -> None:
    state = WatchedWorkflow.of(
        workflow(
            step("judge", status="FAILED", optional=True, error_message="no answer"),
            step("refine", "judge", status="SKIPPED", skip_reason="failure"),
            step("video", "refine", status="SKIPPED", skip_reason="dependency"),
        )
    )
    assert [re.split(" {2,}", line)[-1] for line in rendered(WorkflowTree(state, after(9)))[3:]] == [
        "optional, no answer",
        "a step before it has failed",
        "a step that it needs was skipped",
    ]
