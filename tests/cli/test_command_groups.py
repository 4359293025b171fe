"""What all commands have in common: the help in sections, the completion, and the variables of their environment."""

import re
import subprocess
import sys
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name

import pytest

from stepwell.cli.commands import cli
from stepwell.cli.workflow_commands.service_command import service_commands
from support.documents.manual_tables import commands_over_the_api
from support.processes.stepwell_process import stepwell
from support.service.installed_settings import unread_settings


def test_help_lists_every_command_once_in_its_section() -> None:
    sections = re.split(r"^(Server|Workflows|Development):$", stepwell("--help").stdout, flags=re.MULTILINE)[1:]
    listed = {
        title: re.findall(r"^  ([\w-]+)", text, re.MULTILINE) for title, text in zip(*[iter(sections)] * 2, strict=True)
    }
    assert list(listed) == ["Server", "Workflows", "Development"]
    listed["Development"] = [name for name in listed["Development"] if name not in ("Every", "See")]
    assert sorted(name for names in listed.values() for name in names) == sorted(cli.commands)
    assert {*service_commands.commands, "run"} == set(listed["Workflows"])


@pytest.mark.parametrize("name", sorted(commands_over_the_api()))
def test_every_command_over_the_api_has_json_and_the_connection(name: str) -> None:
    options = {option for parameter in commands_over_the_api()[name].params for option in parameter.opts}
    assert {"--json", "--token", "--profile"} <= options
    assert name == "login" or {"--url", "--data-dir"} <= options


@pytest.mark.parametrize("name", sorted(commands_over_the_api()))
def test_the_function_of_a_command_takes_its_options(name: str) -> None:
    command = commands_over_the_api()[name]
    if command.function is None:
        return
    module, member = command.function.split(".")
    function = resolve_name(f"stepwell.cli.workflow_commands.{module}:{member}")
    own = [parameter.name for parameter in command.params if parameter.name not in {*command.connection, "as_json"}]
    assert sorted(own) == sorted(list(signature(function).parameters)[1:])


def test_help_imports_no_client_no_server_and_no_logs() -> None:
    script = (
        "import sys; from stepwell.cli.commands import cli; cli.main(['--help'], standalone_mode=False);"
        "print([name for name in ('httpx', 'litestar', 'structlog', 'stepwell.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_completes_commands_and_options(shell: str) -> None:
    script = stepwell("completion", shell)
    assert (script.returncode, script.stderr) == (0, "")
    assert f"_STEPWELL_COMPLETE={shell}_complete" in script.stdout


def _completions(*words: str, **env: str) -> list[str]:
    """The words that bash would offer for the last one of *words*."""
    line = {"COMP_WORDS": " ".join(["stepwell", *words]), "COMP_CWORD": str(len(words))}
    script = "import sys; sys.argv[0] = 'stepwell'; from stepwell.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**line, "_STEPWELL_COMPLETE": "bash_complete", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [row.partition(",")[2] for row in done.stdout.splitlines()]


def test_bash_completes_commands_options_and_ids_shown_lately(tmp_path: Path) -> None:
    state = tmp_path / "stepwell/workflows.json"
    state.parent.mkdir()
    state.write_text('{"shown": [["http://a", "01a21a24-e234-7f13-b116-ab7b7b85b698"]], "submitted": {}}')
    home = {"XDG_STATE_HOME": str(tmp_path)}
    assert _completions("can") == ["cancel"]
    assert _completions("cleanup", "--y") == ["--yes"]
    assert _completions("cancel", "7b", **home) == ["7b85b698"]
    assert _completions("show", "", **home) == ["@last", "7b85b698"]


def test_variables_of_the_command_line_are_no_unknown_settings() -> None:
    names = ("STEPWELL_URL", "STEPWELL_TOKEN", "STEPWELL_TOKEN_FILE", "STEPWELL_DEBUG")
    assert unread_settings(dict.fromkeys(names, "x")) == {}
    assert unread_settings({"STEPWELL_TOKN": "x"}) == {"STEPWELL_TOKN": "STEPWELL_TOKEN"}
