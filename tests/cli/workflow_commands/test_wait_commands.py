"""The commands about steps that wait for decisions and signals, on a real `stepwell up`."""

from typing import Any

from msgspec import json

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
    assert (listed.code, listed.out.splitlines()[1].split()[:2]) == (0, [workflow_id[-8:], "a/b"])
    assert "yes no" in listed.out
    assert "Print it?" in listed.out
    assert [line["step_id"] for line in shell("decisions", workflow_id, "--json").lines] == ["a/b"]
    assert shell("explain", workflow_id).out.count("The wait began at") == 2
    assert shell("decide", workflow_id, "a/b", "maybe").code == 3
    assert shell("decide", workflow_id, "a/b", "yes", "--data", "{").code == 2
    decided = shell("decide", workflow_id, "a/b", "yes", "--note", "good", "--data", '{"n": 1}', "--json").json
    assert (decided["result"]["note"], decided["result"]["data"]) == ("good", {"n": 1})
    late = shell("decide", workflow_id, "a/b", "no")
    assert late.code != 0
    assert "decided 'yes' at" in late.err
    assert shell("signal", workflow_id, "paid", "--data", "5").out == "paid COMPLETED\n"
    assert shell("decisions", workflow_id).out == "No step waits for a decision.\n"
    assert shell("signal", workflow_id, "nobody").code == 4


def test_a_parent_shows_the_sub_workflows_of_its_items_and_what_they_wait_for(shell: CommandLine) -> None:
    config = {"workflow": {"name": "each", "steps": [{"id": "ask", "task_type": "APPROVAL"}]}}
    steps = [{"id": "sub", "task_type": "SUBWORKFLOW", "for_each": {"count": 1}, "config": config}]
    definition = {"name": "parent", "origin_instance": "tests", "steps": steps}
    assert shell("submit", "-", stdin=json.encode(definition).decode()).code == 0
    parent = shell("show", "@last", "--json").json["id"]
    until(lambda: "ask" in shell("decisions", parent).out, 60, lambda: "no step of the sub-workflow waits")
    child = shell("decisions", parent, "--json").json["workflow_id"]
    assert f"waits for the sub-workflow {child}" in shell("items", parent, "sub").out
    assert shell("decide", child[-8:], "ask", "approve").out == "ask COMPLETED\n"
    until(lambda: "COMPLETED" in shell("show", parent).out, 60, lambda: "the parent hasn't ended")
    assert shell("decisions", parent).out == "No step waits for a decision.\n"
