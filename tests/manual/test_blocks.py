"""The manual is run as it stands: a user pastes the shell blocks of each page into a shell of its own.

All pages share one service, which uses emulators of the providers. A page that starts a service has that service alone.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml

from stepwell.cli.examples import example
from support.database.postgres import fresh_folder
from support.documents.manual import NOT_RUN, pages
from support.documents.markdown import Block, blocks_of, file_texts, shell_text
from support.processes.pasting import make_tools, paste, reserved_port
from support.processes.stepwell_process import StepwellProcess, running_up, surroundings
from support.providers.emulated import ANSWERING, REMOTE
from support.providers.emulated_in_thread import emulated

PAGES = pages()
BLOCKS = {name: blocks_of(text) for name, text in PAGES.items()}
STARTS_A_SERVICE = "stepwell up &"
JSON_BLOCKS = [(name, block) for name, blocks in BLOCKS.items() for block in blocks if block.language == "json"]


class Site(NamedTuple):
    """The service that the pages share, and what a shell needs to use it."""

    service: StepwellProcess
    folder: Path
    env: Mapping[str, str]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with fresh_folder() as folder, emulated(folder, REMOTE + ANSWERING) as worlds:
        settings = _exported() | worlds.environment | {"STEPWELL_POLL_INTERVAL_S": "0.1"}
        with running_up(folder / "data", settings) as service:
            env = surroundings({"STEPWELL": service.url, "TOKEN": service.token})
            env["STEPWELL_DATA_DIR"] = str(folder / "data")
            env["PATH"] = f"{make_tools(folder)}:{Path(sys.executable).parent}:{env['PATH']}"
            yield Site(service, folder, env)


def _exported() -> dict[str, str]:
    """Return what the blocks of settings export."""
    lines = "".join(block.text for blocks in BLOCKS.values() for block in blocks if block.note == "settings")
    printed = subprocess.run(
        ["bash", "-euc", f"{lines}\nenv -0"], env={"PATH": os.defpath}, capture_output=True, text=True, check=True
    ).stdout
    variables = dict(each.split("=", 1) for each in printed.split("\0") if each)
    return {name: value for name, value in variables.items() if name.startswith("STEPWELL_")}


@pytest.mark.extended
@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if shell_text(text)])
def test_the_commands_of_a_page_work_when_they_are_pasted(
    page: str, site: Site, request: pytest.FixtureRequest
) -> None:
    lines = shell_text(PAGES[page])
    work = site.folder / page
    work.mkdir()
    for name, text in file_texts(PAGES[page]).items():
        (work / name).write_text(text)
    if any(block.language == "ts" for block in BLOCKS[page]):
        request.getfixturevalue("node").link_packages(work)
    if STARTS_A_SERVICE not in lines:
        paste(lines, work, site.env, work)
        return
    data_dir = site.folder / f"data-{page}"
    with reserved_port() as port, reserved_port() as worker_port:
        own = {"STEPWELL_DATA_DIR": str(data_dir), "STEPWELL_PORT": str(port), "WORKER_PORT": str(worker_port)}
        shared = {name: value for name, value in site.env.items() if name not in ("STEPWELL", "TOKEN")}
        paste(f"{lines}\nkill %stepwell && wait %stepwell\n", work, {**shared, **own}, data_dir)


@pytest.mark.extended
@pytest.mark.parametrize(("page", "block"), JSON_BLOCKS, ids=[page for page, _ in JSON_BLOCKS])
def test_a_definition_in_a_page_is_valid(page: str, block: Block, site: Site) -> None:
    definition = json.loads(block.text)
    if block.note.startswith("example: "):
        assert definition == json.loads(example(block.note.removeprefix("example: ")))
    if "steps" in definition and "origin_instance" in definition:
        with site.service.client() as client:
            response = client.post("/api/v1/workflows/plan", json=definition)
        assert response.status_code == httpx.codes.OK, (page, response.text)


def test_only_these_blocks_are_not_run() -> None:
    not_run = [
        (name, block.text.splitlines()[0][:60].rstrip(), block.note.removeprefix("not run: "))
        for name, blocks in BLOCKS.items()
        for block in blocks
        if block.note.startswith("not run: ")
    ]
    assert not_run == NOT_RUN


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language_that_is_run_or_checked(page: str) -> None:
    for block in BLOCKS[page]:
        assert re.fullmatch(r"|not run: .+|settings|example: \w+|tool: \w+|file: [\w.]+", block.note), block
        match block.language:
            case "sh":
                subprocess.run(["bash", "-n", "-c", block.text], check=True)
            case "json":
                json.loads(block.text)
            case "yaml":
                yaml.safe_load(block.text)
            case "toml":
                tomllib.loads(block.text)
            case "python":
                compile(block.text, page, "exec")
            case "js":
                assert _brackets_match(block.text), block
            case "ts":  # which the commands of the page compile
                assert block.note.startswith("file: "), block
            case other:
                assert other == "", other


def _brackets_match(script: str) -> bool:
    """Return whether each bracket outside of strings has its counterpart: all that is checked of a script."""
    opened: list[str] = []
    for character in re.sub(r'"[^"]*"|`[^`]*`|//.*', "", script):
        if character in "([{":
            opened.append({"(": ")", "[": "]", "{": "}"}[character])
        elif character in ")]}" and (not opened or opened.pop() != character):
            return False
    return not opened
