"""`stepwell submit NAME`: runs of stored definitions, on a real `stepwell up`."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from support.processes.command_line import CommandLine
from support.processes.stepwell_process import READY_S, StepwellProcess, surroundings, until
from support.processes.terminal import Terminal

SCHEMA = {
    "type": "object",
    "required": ["product"],
    "properties": {"product": {"type": "string"}, "photos": {"type": "array", "items": {"type": "string"}}},
}
STEP = {"id": "a", "task_type": "PASSTHROUGH", "config": {"product": "${inputs.product}", "photos": "${inputs.photos}"}}
STORED: dict[str, Any] = {"inputs": {"photos": []}, "inputs_schema": SCHEMA, "steps": [STEP]}


def put(shell: CommandLine, name: str, definition: dict[str, Any] = STORED) -> None:
    done = shell("definitions", "put", name, "-", stdin=json.encode(definition).decode())
    assert done.code == 0, done.err


def test_a_stored_definition_runs_by_name_with_the_options_of_submit(shell: CommandLine, tmp_path: Path) -> None:
    put(shell, "by-name")
    put(shell, "by-name", {"steps": [{**STEP, "id": "b"}]})
    (tmp_path / "a.txt").write_text("a text")
    files = ("--upload", f"inputs.photos={tmp_path / 'a.txt'}", "--name", "mine", "--origin-instance", "shell")
    done = shell("submit", "by-name@1", "--set", "inputs.product=cup", *files, "--label", "k=v", "--wait", "--json")
    assert done.code == 0, done.err
    result = done.json["final_step_result"]
    assert (result["product"], [each.rpartition("/")[2] for each in result["photos"]]) == ("cup", ["a.txt"])
    assert done.json["definition"] == {"name": "by-name", "version": 1}
    shown = [done.json[member] for member in ("status", "name", "origin_instance", "labels")]
    assert shown == ["COMPLETED", "mine", "shell", {"k": "v"}]
    assert "by-name@1" in shell("show", done.json["id"]).out
    shell("definitions", "pin", "by-name", "1")
    assert shell("submit", "by-name", "--no-start", "--json").code == 3, "product is missing in the pinned version"
    assert shell("submit", "by-name@2", "--no-start", "--json").json["definition"]["version"] == 2


def test_a_plan_by_name_creates_nothing(shell: CommandLine, tmp_path: Path) -> None:
    put(shell, "planned")
    option = ("--set", "inputs.product=cup", "--json")
    for command in (("submit", "planned", "--dry-run", "--wait"), ("plan", "planned")):
        assert [step["step_id"] for step in shell(*command, *option).json["steps"]] == ["a"]
    (tmp_path / "a.txt").write_text("a text")
    upload = ("--upload", f"inputs.photos={tmp_path / 'a.txt'}", *option)
    assert len(shell("submit", "planned", "--dry-run", *upload).json["steps"]) == 1
    assert shell("ls", "--definition", "planned", "--json").lines == []


def test_a_file_has_precedence_over_a_stored_definition(
    shell: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shell, "both", {"steps": [STEP]})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both").mkdir()
    assert shell("submit", "both", "--no-start", "--json").json["definition"] == {"name": "both", "version": 1}
    (tmp_path / "both").rmdir()
    (tmp_path / "both").write_bytes(json.encode({"name": "file", "origin_instance": "t", "steps": [STEP]}))
    created = shell("submit", "both", "--no-start", "--json").json
    assert (created["name"], created["definition"]) == ("file", None)


def test_what_is_no_file_and_no_definition_is_refused_with_both(shell: CommandLine) -> None:
    put(shell, "known")
    for name in ("unknown", "known@7"):
        for command in ("submit", "plan"):
            done = shell(command, name)
            assert (done.code, done.out) == (4, "")
            assert f"there is neither a file {name} nor a stored definition {name} at http://" in done.err
    assert "No such file or directory" in shell("submit", "unknown.json").err
    done = shell("submit", "known@x")
    assert (done.code, done.err) == (2, "stepwell: VERSION: Expected a number: x\n")
    shell("definitions", "archive", "known")
    done = shell("submit", "known")
    assert done.code == 3
    assert "archived" in done.err


def test_options_for_a_run_by_name_set_inputs_and_no_step(shell: CommandLine) -> None:
    put(shell, "options")
    done = shell("submit", "options", "--set", "a.config.product=cup")
    refusal = "--set a.config.product: a run of a stored definition changes no step; set inputs.KEY"
    assert (done.code, done.err) == (2, f"stepwell: {refusal}\n")
    done = shell("submit", "options", "--set", "inputs.product=cup", "--set", "inputs.photo=1", "--no-start")
    warning = "warning: --set inputs.photo: the definition has no input photo; did you mean photos?"
    assert warning in done.err.splitlines()[0]


def test_a_token_that_reads_no_definitions_runs_them(shell: CommandLine) -> None:
    put(shell, "unread")
    token = shell("token", "--scope", "workflows:read", "--scope", "workflows:write").out.strip()
    assert shell("definitions", "show", "unread", "--token", token).code == 3
    done = shell("submit", "unread", "--set", "inputs.product=cup", "--wait", "--token", token)
    assert done.code == 0, done.err
    done = shell("submit", "unknown", "--token", token)
    assert done.code == 4
    assert "neither a file unknown nor a stored definition unknown" in done.err


def test_a_token_that_only_runs_definitions_runs_them_with_files(shell: CommandLine, tmp_path: Path) -> None:
    put(shell, "partner")
    (tmp_path / "a.txt").write_text("a text")
    token = shell("token", "--scope", "definitions:run", "--definition", "partner").out.strip()
    options = ("--set", "inputs.product=cup", "--upload", f"inputs.photos={tmp_path / 'a.txt'}", "--token", token)
    done = shell("submit", "partner", *options, "--wait", "--json")
    assert done.code == 0, done.err
    assert len(done.json["final_step_result"]["photos"]) == 1
    assert shell("submit", "partner@1", *options).code == 3, "such a token names no version"


def test_lists_and_costs_select_by_definition(shell: CommandLine) -> None:
    ask = {"id": "ask", "task_type": "APPROVAL", "config": {"message": "?", "choices": ["yes"]}}
    put(shell, "asked", {"steps": [ask]})
    run = shell("submit", "asked", "--json").json
    assert [each["id"] for each in shell("ls", "--definition", "asked", "--json").lines] == [run["id"]]
    assert shell("ls", "--definition", "asked@2", "--counts", "--json").json["total"] == 0
    asked = partial(shell, "decisions", "--definition", "asked", "--json")
    until(lambda: asked().lines != [], READY_S, lambda: asked().err)
    assert [each["workflow_id"] for each in asked().lines] == [run["id"]]
    assert shell("decisions", "--definition", "asked@2", "--json").lines == []
    assert shell("costs", "--by", "definition", "--definition", "asked", "--json").lines == []
    assert shell("ls", "--definition", "No Name").code == 3
    assert shell("events", run["id"], "--definition", "asked").code == 2


FORM = {
    "type": "object",
    "required": ["product", "photo", "size"],
    "properties": {
        "product": {"type": "string", "title": "Product", "description": "What\nis \x1b[2Jsold", "minLength": 2},
        "photo": {"type": "string", "format": "artifact", "contentMediaType": "text/plain"},
        "style": {"enum": ["studio", "forest"], "default": "forest"},
        "count": {"type": "integer", "minimum": 1},
        "scale": {"type": "number"},
        "crop": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "size": {
            "type": "object",
            "required": ["w"],
            "properties": {"w": {"type": "integer"}, "h": {"type": "integer"}},
        },
        "frames": {"type": "array", "items": {"type": "object", "properties": {"colour": {"type": "string"}}}},
        "rest": {},
        "note": {"type": "string"},
    },
}


def test_on_a_terminal_the_inputs_are_asked(shell: CommandLine, up: StepwellProcess, tmp_path: Path) -> None:
    echo = {"id": "a", "task_type": "PASSTHROUGH", "config": {"inputs": "${inputs}"}}
    put(shell, "form", {"inputs": {"count": 2, "note": "as \x1b[2Jstored"}, "inputs_schema": FORM, "steps": [echo]})
    (tmp_path / "a.txt").write_text("a text")
    env = surroundings({"HOME": str(shell.home), "STEPWELL_DATA_DIR": str(up.data_dir), "TERM": "xterm"})
    command = [sys.executable, "-m", "stepwell", "submit", "form", "--label", "run=form", "--set", "inputs.scale=1.5"]
    terminal = Terminal(command, env, tmp_path)
    answers = [
        ("What is \N{REPLACEMENT CHARACTER}[2Jsold", ""),
        ("Product: ", "x"),
        ("stepwell: inputs.product: Expected minLength 2", ""),
        ("Product: ", "red cup"),
        ("photo (text/plain file): ", "b.txt"),
        ("Error: There is no file b.txt", ""),
        ("photo (text/plain file): ", "a.txt"),
        ("  2 forest", ""),
        ("style [forest]: ", "1"),
        ("count (integer) [2]: ", "many"),
        ("Error: Expected an integer", ""),
        ("count (integer) [2]: ", "\r"),
        ("crop (yes or no): ", "n"),
        ("tags 1: ", "new"),
        ("tags 2: ", "\r"),
        ("w (integer): ", "64"),
        ("h (integer): ", "\r"),
        ("Add frames 1? [y/N]: ", "y"),
        ("colour: ", "gold"),
        ("Add frames 2? [y/N]: ", "\r"),
        ("rest (JSON): ", '{"a": [1]}'),
        ("note [as \N{REPLACEMENT CHARACTER}[2Jstored]: ", "\r"),
    ]
    try:
        for shown, typed in answers:
            terminal.read_until(shown)
            if typed:
                terminal.type(typed.rstrip("\r") + "\r")
        terminal.read_until("submitted form, which is")
        terminal.read_to_end()
    finally:
        terminal.close()
    (run,) = shell("ls", "--definition", "form", "--label", "run=form", "--json").lines
    until(lambda: shell("show", run["id"], "--json").json["status"] == "COMPLETED", READY_S, lambda: run["id"])
    inputs = shell("show", run["id"], "--json").json["final_step_result"]["inputs"]
    assert inputs.pop("photo").endswith("/a.txt")
    expected = {"product": "red cup", "style": "studio", "count": 2, "scale": 1.5, "crop": False, "tags": ["new"]}
    expected |= {"size": {"w": 64}, "frames": [{"colour": "gold"}], "rest": {"a": [1]}, "note": "as \x1b[2Jstored"}
    assert inputs == expected


def test_without_a_terminal_or_with_all_required_inputs_nothing_is_asked(
    shell: CommandLine, up: StepwellProcess, tmp_path: Path
) -> None:
    put(shell, "unasked")
    assert shell("submit", "unasked").code == 3, "the input of a test is no terminal"
    env = surroundings({"HOME": str(shell.home), "STEPWELL_DATA_DIR": str(up.data_dir), "TERM": "xterm"})
    command = [sys.executable, "-m", "stepwell", "submit", "unasked", "--set", "inputs.product=cup"]
    terminal = Terminal(command, env, tmp_path)
    try:
        terminal.read_until("submitted unasked, which is")
    finally:
        terminal.close()


def test_a_run_is_run_again_with_changes(shell: CommandLine, tmp_path: Path) -> None:
    config = {"prompt": "a vase", "width": 16, "height": 16}
    steps = [{"id": name, "task_type": "GENERATION", "config": config} for name in ("a.b", "c")]
    (tmp_path / "two.json").write_bytes(json.encode({"name": "two", "origin_instance": "t", "steps": steps}))
    old = shell("submit", str(tmp_path / "two.json"), "--wait", "--json").json
    change = ("rerun", old["id"], "--set", 'c.config.prompt="a jug"')
    planned = shell(*change, "--dry-run")
    rows = [line.split()[1:3] for line in planned.out.splitlines() if "GENERATION" in line]
    assert rows == [["a.b", "reused"], ["c", "runs"]]
    done = shell(*change, "--wait", "--json")
    assert done.code == 0, done.err
    assert [step["reused_from"] is not None for step in done.json["steps"]] == [True, False]
    named = shell("rerun", "@last", "--step", "a.b", "--set", '"a.b".config.seed=1', "--wait", "--json").json
    assert [step["reused_from"] is not None for step in named["steps"]] == [False, True]
    refused = shell("rerun", old["id"], "--set", "c.provider_config.model=x")
    assert (refused.code, "a rerun changes only config and inputs" in refused.err) == (2, True)
    assert shell("rerun", old["id"], "--step", "none").code == 3
