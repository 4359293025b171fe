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
    assert shell("explain", workflow_id).out.count("Waits since") == 2
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
