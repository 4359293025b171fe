"""`stepwell budget`: what a workflow has spent of its budget, and how the budget is changed."""

from msgspec import json

from support.processes.command_line import CommandLine
from support.workflows.image_pipelines import pipeline

BUDGET = {"max_cost": {"USD": "5.00"}, "max_attempts": 200}


def submitted(shell: CommandLine, **config: object) -> str:
    done = shell("submit", "-", "--no-start", stdin=json.encode(pipeline(config=config)).decode())
    assert done.code == 0, done.err
    return done.out.strip()


def test_a_budget_is_shown_and_changed(shell: CommandLine) -> None:
    workflow_id = submitted(shell, budget=BUDGET)
    lines = [line.split() for line in shell("budget", workflow_id).out.splitlines()]
    assert lines == [
        ["UNIT", "SPENT", "RESERVED", "AT", "MOST", "LEFT"],
        ["USD", "0", "0", "5", "5"],
        ["attempts", "0", "0", "200", "200"],
    ]
    changed = shell("budget", workflow_id, "--max-cost", "EUR=0.25", "--max-attempts", "300", "--json").json["budget"]
    assert {name: part["maximum"] for name, part in changed["costs"].items()} == {"USD": 5, "EUR": 0.25}
    assert changed["attempts"]["maximum"] == 300


def test_a_wrong_limit_is_refused_before_anything_is_sent(shell: CommandLine) -> None:
    done = shell("budget", submitted(shell, budget=BUDGET), "--max-cost", "5 dollars")
    assert (done.code, "like USD=8.00" in done.err) == (2, True)


def test_a_workflow_without_a_budget_says_so(shell: CommandLine) -> None:
    workflow_id = submitted(shell)
    assert shell("budget", workflow_id).out == "The workflow has no budget.\n"
    assert "created without a budget" in shell("budget", workflow_id, "--max-attempts", "3").err


def test_a_plan_says_whether_the_worst_case_fits(shell: CommandLine) -> None:
    done = shell("plan", "-", stdin=json.encode(pipeline(config={"budget": BUDGET})).decode())
    assert "the worst case fits" in done.out
