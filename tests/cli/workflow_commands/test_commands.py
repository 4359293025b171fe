"""The commands over the API, as a user on the machine of a `stepwell up` runs them."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from select import select
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from click.shell_completion import BashComplete
from msgspec import json

from stepwell.cli.commands import cli
from stepwell.cli.workflow_commands import command_context, top, watch
from support.processes.command_line import CommandLine
from support.processes.held_image import HeldImage, held_image
from support.processes.stepwell_process import READY_S, StepwellProcess, start, surroundings, until
from support.workflows.image_pipelines import pipeline, until_ended

MISSING = "00000000-0000-0000-0000-000000000000"
BROKEN = pipeline(
    steps=[{"id": "a", "task_type": "REFINE", "config": {"base_image_url": "data:image/png;base64,AA=="}}]
)


def text_of(definition: object) -> str:
    return json.encode(definition).decode()


def submitted(shell: CommandLine, *options: str, **members: Any) -> str:
    """Submit a pipeline. Return the id of the workflow."""
    done = shell("submit", "-", *options, stdin=text_of(pipeline(**members)))
    assert done.code == 0, done.err
    return done.out.strip()


class TestSubmit:
    def test_the_output_is_the_id_and_nothing_else(self, shell: CommandLine) -> None:
        done = shell("submit", "-", stdin=text_of(pipeline()))
        shown = shell("show", "@last", "--json").json
        assert (done.code, done.out) == (0, f"{shown['id']}\n")
        assert done.err == f"stepwell: submitted a picture, which is RUNNING: see `stepwell show {shown['id'][-8:]}`\n"

    def test_with_wait_and_json_the_output_is_the_ended_workflow_in_one_line(self, shell: CommandLine) -> None:
        done = shell("submit", "-", "--wait", "--json", "--label", "team=shop", stdin=text_of(pipeline()))
        (workflow,) = done.lines
        assert (done.code, workflow["status"], workflow["labels"]) == (0, "COMPLETED", {"team": "shop"})
        assert workflow["final_step_result"] == workflow["steps"][1]["result"]
        assert [line.split(" (")[0] for line in done.err.splitlines()[1:]] == [
            "stepwell: generate: started",
            "stepwell: generate: completed",
            "stepwell: refine: started",
            "stepwell: refine: completed",
        ]

    def test_options_change_the_definition(self, shell: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("a text")
        steps = [{"id": "my.step", "task_type": "PASSTHROUGH", "config": {"value": {}}}]
        done = shell(
            "submit",
            "-",
            "--json",
            "--no-start",
            *("--set", '"my.step".config.value.number=7'),
            *("--upload", f'"my.step".config.value.file={tmp_path / "a.txt"}'),
            stdin=text_of(pipeline(steps=steps)),
        )
        assert (done.code, done.json["status"]) == (0, "PENDING")
        value = done.json["steps"][0]["config"]["value"]
        assert (value["number"], value["file"].rpartition("/")[2]) == (7, "a.txt")

    def test_a_repeated_key_creates_one_workflow(self, shell: CommandLine) -> None:
        key = str(uuid4())
        assert submitted(shell, "--idempotency-key", key) == submitted(shell, "--idempotency-key", key)

    def test_warnings_of_the_definition_are_on_stderr(self, shell: CommandLine) -> None:
        steps = [{"id": "a", "task_type": "GENERATION", "config": {"prompt": "x", "width": 8, "height": 8, "other": 1}}]
        done = shell("submit", "-", stdin=text_of(pipeline(steps=steps)))
        warning = "stepwell: warning: steps[0].config.other: LOCAL ignores this in GENERATION"
        assert done.err.splitlines()[0] == warning

    def test_ctrl_c_ends_the_wait_and_not_the_workflow(
        self, up: StepwellProcess, tmp_path: Path, image: HeldImage
    ) -> None:
        (tmp_path / "held.json").write_text(text_of(pipeline(steps=image.steps)))
        env = {"STEPWELL_DATA_DIR": str(up.data_dir), "HOME": str(tmp_path)}
        options = (str(tmp_path / "held.json"), "--wait")
        waiting = start("submit", up.data_dir, env, *options, port=False, logs=tmp_path)
        until(lambda: "refine: started" in waiting.stderr, READY_S, lambda: waiting.stderr)
        assert waiting.terminate(signal.SIGINT) == 130
        assert waiting.stdout == ""
        workflow_id = waiting.stderr.split("submitted workflow ")[1].split()[0]
        assert waiting.stderr.splitlines()[-1] == f"stepwell: stopped waiting: workflow {workflow_id} continues"
        image.release()
        with up.client() as client:
            assert until_ended(client, workflow_id)["status"] == "COMPLETED"


class TestList:
    def test_filters_select_workflows_and_limit_bounds_them(self, shell: CommandLine) -> None:
        name = str(uuid4())
        ids = [submitted(shell, "--no-start", "--label", f"n={n}", name=f"{name} {n}") for n in range(3)]
        assert [each["id"] for each in shell("ls", "--name", name, "--json").lines] == ids[::-1]
        assert [each["id"] for each in shell("ls", "--name", name, "--order", "oldest", "--json").lines] == ids
        assert [each["id"] for each in shell("ls", "--name", name, "--limit", 1, "--json").lines] == ids[2:]
        assert [each["id"] for each in shell("ls", "--name", name, "--label", "n=1", "--json").lines] == ids[1:2]
        assert shell("ls", "--name", name, "--status", "running,failed", "--json").lines == []
        assert shell("ls", "--name", name, "--created-before", "2026-01-01", "--json").lines == []
        assert [each["id"] for each in shell("ls", "--name", name, "--all", "--json").lines] == ids[::-1]
        counts = shell("ls", "--name", name, "--counts", "--json").json
        assert (counts["counts"]["PENDING"], counts["total"]) == (3, 3)

    def test_sub_workflows_are_listed_on_demand(self, shell: CommandLine) -> None:
        name = str(uuid4())
        below = {"name": f"{name} below", "steps": [{"id": "x", "task_type": "PASSTHROUGH"}]}
        step = {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": below}}
        above = {"name": f"{name} above", "origin_instance": "tests", "steps": [step]}
        assert shell("submit", "-", "--wait", stdin=text_of(above)).code == 0
        assert [each["name"] for each in shell("ls", "--name", name, "--json").lines] == [f"{name} above"]
        every = shell("ls", "--name", name, "--include-children", "--json").lines
        assert [each["name"] for each in every] == [f"{name} below", f"{name} above"]

    def test_a_table_shows_the_ends_of_ids_without_colours(self, shell: CommandLine) -> None:
        name = str(uuid4())
        workflow_id = submitted(shell, "--no-start", name=name)
        heading, row = shell("ls", "--name", name).out.splitlines()
        assert heading.split() == ["ID", "NAME", "STATUS", "STEPS", "COST", "CREATED", "TIME"]
        assert row.split()[:5] == [workflow_id[-8:], name, "PENDING", "0/2", "-"]

    def test_a_name_cannot_control_the_terminal(self, shell: CommandLine) -> None:
        name = f"{uuid4()} [red]\u202ex"
        submitted(shell, "--no-start", name=name)
        assert f" {name.replace(chr(0x202E), chr(0xFFFD))} " in shell("ls", "--name", name).out

    def test_a_reader_that_goes_ends_the_list_quietly(self, up: StepwellProcess, shell: CommandLine) -> None:
        submitted(shell, "--no-start")
        env = surroundings({"STEPWELL_DATA_DIR": str(up.data_dir)})
        command = [sys.executable, "-m", "stepwell", "ls", "--json"]
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            command, env=env, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (0, "")


def test_show_prints_steps_errors_and_results(shell: CommandLine) -> None:
    done = shell("submit", "-", "--wait", stdin=text_of(pipeline()))
    assert done.code == 0
    shown = shell("show", "@last").out
    assert shown == done.out
    lines = shown.splitlines()
    assert lines[2].split() == ["status", "COMPLETED"]
    steps = lines.index(next(line for line in lines if line.startswith("STEP ")))
    assert lines[steps + 1].split()[:4] == ["generate", "GENERATION", "COMPLETED", "LOCAL"]
    assert 'refine: {"result_image_path":"media/' in shown

    failed = shell("submit", "-", "--wait", stdin=text_of(BROKEN))
    assert failed.code == 1
    assert "\nERRORS\na: base_image_url: " in failed.out


def test_the_time_of_what_runs_is_shown(shell: CommandLine, image: HeldImage) -> None:
    short = submitted(shell, steps=image.steps)[-8:]
    row = next(line for line in shell("ls").out.splitlines() if line.startswith(short))
    assert re.search(r"  \d[\d.]* (s|min \d\d s)$", row), row
    lines = shell("show", short).out.splitlines()
    assert re.fullmatch(r"started   .* \(\d.* ago\)", lines[5]), lines[5]
    assert re.search(r" - +\d[\d.]* (s|min \d\d s) +0$", lines[8]), lines[8]
    assert shell("cancel", short).code == 0


def test_plan_shows_steps_and_price_and_stores_nothing(shell: CommandLine) -> None:
    name = f"plan {uuid4()}"
    text = text_of(pipeline(name=name))
    done = shell("plan", "-", "--set", "generate.config.width=32", "--json", stdin=text)
    assert (done.code, done.json["steps"][0]["config"]["width"]) == (0, 32)
    rows = shell("plan", "-", stdin=text).out.splitlines()
    assert [row.split()[:3] for row in rows[1:3]] == [["1", "generate", "GENERATION"], ["2", "refine", "REFINE"]]
    assert "longest chain  generate > refine" in rows[-1]
    assert shell("ls", "--name", name, "--json").lines == []


def test_items_shows_values_results_and_errors(shell: CommandLine) -> None:
    for_each = {"items": ["a cat", {"x": 1}, None], "on_item_failure": "collect"}
    step = {"id": "a", "task_type": "PASSTHROUGH", "for_each": for_each, "config": {"text": "See ${item}"}}
    text = text_of({"name": "n", "origin_instance": "o", "steps": [step]})
    plan_of = shell("plan", "-", stdin=text).out.splitlines()
    assert "PASSTHROUGH, 3 items" in plan_of[1]
    workflow_id = shell("submit", "-", "--wait", "--json", stdin=text).json["id"]
    short = workflow_id[-8:]
    rows = [re.split(r"  +", row.strip()) for row in shell("items", short, "a").out.splitlines()]
    shown = [["0", "COMPLETED", "a cat"], ["1", "COMPLETED", '{"x":1}'], ["2", "FAILED", "null"]]
    assert [row[:3] for row in rows[1:]] == shown
    assert '"text":"See a cat"' in rows[1][-1]
    failed = shell("items", short, "a", "--status", "failed", "--json").json
    assert (failed["item"], failed["value"], failed["status"]) == (2, None, "FAILED")
    assert "COMPLETED (2 of 3 items, 1 failed)" in shell("show", short).out
    assert shell("items", short, "a", "--status", "done").code == 2
    assert shell("items", short, "b").code != 0


class TestVerbs:
    def test_each_verb_shows_what_it_will_do_and_does_it(self, shell: CommandLine, image: HeldImage) -> None:
        workflow_id = submitted(shell, "--no-start", steps=image.steps)
        short = workflow_id[-8:]
        started = shell("start", short)
        assert started.err == f"start {short}: PENDING > RUNNING\n  start now: refine\n"
        assert started.out == f"{short} RUNNING a picture\n"
        assert shell("pause", short).out == f"{short} PAUSED a picture\n"
        assert shell("resume", short).out == f"{short} RUNNING a picture\n"
        cancelled = shell("cancel", short, "--json")
        assert (cancelled.code, cancelled.json["status"]) == (0, "CANCELLED")
        assert "  are cancelled: refine\n" in cancelled.err

    def test_start_waits_for_the_end(self, shell: CommandLine) -> None:
        submitted(shell, "--no-start")
        done = shell("start", "@last", "--wait", "--json")
        assert (done.code, done.json["status"]) == (0, "COMPLETED")

    def test_a_wait_for_one_workflow_does_not_delay_the_start_of_another(
        self, shell: CommandLine, image: HeldImage
    ) -> None:
        with held_image() as other:
            ids = [submitted(shell, "--no-start", steps=each.steps) for each in (image, other)]

            def release_both() -> None:
                other.wait_for_request()
                image.release()
                other.release()

            thread = Thread(target=release_both)
            thread.start()
            done = shell("start", *ids, "--wait", "--json")
            thread.join()
        assert (done.code, [each["id"] for each in done.lines]) == (0, ids)

    def test_a_dry_run_changes_nothing(self, shell: CommandLine) -> None:
        submitted(shell, "--no-start")
        for verb, after in (("start", "RUNNING"), ("cancel", "CANCELLED"), ("cleanup", "CANCELLED")):
            forecast = shell(verb, "@last", "--dry-run", "--json").json
            assert (forecast["verb"], forecast["status_now"], forecast["status_after"]) == (verb, "PENDING", after)
        workflow = shell("show", "@last", "--json").json
        assert (workflow["status"], workflow["is_deleted"]) == ("PENDING", False)

    def test_a_dry_run_shows_items_and_sub_workflows(self, shell: CommandLine) -> None:
        below = {"name": "below", "steps": [{"id": "x", "task_type": "PASSTHROUGH"}]}
        items = {"id": "all", "task_type": "PASSTHROUGH", "for_each": {"count": 3}}
        step = {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": below}}
        step["repeat"] = {"until": "final.n", "max": 2}
        definition = {"name": "above", "origin_instance": "tests", "steps": [items, step]}
        assert shell("submit", "-", "--no-start", stdin=text_of(definition)).code == 0
        title, *lines = shell("start", "@last", "--dry-run").out.splitlines()
        assert title.endswith(": PENDING > RUNNING")
        assert lines == [
            "  start now: all, sub",
            "  items: all (3 run)",
            "  repeat: sub (run 1 of at most 2)",
            "  sub: creates a sub-workflow",
            "    start now: x",
        ]

    def test_a_refused_workflow_does_not_keep_the_verb_from_the_others(self, shell: CommandLine) -> None:
        first, second = submitted(shell, "--no-start"), submitted(shell, "--no-start")
        assert shell("cancel", first).code == 0
        done = shell("cancel", first, MISSING, second, "--json")
        assert (done.code, [each["id"] for each in done.lines]) == (3, [second])
        assert f"stepwell: {first[-8:]}: Not allowed in this state: cancel is allowed from" in done.err
        assert f"stepwell: {MISSING[-8:]}: Not found: workflow not found" in done.err

    def test_cleanup_deletes_with_yes_only(self, shell: CommandLine) -> None:
        done = shell("submit", "-", "--wait", "--json", stdin=text_of(pipeline()))
        path = done.json["final_step_result"]["result_image_path"]
        refused = shell("cleanup", "@last")
        assert (refused.code, refused.out) == (2, "")
        assert path in refused.err
        assert refused.err.endswith("stepwell: nothing was changed: without a terminal, this needs --yes\n")
        assert shell("show", "@last", "--json").json["is_deleted"] is False
        cleaned = shell("cleanup", "@last", "--yes", "--json").json
        assert (cleaned["workflow"]["is_deleted"], path in cleaned["cleanup"]["deleted_paths"]) == (True, True)


class TestTerminal:
    """What happens only where the output is a terminal."""

    @staticmethod
    def _run(up: StepwellProcess, home: Path, *arguments: str, keys: bytes = b"", **env: str) -> tuple[int, str]:
        """Run a command on a new terminal, and type *keys* at its question. Returns exit code and output."""
        pid, terminal = pty.fork()
        if pid == 0:  # pragma: no cover
            variables = surroundings({"STEPWELL_DATA_DIR": str(up.data_dir), "HOME": str(home), "TERM": "xterm", **env})
            os.execve(sys.executable, [sys.executable, "-m", "stepwell", *arguments], variables)
        output, typed, deadline = b"", False, time.monotonic() + 120
        while True:
            if select([terminal], [], [], 1)[0]:
                if not (chunk := _read(terminal)):
                    break
                output += chunk
                asked = output.rstrip(b" ").endswith((b"[y/N]:", b"Token:"))
            else:
                # A key is lost if the prompt sets the mode of the terminal after it was pressed.
                asked = typed and b"[y/N]:" in output
            if keys and asked:
                os.write(terminal, keys)
                typed = True
            assert time.monotonic() < deadline, output
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode()

    @pytest.mark.parametrize(
        ("keys", "code", "deleted"),
        [
            pytest.param(b"n\n", 1, False, marks=pytest.mark.extended),
            (b"\x03", 130, False),
            pytest.param(b"\x04", 1, False, marks=pytest.mark.extended),
            (b"y\n", 0, True),
        ],
    )
    def test_cleanup_asks_before_it_deletes(
        self, keys: bytes, code: int, *, deleted: bool, shell: CommandLine, up: StepwellProcess
    ) -> None:
        workflow_id = submitted(shell, "--no-start")
        ended, output = self._run(up, shell.home, "cleanup", workflow_id, keys=keys)
        assert (ended, "Delete 1 workflow and the files? [y/N]:" in output) == (code, True)
        assert "Traceback" not in output
        assert shell("show", workflow_id, "--json").json["is_deleted"] is deleted

    def test_a_status_has_a_colour_unless_no_color_is_set(self, shell: CommandLine, up: StepwellProcess) -> None:
        assert shell("submit", "-", "--wait", stdin=text_of(BROKEN)).code == 1
        assert "\x1b[31mFAILED" in self._run(up, shell.home, "ls")[1]
        assert "\x1b[31m" not in self._run(up, shell.home, "ls", NO_COLOR="1")[1]

    def test_a_path_in_a_result_is_in_one_line_to_copy(self, shell: CommandLine, up: StepwellProcess) -> None:
        done = shell("submit", "-", "--wait", "--json", stdin=text_of(pipeline()))
        path = done.json["final_step_result"]["result_image_path"]
        assert f'"result_image_path":"{path}","width":128' in self._run(up, shell.home, "show", "@last")[1]

    def test_login_hides_the_token(self, shell: CommandLine, up: StepwellProcess) -> None:
        code, output = self._run(up, shell.home, "login", up.url, keys=f"{up.token}\n".encode())
        assert (code, up.token in output) == (0, False)
        assert shell("ls", "--profile", "default").code == 0


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the process has ended
        return b""


class TestIds:
    def test_the_last_characters_of_an_id_name_it_once_it_was_shown(self, shell: CommandLine) -> None:
        workflow_id = submitted(shell, "--no-start")
        for name in (workflow_id, workflow_id.upper(), workflow_id[-8:], workflow_id[-8:].upper(), workflow_id[-20:]):
            assert shell("show", name, "--json").json["id"] == workflow_id

    def test_the_newest_workflows_are_searched_for_others(self, shell: CommandLine, up: StepwellProcess) -> None:
        with up.client() as client:
            workflow_id = client.post("/api/v1/workflows/?start=false", json=pipeline()).json()["id"]
        assert shell("show", workflow_id[-8:], "--json").json["id"] == workflow_id

    def test_an_ambiguous_end_lists_the_candidates(self, shell: CommandLine, up: StepwellProcess) -> None:
        ids = [f"01a21a24-e234-7f13-b116-{n}{n}{n}{n}7b85b698" for n in (1, 2)]
        state = shell.home / ".local/state/stepwell/workflows.json"
        state.parent.mkdir(parents=True)
        state.write_bytes(json.encode({"shown": [[up.url, each] for each in ids], "submitted": {}}))
        done = shell("cancel", "7b85b698")
        assert (done.code, done.out) == (2, "")
        assert done.err.splitlines() == [
            "stepwell: 7b85b698 is the end of several ids:",
            *(f"stepwell: {each}" for each in ids),
        ]

    def test_the_last_workflow_of_another_service_is_not_meant(self, shell: CommandLine) -> None:
        done = shell("show", "@last")
        assert done.code == 4
        assert done.err.startswith("stepwell: no workflow was submitted to http://127.0.0.1:")


@pytest.mark.parametrize("command", [["show"], ["events"], ["redeliver"], ["cancel", MISSING]])
def test_a_shell_completes_ids_that_were_shown_lately(command: list[str], shell: CommandLine) -> None:
    short = submitted(shell, "--no-start")[-8:]
    complete = BashComplete(cli, {}, "stepwell", "_STEPWELL_COMPLETE").get_completions
    assert {"@last", short} <= {each.value for each in complete(command, "")}
    assert [each.value for each in complete(command, short[:7])] == [short]


def test_proxies_of_the_environment_do_not_see_a_local_service(shell: CommandLine) -> None:
    shell.export(http_proxy="http://127.0.0.1:1", all_proxy="http://127.0.0.1:1")
    assert shell("ls").code == 0


def test_a_full_disk_under_stdout_is_reported_in_a_line(shell: CommandLine, up: StepwellProcess) -> None:
    env = surroundings({"STEPWELL_DATA_DIR": str(up.data_dir)})
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "stepwell", "providers"]
        done = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "stepwell: cannot write to stdout: No space left on device\n")


class TestLogin:
    def test_a_profile_is_stored_in_private_and_used(self, user: CommandLine, up: StepwellProcess) -> None:
        done = user("login", f"{up.url}/", "--json", stdin=f"{up.token}\n")
        path = user.home / ".config/stepwell/profiles.json"
        assert done.json == {"profile": "default", "url": up.url, "file": str(path)}
        assert path.stat().st_mode & 0o777 == 0o600
        assert user("ls").code == 0
        assert user("login", up.url, "--profile", "other", "--token", up.token).code == 0
        assert user("ls", "--profile", "other").code == 0

    @pytest.mark.parametrize(
        ("url", "token", "code"),
        [("", "a.wrong.token", 3), ("http://127.0.0.1:1", "a", 5), ("nowhere", "a", 2), ("", "", 2)],
    )
    def test_what_the_service_does_not_accept_is_not_stored(
        self, url: str, token: str, code: int, user: CommandLine, up: StepwellProcess
    ) -> None:
        done = user("login", url or up.url, stdin=token)
        assert (done.code, done.out) == (code, "")
        assert not (user.home / ".config").exists()


@pytest.mark.parametrize(
    ("arguments", "definition", "code"),
    [
        (("submit", "-", "--wait"), pipeline(), 0),
        (("submit", "-", "--wait"), BROKEN, 1),
        (("submit", "-"), {"name": "x"}, 3),
        (("plan", "-"), [], 3),
        (("submit", "-", "--wait", "--no-start"), pipeline(), 2),
        (("submit", "/nowhere.json"), None, 2),
        (("ls", "--nothing"), None, 2),
        (("ls", "--status", "DONE"), None, 2),
        (("ls", "--created-after", "yesterday"), None, 2),
        (("ls", "--label", "x"), None, 2),
        (("ls", "--token", "a.wrong.token"), None, 3),
        (("ls", "--label", "x y=1"), None, 3),
        (("ls", "--name", "\udcff"), None, 2),
        (("ls", "--url", "http://xn--a.com"), None, 2),
        (("ls", "--url", "http://.."), None, 2),
        (("submit", "-", "--idempotency-key", "\u00e9"), pipeline(), 2),
        (("submit", "-", "--set", f"generate.config.x={'[' * 60_000}"), pipeline(), 2),
        (("redeliver", MISSING, ".."), None, 2),
        (("show",), None, 2),
        (("show", "x"), None, 2),
        (("show", MISSING), None, 4),
        (("show", "00000000"), None, 4),
        (("show", "@last"), None, 4),
        (("cancel", MISSING), None, 4),
        (("ls", "--url", "http://127.0.0.1:1"), None, 5),
        (("cancel", MISSING, "--url", "http://127.0.0.1:1"), None, 5),
        (("watch", MISSING, "--url", "http://127.0.0.1:1"), None, 5),
        (("events", "-f", "--url", "http://127.0.0.1:1"), None, 5),
        (("events", MISSING, "-f", "--url", "http://127.0.0.1:1"), None, 5),
        (("top", "--url", "http://127.0.0.1:1"), None, 5),
        (("upload", __file__, "--url", "http://127.0.0.1:1"), None, 5),
        (("ls", "--data-dir", "/nowhere"), None, 5),
    ],
)
def test_the_exit_code_reports_the_outcome(
    arguments: Sequence[str], definition: object, code: int, shell: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (command_context, top, watch):
        monkeypatch.setattr(module, "_RETRY_S", 0)
    monkeypatch.setattr(command_context, "_RESTART_S", 0)
    done = shell(*arguments, stdin="" if definition is None else text_of(definition))
    assert done.code == code, done
    assert done.err == "" or done.err.startswith(("stepwell: ", "Usage: "))
    assert code <= 1 or done.out == ""
