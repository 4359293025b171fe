"""The README is run as it stands: a stale command, setting or path in it fails here."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import fields
from PIL import Image

from stepwell.api.routes import openapi_document
from stepwell.cli.examples import example
from stepwell.contract.enums import EventType
from stepwell.contract.reasons import StepReason, WorkflowReason
from stepwell.domain.setting_names import PREFIX
from stepwell.settings import Settings
from support.database.postgres import fresh_folder
from support.processes.pasting import USERS, make_tools, paste, reserved_port
from support.processes.source_tree import TOP, copy_tree, shell_blocks
from support.processes.stepwell_process import surroundings

README = (TOP / "README.md").read_text()
*BLOCKS, TEST_LINE = shell_blocks(README)
JSON_BLOCKS = re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
_PATH_OF_USERS = "/usr/local/bin:/usr/bin:/bin"  # root may have a Python that is closed to others


@pytest.mark.parametrize("user", USERS)
def test_all_blocks_pasted_into_one_shell_work(user: str | None) -> None:
    with fresh_folder() as folder, reserved_port() as port:
        clone = copy_tree(folder / "clone")
        env = surroundings({"STEPWELL_PORT": str(port)})
        if user is None:
            data_dir = folder / "data"
            env["STEPWELL_DATA_DIR"] = str(data_dir)
        else:
            (folder / "home").mkdir()
            data_dir = folder / "home/.local/share/stepwell"  # where it is without a setting
            env |= {"HOME": str(folder / "home"), "PATH": _PATH_OF_USERS}
        env["PATH"] = f"{make_tools(folder)}:{env['PATH']}"
        if user is not None:
            subprocess.run(["chown", "-R", user, folder], check=True)
        output = paste("".join(BLOCKS), clone, env, data_dir, user)
        _check_files(clone, json.loads(_output_of_run(output)))
        assert json.loads(output.splitlines()[-1])["steps"] == 4_000


def _check_files(work: Path, ran: dict[str, Any]) -> None:
    """Check the files that the commands wrote in *work*, and *ran*, the output of `stepwell run`."""
    with Image.open(work / "fashion.png") as image:
        assert image.size == (2048, 2048)
    shown, found = json.loads(JSON_BLOCKS[1]), _file(work, "workflow")
    assert found["status"] == "COMPLETED"
    assert shown.keys() <= found.keys()
    assert shown["final_step_result"].keys() == found["final_step_result"].keys()
    assert len(_file(work, "cleanup")["cleanup"]["deleted_paths"]) == 2
    assert (ran["status"], len(ran["files"])) == ("COMPLETED", 2)
    done, explained, planned, dry = (_file(work, name) for name in ("done", "explain", "plan", "dry"))
    assert (done["status"], explained["steps"]) == ("COMPLETED", [])
    assert planned["layers"] == [["generate"], ["refine"]]
    assert (dry["verb"], len(dry["files_to_delete"])) == ("cleanup", 2)
    frames = (work / "events.txt").read_text().split("\n\n")
    assert "event: workflow.completed" in [line for frame in frames for line in frame.splitlines()]


def _file(work: Path, name: str) -> Any:
    return json.loads((work / f"{name}.json").read_text())


def _output_of_run(output: str) -> str:
    """Return the JSON in the shell's output that `stepwell run` printed."""
    found = re.findall(r"^\{\n  \"workflow_id\".*?^\}$", output, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, output
    return str(found[0])


def test_the_definition_that_is_shown_is_the_example() -> None:
    assert json.loads(JSON_BLOCKS[0]) == json.loads(example("fashion"))


def test_ci_runs_the_last_block() -> None:
    assert "'.[test]'" in TEST_LINE
    assert README.count("'.[test]'") == 1
    assert "grep -m1 -F \"'.[test]'\" README.md" in (TOP / ".ci/run").read_text()


def test_every_setting_is_told_and_no_other() -> None:
    told = {name.partition("__")[0] for name in re.findall(rf"{PREFIX}[A-Z0-9_]+[A-Z]", README)}
    assert told == {PREFIX + setting.name.upper() for setting in fields(Settings)}


def test_every_route_is_told() -> None:
    told = README.replace("{id}", "{workflow_id}")
    for path in openapi_document()["paths"]:
        assert path.removeprefix("/schema/").replace("{path}", "media/{task_id}/{name}") in told, path


def test_every_type_of_event_is_told() -> None:
    for group in ("workflow", "step"):
        first, *others = (kind.removeprefix(group) for kind in EventType if kind.startswith(f"{group}."))
        assert ", ".join([f"`{group}{first}`", *(f"`{other}`" for other in others)]) in README.replace("\n", " ")


def test_every_reason_why_it_does_not_move_is_told() -> None:
    section = README.partition("### Why isn't it moving?")[2].partition("\n### ")[0]
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)))
    for reason in (*get_args(WorkflowReason), *get_args(StepReason)):
        assert told.count(reason.__struct_config__.tag) == 1, reason


def test_every_link_into_the_tree_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", README) + re.findall(
        r"`((?:deploy|tests|src)/[\w./-]+)`", README
    )
    assert targets
    for target in targets:
        assert (TOP / target).exists(), target
