"""The README is run as it stands: a user pastes its shell blocks. `tests/manual` does the same with the manual."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stepwell.cli.examples import example
from stepwell.testing.folders import fresh_folder
from support.documents.diagrams import loose_ends
from support.documents.manual import unknown_settings
from support.documents.markdown import Block, blocks_of
from support.processes.pasting import make_tools, paste, reserved_port
from support.processes.source_tree import TOP, copy_tree
from support.processes.stepwell_process import surroundings

README = (TOP / "README.md").read_text()
*BLOCKS, TEST_LINE = [block.text for block in blocks_of(README) if block.is_run]
INSTALLATION = "python3 -m venv .venv && .venv/bin/pip install -q -c deploy/constraints.txt . && "


def test_all_blocks_but_the_installation_work_in_one_shell() -> None:
    """This environment is the one that is installed."""
    with fresh_folder() as folder, reserved_port() as port:
        (folder / "work").mkdir()
        (folder / "work/.venv").symlink_to(sys.prefix)
        env = surroundings({"STEPWELL_PORT": str(port), "STEPWELL_DATA_DIR": str(folder / "data")})
        env["PATH"] = f"{make_tools(folder)}:{env['PATH']}"
        lines = "".join(BLOCKS)
        assert lines.startswith(INSTALLATION)
        _check(paste(lines.removeprefix(INSTALLATION), folder / "work", env, folder / "data"), folder / "work")


@pytest.mark.extended
def test_all_blocks_pasted_into_one_shell_work() -> None:
    """Root uses a data folder of its own, an ordinary user the one in the home. CI runs this as both."""
    with fresh_folder() as folder, reserved_port() as port:
        clone = copy_tree(folder / "clone")
        if os.geteuid() == 0:
            data_dir = folder / "data"
            own = {"STEPWELL_DATA_DIR": str(data_dir)}
        else:
            (folder / "home").mkdir()
            data_dir = folder / "home/.local/share/stepwell"  # where it is without a setting
            own = {"HOME": str(folder / "home"), "PIP_CACHE_DIR": str(Path.home() / ".cache/pip")}
        env = surroundings({"STEPWELL_PORT": str(port)} | own)
        env["PATH"] = f"{make_tools(folder)}:{env['PATH']}"
        _check(paste("".join(BLOCKS), clone, env, data_dir), clone)


def _check(output: str, work: Path) -> None:
    """Check what the commands printed, and the files that they wrote in *work*."""
    _check_files(work)
    outcomes = _outcomes_of_runs(output)
    assert [(each["status"], len(each["files"])) for each in outcomes] == [("COMPLETED", 2)] * 2
    with Image.open(outcomes[0]["files"][-1]) as image:
        assert image.size == (2048, 2048)
    assert json.loads(output.splitlines()[-1])["steps"] == 4_000


def _check_files(work: Path) -> None:
    """Check the files that the commands wrote in *work*."""
    with Image.open(work / "fashion.png") as image:
        assert image.size == (2048, 2048)
    assert json.loads((work / "workflow.json").read_text())["status"] == "COMPLETED"
    definition = json.loads((work / "pipeline.json").read_text())
    assert definition.items() <= json.loads(example("fashion")).items()


def _outcomes_of_runs(output: str) -> list[Any]:
    """Return the JSON texts in the shell's output that `stepwell run` printed."""
    outcomes = re.findall(r"^\{\n  \"workflow_id\".*?^\}$", output, re.MULTILINE | re.DOTALL)
    return [json.loads(each) for each in outcomes]


def test_the_section_start_begins_with_one_line_that_installs_stepwell_and_makes_an_image() -> None:
    assert BLOCKS[0] == f"{INSTALLATION}.venv/bin/stepwell example fashion | .venv/bin/stepwell run -\n"
    assert README.index("## Start") < README.index(BLOCKS[0]) < README.index("stepwell up &")


def test_the_readme_has_at_most_200_lines() -> None:
    assert len(README.splitlines()) <= 200


def test_ci_runs_the_last_block() -> None:
    assert "'.[test]'" in TEST_LINE
    assert README.count("'.[test]'") == 1
    assert "grep -m1 -F \"'.[test]'\" README.md" in (TOP / ".ci/run").read_text()


def test_the_other_blocks_are_a_diagram_and_one_command() -> None:
    diagram, command = (block for block in blocks_of(README) if not block.is_run)
    assert loose_ends(diagram.text) == []
    assert command == Block("sh", "stepwell serve --host 0.0.0.0\n", "not run: it needs a PostgreSQL")


def test_every_setting_that_is_named_exists() -> None:
    assert unknown_settings(README) == set()


def test_every_link_into_the_tree_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert len(targets) > 10
    for target in targets:
        assert (TOP / target).exists(), target


def test_the_rates_are_those_of_the_manual() -> None:
    manual = (TOP / "src/stepwell/manual/performance.md").read_text()
    table = re.compile(r"^\| steps/s \|.*\n\| ---.*\n(?:\|.*\n)+", re.MULTILINE)
    (medians,), (spreads,) = table.findall(README), table.findall(manual)
    assert medians == re.sub(r" \([\d,-]+\)", "", spreads)
    assert medians.count("\n") == 5
