"""The completion scripts in the shells themselves, on a terminal. A shell that isn't installed is skipped."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from support.processes.terminal import Terminal

pytestmark = pytest.mark.extended

SHORT = "7b85b698"
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "source <(stepwell completion bash)"),
    "zsh": (["-f", "-i"], "source <(stepwell completion zsh)"),
    "fish": (["--no-config", "-i"], "stepwell completion fish | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_and_ids(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: completion in it is not tested")
    arguments, script = SHELLS[shell]
    terminal = Terminal([program, *arguments], _environment(tmp_path), tmp_path)
    try:
        terminal.type(f"{script}; echo rea''dy\r")
        terminal.read_until("ready")
        for typed, completed in (
            ("stepwell can", "stepwell cancel "),
            ("stepwell show 7b8", f"stepwell show {SHORT} "),
            ("stepwell show @la", "stepwell show @last "),
            (f"stepwell cancel {SHORT} @la", f"stepwell cancel {SHORT} @last "),
            ("stepwell plan ./pipe", "stepwell plan ./pipeline.json "),
        ):
            terminal.type(f"{typed}\t")
            terminal.read_until(completed.removeprefix(typed))
            terminal.type("\x15echo rea''dy\r")  # instead of the line
            terminal.read_until("ready")
    finally:
        terminal.close()


def _environment(home: Path) -> dict[str, str]:
    """Return the environment of a user whose command line has shown a workflow, with the command on the path."""
    state = home / "state/stepwell/workflows.json"
    state.parent.mkdir(parents=True)
    state.write_text(f'{{"shown": [["http://a", "01a21a24-e234-7f13-b116-ab7b{SHORT}"]], "submitted": {{}}}}')
    (home / "pipeline.json").touch()
    program = home / "bin/stepwell"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom stepwell.cli import main\nmain()\n")  # as pip writes it
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }
