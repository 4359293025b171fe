"""The commands about steps that wait for decisions and signals, on a real `stepwell up`."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from msgspec import json
from rich.console import Console

from stepwell.cli.workflow_commands.decision_commands import decision_table, named_choice
from stepwell.cli.workflow_commands.text_tables import text_for
from stepwell.contract.workflows import AncestorStep, OpenDecision
from support.processes.command_line import CommandLine
from support.processes.stepwell_process import until

STEPS = [
    {"id": "a/b", "task_type": "APPROVAL", "config": {"message": "Print it?", "choices": ["yes", "no"]}},
    {"id": "paid", "task_type": "SIGNAL"},
]


def submitted(shell: CommandLine) -> str:
    """Submit a workflow whose steps wait. Return its id once they do."""
    definition = {"name": "review", "origin_instance": "tests", "steps": STEPS}
    assert shell("submit", "-", stdin=json.encode(definition).decode()).code == 0
    workflow_id: str = shell("show", "@last", "--json").json["id"]

    def waits() -> bool:
        steps: list[dict[str, Any]] = shell("show", workflow_id, "--json").json["steps"]
        return all(step["waiting_for"] is not None for step in steps)

    until(waits, 60, lambda: "the steps don't wait")
    return workflow_id


def test_a_step_is_listed_decided_and_signalled(shell: CommandLine) -> None:
    workflow_id = submitted(shell)
    listed = shell("decisions", workflow_id)
    _, question, choices = listed.out.splitlines()
    assert (listed.code, question.split()[0]) == (0, workflow_id[-8:])
    assert (question.split(maxsplit=3)[3], choices.strip()) == ("a/b: Print it?", "1 yes  2 no")
    assert [line["step_id"] for line in shell("decisions", workflow_id, "--json").lines] == ["a/b"]
    assert shell("explain", workflow_id).out.count("The wait began at") == 2
    assert shell("decide", workflow_id, "a/b", "maybe").code == 3
    assert shell("decide", workflow_id, "a/b", "yes", "--data", "{").code == 2
    assert shell("decide", workflow_id, "a/b", "3").code == 3
    decided = shell("decide", workflow_id, "a/b", "1", "--note", "good", "--data", '{"n": 1}', "--json").json
    assert (decided["result"]["choice"], decided["result"]["note"], decided["result"]["data"]) == (
        "yes",
        "good",
        {"n": 1},
    )
    late = shell("decide", workflow_id, "a/b", "no")
    assert late.code != 0
    assert "decided 'yes' at" in late.err
    assert shell("signal", workflow_id, "paid", "--data", "5").out == "paid COMPLETED\n"
    assert shell("decisions", workflow_id).out == "No step waits for a decision.\n"
    assert shell("signal", workflow_id, "nobody").code == 4


def test_a_token_that_may_only_decide_takes_numbers_too(shell: CommandLine) -> None:
    workflow_id = submitted(shell)
    token = shell("token", "--scope", "workflows:approve").out.strip()
    assert shell("decide", workflow_id, "a/b", "2", "--token", token).out == "a/b COMPLETED\n"
    assert shell("show", workflow_id, "--json").json["steps"][0]["result"]["choice"] == "no"


def test_a_parent_shows_the_sub_workflows_of_its_items_and_what_they_wait_for(shell: CommandLine) -> None:
    config = {"workflow": {"name": "each", "steps": [{"id": "ask", "task_type": "APPROVAL"}]}}
    steps = [{"id": "sub", "task_type": "SUBWORKFLOW", "for_each": {"count": 1}, "config": config}]
    definition = {"name": "parent", "origin_instance": "tests", "steps": steps}
    assert shell("submit", "-", stdin=json.encode(definition).decode()).code == 0
    parent = shell("show", "@last", "--json").json["id"]
    until(lambda: "ask" in shell("decisions", parent).out, 60, lambda: "no step of the sub-workflow waits")
    child = shell("decisions", parent, "--json").json["workflow_id"]
    assert f"waits for the sub-workflow {child}" in shell("items", parent, "sub").out
    explained = [line.strip() for line in shell("explain", parent).out.splitlines()]
    assert any(line.startswith("ask") and f"In {child[-8:]}: Waits for a decision" in line for line in explained)
    found = shell("ls", "--waits-for", "decision", "--name", "parent")
    assert [line.split()[0] for line in found.out.splitlines()[1:]] == [parent[-8:]]
    assert "RUNNING (decision)" in found.out
    assert shell("ls", "--waits-for", "signal", "--name", "parent", "--json").lines == []
    assert any(line.split()[:2] == [child[-8:], "ask"] for line in shell("top").out.splitlines())
    assert shell("decide", child[-8:], "ask", "approve").out == "ask COMPLETED\n"
    until(lambda: "COMPLETED" in shell("show", parent).out, 60, lambda: "the parent hasn't ended")
    assert shell("decisions", parent).out == "No step waits for a decision.\n"


@pytest.mark.parametrize(
    ("choice", "choices", "expected"),
    [
        ("2", ["yes", "no"], "no"),
        ("2", ["2", "no"], "2"),
        ("2", ["1", "yes", "2"], "2"),
        ("0", ["yes", "no"], "0"),
        ("3", ["yes", "no"], "3"),
    ],
)
def test_a_number_is_the_name_of_a_choice_or_else_its_position(choice: str, choices: list[str], expected: str) -> None:
    assert named_choice(choice, choices) == expected


@pytest.mark.parametrize("width", [40, 80])
def test_the_list_of_decisions_fits_the_terminal(width: int) -> None:
    choices = [f"media/0c6c2f8a-1111-4c2b-9a7d-0a2311908c0e/each/{index}/result.png" for index in range(4)]
    decision = OpenDecision(
        workflow_id=UUID(int=1),
        workflow_name="each",
        ancestors=[
            AncestorStep(workflow_id=UUID(int=2), workflow_name="set", step_id="each", item=3, value="red shoe"),
        ],
        labels={},
        origin_tenant_id=None,
        step_id="pick",
        message="Which of them? " * 500,
        choices=choices,
        since=datetime(2026, 1, 1, tzinfo=UTC),
        until=None,
        inputs={},
        files=[],
        decision_url="",
    )
    console = Console(file=StringIO(), width=width)
    lines = text_for(console, decision_table([decision])).splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) <= width
    if width == 80:
        assert "pick: red shoe, Which" in lines[1]
        assert [line.strip() for line in lines[2:]] == [
            f"{number} {choice}" for number, choice in enumerate(choices, 1)
        ]
