"""The completion scripts in the shells themselves, on a terminal. A shell that isn't installed is skipped."""

import os
import pty
import shutil
import sys
from pathlib import Path
from select import select
from time import monotonic

import pytest

SHORT = "7b85b698"
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "source <(stepwell completion bash)"),
    "zsh": (["-f", "-i"], "source <(stepwell completion zsh)"),
    "fish": (["--no-config", "-i"], "stepwell completion fish | source"),
}
WITHIN_S = 60.0


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self.output = b""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, env)

    def type(self, keys: str) -> None:
        self.output = b""
        os.write(self._terminal, keys.encode())

    def read_until(self, text: str) -> None:
        """Read what the shell shows until *text* is part of it."""
        end = monotonic() + WITHIN_S
        while text.encode() not in self.output:
            left = end - monotonic()
            assert left > 0, f"no {text!r} in {self.output.decode(errors='replace')}"
            if select([self._terminal], [], [], left)[0]:
                self.output += os.read(self._terminal, 65_536)
            if b"\x1b[c" in self.output:  # fish asks what the terminal is
                self.output = self.output.replace(b"\x1b[c", b"")
                os.write(self._terminal, b"\x1b[?6c")

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


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
