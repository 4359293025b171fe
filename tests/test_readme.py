"""The README is run as it stands: a stale command, setting or path in it fails here."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx
import pytest
from msgspec.structs import fields
from PIL import Image

from stepwell.api.routes import openapi_document
from stepwell.domain.explanation import StepReason, WorkflowReason
from stepwell.domain.model import EventType
from stepwell.domain.setting_names import PREFIX
from stepwell.settings import Settings
from support.postgres import fresh_folder
from support.processes import surroundings, until
from support.tree import TOP, bash, copy_tree, shell_blocks

README = (TOP / "README.md").read_text()
BLOCKS = shell_blocks(README)
UP_LINE, TEST_LINE = BLOCKS[0].splitlines()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with fresh_folder() as folder:
        yield folder


def test_first_block_brings_it_up_and_the_others_work_with_it(folder: Path) -> None:
    clone, (port, url) = copy_tree(folder / "clone"), _free_address()
    env = surroundings({"STEPWELL_DATA_DIR": str(folder / "data"), "STEPWELL_PORT": port})
    log = (folder / "up.log").open("wb")
    up = subprocess.Popen(["bash", "-c", UP_LINE], cwd=clone, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: up.poll() is not None or _ready(url), 300, (folder / "up.log").read_text)
        assert up.poll() is None, (folder / "up.log").read_text()
        _run_examples(folder, clone, url, env)
    finally:
        os.killpg(up.pid, signal.SIGTERM)
        up.wait(30)
        log.close()


def _run_examples(folder: Path, clone: Path, url: str, env: dict[str, str]) -> None:
    work = folder / "work"
    work.mkdir()
    tools = folder / "tools"
    tools.mkdir()
    if shutil.which("curl") is None:
        shutil.copy(TOP / "tests/support/curl", tools / "curl")
    env = {**env, "PATH": f"{clone}/.venv/bin:{tools}:{os.environ['PATH']}"}
    access, create, read, picture, cleanup, run, told, token, bench = BLOCKS[1:]
    access = access.replace("http://127.0.0.1:9000", url)
    bash(access + create, work, env)
    workflow_id = json.loads((work / "workflow.json").read_text())["id"]
    key = {"Authorization": f"Bearer {(folder / 'data/token').read_text().strip()}"}
    address = f"{url}/api/v1/workflows/{workflow_id}"
    until(lambda: httpx.get(address, headers=key).json()["status"] == "COMPLETED", 60)
    env["ID"] = workflow_id
    bash(access + read + picture + cleanup, work, env)
    with Image.open(work / "fashion.png") as image:
        assert image.size == (2048, 2048)
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0])
    found = json.loads((work / "workflow.json").read_text())
    assert shown.keys() <= found.keys()
    assert shown["final_step_result"].keys() == found["final_step_result"].keys()
    assert len(json.loads((work / "cleanup.json").read_text())["cleanup"]["deleted_paths"]) == 2

    body = re.search(r"-d '(\{.*?\})'", create, re.DOTALL)
    assert body is not None
    (work / "pipeline.json").write_text(body[1])
    bash(run, work, {**env, "STEPWELL_DATA_DIR": str(folder / "other")})
    bash(access + told, work, env)
    _check_told(work)
    made = bash(token, work, env).split()[-1]
    listed = httpx.get(f"{url}/api/v1/workflows/", headers={"Authorization": f"Bearer {made}"})
    assert (listed.status_code, listed.json()["total"]) == (200, 0)
    measured = bash(bench, work, {**env, "STEPWELL_DATA_DIR": str(folder / "other")}).splitlines()[-1]
    assert json.loads(measured)["steps"] == 4_000


def _check_told(work: Path) -> None:
    done, explained, planned, dry = (
        json.loads((work / f"{name}.json").read_text()) for name in ("done", "explain", "plan", "dry")
    )
    assert (done["status"], explained["steps"]) == ("COMPLETED", [])
    assert planned["layers"] == [["generate"], ["refine"]]
    assert (dry["verb"], len(dry["files_to_delete"])) == ("cleanup", 2)
    frames = (work / "events.txt").read_text().split("\n\n")
    assert "event: workflow.completed" in [line for frame in frames for line in frame.splitlines()]


def test_ci_runs_the_second_line_of_the_first_block() -> None:
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


def _free_address() -> tuple[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return str(port), f"http://127.0.0.1:{port}"


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
