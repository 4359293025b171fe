"""The commands that show what runs, waits, has happened and costs, on a real `stepwell up`."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import pytest
from msgspec import json

from support.processes.command_line import CommandLine
from support.processes.held_image import HeldImage
from support.processes.stepwell_process import READY_S, STOP_S, StepwellProcess, start, stepwell, surroundings, until
from support.workflows.image_pipelines import pipeline
from support.workflows.sub_workflows import runs

MISSING = "00000000-0000-0000-0000-000000000000"
BROKEN = [{"id": "a", "task_type": "REFINE", "config": {"base_image_url": "data:image/png;base64,AA=="}}]


def submitted(shell: CommandLine, *options: str, **members: Any) -> str:
    """Submit a pipeline. Return the id of the workflow."""
    done = shell("submit", "-", *options, stdin=json.encode(pipeline(**members)).decode())
    assert done.code in (0, 1), done.err
    workflow_id: str = shell("show", "@last", "--json").json["id"]
    return workflow_id


class TestWatch:
    def test_without_a_terminal_it_prints_each_event_and_the_outcome(self, shell: CommandLine) -> None:
        workflow_id = submitted(shell)
        watched = shell("watch", workflow_id[-8:])
        *events, title, summary = watched.out.splitlines()
        assert (watched.code, watched.err) == (0, "")
        assert [line.split()[2:4] for line in events] == [
            ["1", "workflow.created"],
            ["2", "workflow.started"],
            ["3", "step.started"],
            ["4", "step.completed"],
            ["5", "step.started"],
            ["6", "step.completed"],
            ["7", "workflow.completed"],
        ]
        assert events[2].split()[4:] == ["generate", "attempt=1", "provider=LOCAL"]
        assert title == f"a picture  COMPLETED  {workflow_id}"
        assert summary.split("  ")[:2] == ["100 %", "2 of 2 steps"]

    def test_as_json_it_prints_the_events_and_then_the_workflow(self, shell: CommandLine) -> None:
        workflow_id = submitted(shell, steps=BROKEN)
        watched = shell("watch", workflow_id, "--json")
        *events, workflow = watched.lines
        assert watched.code == 1
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["type"] == "workflow.failed"
        assert (workflow["id"], workflow["status"]) == (workflow_id, "FAILED")

    def test_the_outcome_of_a_failed_workflow_names_its_errors(self, shell: CommandLine) -> None:
        watched = shell("watch", submitted(shell, steps=BROKEN))
        assert watched.code == 1
        assert watched.out.splitlines()[-1].startswith("a: base_image_url: ")

    def test_an_unknown_workflow_is_exit_code_4(self, shell: CommandLine) -> None:
        assert shell("watch", MISSING).code == 4

    def test_on_a_terminal_ctrl_c_ends_the_display_and_not_the_workflow(
        self, shell: CommandLine, up: StepwellProcess, tmp_path: Path, image: HeldImage
    ) -> None:
        workflow_id = submitted(shell, steps=image.steps, name="a long [red]one")
        with _terminal("watch", workflow_id, up=up, home=tmp_path) as terminal:
            terminal.read_until(b"refine")
            terminal.process.send_signal(signal.SIGINT)
            code, output = terminal.end()
        assert code == 130
        assert "a long [red]one" in output
        assert f"The workflow goes on. To watch it again: stepwell watch {workflow_id[-8:]}" in output
        assert output.rindex("\x1b[?1049l") > output.rindex("\x1b[?1049h")  # the screen from before is back
        assert shell("show", workflow_id, "--json").json["status"] == "RUNNING"
        assert shell("cancel", workflow_id).code == 0

    def test_on_a_terminal_the_end_shows_all_steps_and_is_the_exit_code(
        self, shell: CommandLine, up: StepwellProcess, tmp_path: Path, image: HeldImage
    ) -> None:
        generate, refine = pipeline()["steps"]
        workflow_id = submitted(shell, steps=[{**image.steps[0], "id": "first"}, generate, refine])
        with _terminal("watch", workflow_id, up=up, home=tmp_path) as terminal:
            terminal.read_until(b"refine")
            image.release()
            code, output = terminal.end()
        assert code == 0
        last = output.rpartition("\x1b[?1049l")[2]
        assert "100 %" in last
        assert [name in last for name in ("first", "generate", "refine")] == [True, True, True]
        assert f"stepwell outputs {workflow_id[-8:]}" in last

    def test_on_a_terminal_a_failure_is_shown_in_full_with_what_to_do(
        self, shell: CommandLine, up: StepwellProcess, tmp_path: Path
    ) -> None:
        workflow_id = submitted(shell, "--wait", steps=BROKEN)
        with _terminal("watch", workflow_id, up=up, home=tmp_path) as terminal:
            code, output = terminal.end()
        assert code == 1
        assert f"To run the rest of it: stepwell resume {workflow_id[-8:]}" in output
        (error,) = shell("show", workflow_id, "--json").json["errors"]
        assert error.split() == re.sub(r"\x1b\[[0-9;]*m", "", output).split()[-len(error.split()) :]


class TestEvents:
    def test_stored_events_can_be_continued_after_a_number(self, shell: CommandLine) -> None:
        workflow_id = submitted(shell, "--wait")
        stored = shell("events", workflow_id, "--json").lines
        assert [event["id"] for event in stored] == [1, 2, 3, 4, 5, 6, 7]
        assert shell("events", workflow_id, "--json", "--after", 5).lines == stored[5:]
        assert shell("events", workflow_id, "-f", "--json", "--after", 5).lines == stored[5:]
        assert len(shell("events", workflow_id).out.splitlines()) == 7

    def test_follow_prints_events_until_the_workflow_ends(self, shell: CommandLine) -> None:
        assert shell("events", submitted(shell), "-f").out.splitlines()[-1].split()[3] == "workflow.completed"

    def test_without_an_id_follow_prints_the_new_events_of_all_workflows(
        self, shell: CommandLine, up: StepwellProcess, tmp_path: Path
    ) -> None:
        env = {"STEPWELL_DATA_DIR": str(up.data_dir), "HOME": str(tmp_path)}
        feed = start("events", tmp_path, env, "-f", "--json", port=False, logs=tmp_path)
        try:
            # The feed begins with the next event after the connection is open.
            until(lambda: submitted(shell) and feed.stdout, 60, lambda: feed.stderr)
            assert feed.terminate(signal.SIGINT) == 130
        finally:
            feed.kill_group()
        first = json.decode(feed.stdout.splitlines()[0])
        assert {"id", "type", "workflow_id"} <= first.keys()

    def test_neither_an_id_nor_follow_is_exit_code_2(self, shell: CommandLine) -> None:
        assert (shell("events").code, shell("events", "-f", "--after", 5).code) == (2, 2)


class TestExplain:
    def test_each_step_has_its_reason_and_what_to_do(self, shell: CommandLine) -> None:
        workflow_id = submitted(shell, "--no-start")
        lines = shell("explain", workflow_id).out.splitlines()
        assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
            "STEP",
            "workflow",
            "generate",
            "refine",
        ]
        assert lines[2].strip() == f"To start it: stepwell start {workflow_id[-8:]}"
        explained = shell("explain", workflow_id, "--json").json
        assert [step["reason"]["code"] for step in explained["steps"]] == ["not_started", "not_started"]

    def test_of_an_ended_workflow_nothing_waits(self, shell: CommandLine) -> None:
        explained = shell("explain", submitted(shell, "--wait"))
        assert explained.out == "The workflow is COMPLETED: nothing waits.\n"


class TestTop:
    def test_a_snapshot_has_workflows_steps_and_providers(self, shell: CommandLine, image: HeldImage) -> None:
        name = str(uuid4())
        workflow_id = submitted(shell, steps=image.steps, name=name)
        until(lambda: shell("explain", workflow_id, "--json").json["steps"][0]["status"] == "RUNNING", READY_S)
        lines = shell("top").out.splitlines()
        assert any(workflow_id[-8:] in line and name in line and "0/1" in line for line in lines)
        assert any(line.split()[:3] == [workflow_id[-8:], "refine", "RUNNING"] for line in lines)
        assert any(line.startswith("LOCAL ") for line in lines)
        snapshot = shell("top", "--once", "--json").json
        assert snapshot["counts"]["RUNNING"] >= 1
        assert workflow_id in [each["id"] for each in snapshot["workflows"]]
        assert workflow_id in [each["workflow_id"] for each in snapshot["explanations"]]
        assert shell("cancel", workflow_id).code == 0

    def test_on_a_terminal_it_is_live_until_ctrl_c(self, up: StepwellProcess, tmp_path: Path) -> None:
        with _terminal("top", up=up, home=tmp_path) as terminal:
            terminal.read_until(b"PROVIDER")
            terminal.process.send_signal(signal.SIGINT)
            code, output = terminal.end()
        assert code == 0
        assert output.rindex("\x1b[?1049l") > output.rindex("\x1b[?1049h")


class TestListings:
    def test_tasks_show_each_attempt_with_its_files(self, shell: CommandLine) -> None:
        workflow_id = submitted(shell, "--wait")
        tasks = shell("tasks", workflow_id, "--json").lines
        assert [task["step_id"] for task in tasks] == ["generate", "refine"]
        heading, *rows = shell("tasks", workflow_id).out.splitlines()
        assert heading.startswith("STEP")
        assert ["result.png (" in row for row in rows] == [True, True]

    def test_a_webhook_is_listed_and_sent_again(self, shell: CommandLine) -> None:
        workflow_id = submitted(shell, "--wait", webhook_url="http://receiver.invalid/hook")
        until(lambda: shell("deliveries", workflow_id, "--json").lines[0]["attempts"], READY_S)
        heading, row = shell("deliveries", workflow_id).out.splitlines()
        assert heading.split()[:3] == ["DELIVERY", "STATUS", "EVENT"]
        delivery_id = row.split()[0]
        (again,) = shell("redeliver", workflow_id, delivery_id, "--json").lines
        assert (again["id"], again["status"]) == (delivery_id, "PENDING")
        assert shell("redeliver", workflow_id, "--failed", "--json").lines == []
        assert shell("redeliver", workflow_id, "unknown").code == 4
        assert shell("redeliver", workflow_id).code == 2

    def test_webhooks_that_were_given_up_are_sent_again(self, shell: CommandLine) -> None:
        codes = [410, 204]

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(codes.pop(0))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
            workflow_id = submitted(shell, "--wait", webhook_url=f"http://127.0.0.1:{receiver.server_port}/hook")

            def has_status(status: str) -> bool:
                lines = shell("deliveries", workflow_id, "--json").lines
                return [each["status"] for each in lines] == [status]

            receiver.handle_request()
            until(lambda: has_status("STOPPED"), READY_S)
            (again,) = shell("redeliver", workflow_id, "--failed", "--json").lines
            assert again["status"] == "PENDING"
            receiver.handle_request()
            until(lambda: has_status("DELIVERED"), READY_S)
        assert shell("redeliver", workflow_id, "--failed").out == "There are no webhooks.\n"

    def test_providers_show_their_slots_and_models(self, shell: CommandLine) -> None:
        submitted(shell, "--wait")
        lines = shell("providers").out.splitlines()
        assert lines[0].split()[0] == "PROVIDER"
        assert lines[1].split()[0] == "LOCAL"
        assert any(line.split()[:4] == ["GENERATION", "0", "0", "closed"] for line in lines[2:])
        assert shell("providers", "--json").lines[0]["provider_type"] == "LOCAL"

    def test_costs_take_days_and_keys(self, shell: CommandLine) -> None:
        assert shell("costs", "--from", "2026-01-01", "--to", date.max, "--by", "day", "--by", "model").code == 0
        refused = shell("costs", "--from", "yesterday")
        assert (refused.code, "from: " in refused.err) == (3, True)


class TestEncoding:
    def test_in_a_locale_without_unicode_json_is_utf_8_and_tables_have_question_marks(
        self, shell: CommandLine, up: StepwellProcess, tmp_path: Path
    ) -> None:
        workflow_id = submitted(shell, "--no-start", name="Größe")
        env = {"STEPWELL_DATA_DIR": str(up.data_dir), "HOME": str(tmp_path), "PYTHONIOENCODING": "ascii"}
        shown = stepwell("show", workflow_id, "--json", env=env)
        assert json.decode(shown.stdout)["name"] == "Größe"
        listed = stepwell("ls", "--limit", "1", env=env)
        assert (listed.returncode, " Gr??e " in listed.stdout) == (0, True)

    def test_json_escapes_what_might_control_a_terminal(self, shell: CommandLine) -> None:
        name = "a\x9b31mb\u202e \U000e0001"
        shown = shell("show", submitted(shell, "--no-start", name=name), "--json")
        assert "\\u009b31mb\\u202e \\udb40\\udc01" in shown.out
        assert shown.json["name"] == name


class TestFiles:
    def test_outputs_are_downloaded_once_and_repaired(self, shell: CommandLine, tmp_path: Path) -> None:
        workflow_id, folder = submitted(shell, "--wait"), tmp_path / "out" / "deep"
        first = shell("outputs", workflow_id, "-o", folder)
        files = [folder / "generate/result.png", folder / "refine/result.png"]
        assert (first.code, first.out.splitlines()) == (0, [str(file) for file in files])
        outputs = shell("outputs", workflow_id, "-o", folder, "--json").lines
        assert [each["size"] for each in outputs] == [file.stat().st_size for file in files]

        content, times = files[0].read_bytes(), files[1].stat().st_mtime_ns
        files[0].write_bytes(bytes(len(content)))
        assert shell("outputs", workflow_id, "-o", folder).code == 0
        assert files[0].read_bytes() == content
        assert files[1].stat().st_mtime_ns == times
        assert sorted(each for each in folder.rglob("*") if each.is_file()) == files

    def test_paths_go_to_a_pipe_while_a_terminal_shows_the_progress(
        self, shell: CommandLine, up: StepwellProcess, tmp_path: Path
    ) -> None:
        workflow_id, paths = submitted(shell, "--wait"), tmp_path / "paths"
        with (
            paths.open("wb") as stdout,
            _terminal(
                "outputs", workflow_id, "-o", str(tmp_path / "out"), up=up, home=tmp_path, stdout=stdout
            ) as terminal,
        ):
            code, output = terminal.end()
        assert (code, "Download" in output) == (0, True)
        files = [tmp_path / "out/generate/result.png", tmp_path / "out/refine/result.png"]
        assert paths.read_text().splitlines() == [str(file) for file in files]

    def test_a_link_in_the_folder_leads_no_file_elsewhere(self, shell: CommandLine, tmp_path: Path) -> None:
        workflow_id, elsewhere = submitted(shell, "--wait"), tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / "out/generate").symlink_to(elsewhere)
        done = shell("outputs", workflow_id, "-o", tmp_path / "out")
        assert (done.code, done.out, [*elsewhere.iterdir()]) == (1, "", [])
        assert done.err.startswith(f"stepwell: {tmp_path}/out/generate is a link")

    def test_outputs_of_one_step_are_selected(self, shell: CommandLine, tmp_path: Path) -> None:
        workflow_id = submitted(shell, "--wait")
        done = shell("outputs", workflow_id, "-o", tmp_path / "out", "--step", "refine")
        assert done.out.splitlines() == [str(tmp_path / "out/refine/result.png")]
        assert shell("outputs", workflow_id, "-o", tmp_path / "out", "--step", "nowhere").code == 2

    def test_outputs_of_sub_workflows_go_to_a_folder_named_by_the_id(
        self, shell: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        each = runs(*pipeline()["steps"], step_id="a/b", for_each={"count": 2})
        workflow_id = submitted(shell, "--wait", steps=[each])
        places = [f"{workflow_id}/a%2Fb/{item}/{step}/result.png" for item in (0, 1) for step in ("generate", "refine")]
        assert shell("outputs", workflow_id[-8:]).out.splitlines() == places
        assert all((tmp_path / place).is_file() for place in places)
        for step, selected in (("a/b", places), ("a%2Fb/1", places[2:]), ("a%2Fb/0/refine", places[1:2])):
            assert shell("outputs", workflow_id, "--step", step).out.splitlines() == selected
        (file, *_) = shell("outputs", workflow_id, "--json").lines
        assert (file["step_path"], file["final"], file["file"]) == ("a%2Fb/0/generate", False, places[0])

    def test_a_damaged_file_is_refused_and_leaves_nothing(
        self, shell: CommandLine, up: StepwellProcess, tmp_path: Path
    ) -> None:
        workflow_id = submitted(shell, "--wait")
        path = shell("outputs", workflow_id, "-o", tmp_path / "whole", "--json").lines[0]["path"]
        stored = up.data_dir / "artifacts" / path
        stored.write_bytes(bytes(stored.stat().st_size))
        refused = shell("outputs", workflow_id, "-o", tmp_path / "out")
        assert (refused.code, refused.out) == (1, "")
        assert refused.err == f"stepwell: {path} is damaged: it has another size or hash than recorded\n"
        assert [each for each in (tmp_path / "out").rglob("*") if each.is_file()] == []

    def test_a_folder_that_cannot_be_written_is_exit_code_1(self, shell: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/generate").write_text("a file")
        refused = shell("outputs", submitted(shell, "--wait"), "-o", tmp_path / "out")
        assert (refused.code, refused.err) == (
            1,
            f"stepwell: cannot write {tmp_path}/out/generate/result.png: File exists\n",
        )

    def test_uploads_print_a_path_each(self, shell: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("one text")
        (tmp_path / "b.txt").write_text("another text")
        done = shell("upload", tmp_path / "a.txt", tmp_path / "b.txt")
        paths = done.out.splitlines()
        assert (done.code, [path.rpartition("/")[2] for path in paths]) == (0, ["a.txt", "b.txt"])
        assert shell("upload", tmp_path / "b.txt", "--json").json["path"] == paths[1]
        assert shell("upload", tmp_path / "missing.txt").code == 2


class _Terminal:
    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process, self._descriptor, self._output = process, descriptor, b""

    def read_until(self, text: bytes) -> None:
        while text not in self._output:
            assert self._read(), self._output

    def end(self) -> tuple[int, str]:
        """Read until the process ends. Return its exit code and all of its output."""
        while self._read():
            pass
        return self.process.wait(STOP_S), self._output.decode()

    def _read(self) -> bool:
        try:
            part = os.read(self._descriptor, 65_536)
        except OSError:  # the process has ended
            return False
        self._output += part
        return bool(part)


@contextmanager
def _terminal(*arguments: str, up: StepwellProcess, home: Path, stdout: IO[bytes] | None = None) -> Iterator[_Terminal]:
    """A command on a terminal of 80 columns and 24 rows. *stdout* replaces its output there."""
    controller, terminal = pty.openpty()
    env = {"STEPWELL_DATA_DIR": str(up.data_dir), "HOME": str(home), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-m", "stepwell", *arguments],
        env=surroundings(env),
        stdin=terminal,
        stdout=terminal if stdout is None else stdout,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        yield _Terminal(process, controller)
    finally:
        process.kill()
        process.wait()
        os.close(controller)
