"""The end of a command's process: its exit code, its whole output, and no finalisation of the interpreter."""

import os
from pathlib import Path

import pytest

from support.processes import stepwell

# Python imports it at its start. The object is deleted when the interpreter is finalised.
AT_THE_END = """
import atexit, os

class AbortsWhenDeleted:
    def __del__(self):
        os.abort()

aborts = AbortsWhenDeleted()
atexit.register(lambda: open(os.environ["AT_EXIT"], "w").close())
"""


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sitecustomize.py").write_text(AT_THE_END)
    return {"PYTHONPATH": str(tmp_path), "AT_EXIT": str(tmp_path / "at_exit"), "PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("openapi",), 0), (("--help",), 0), (("token", "--scope", "no such scope"), 2), (("no-such-command",), 2)],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_a_thread_that_aborts_the_finalisation_harms_no_command(
    arguments: tuple[str, ...], code: int, surroundings: dict[str, str], tmp_path: Path
) -> None:
    done = stepwell(*arguments, env=surroundings)
    assert (done.returncode, bool(done.stdout), bool(done.stderr)) == (code, code == 0, code != 0), done.stderr
    assert (tmp_path / "at_exit").exists()


def test_an_unexpected_error_is_shown_with_its_traceback(surroundings: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "sitecustomize.py").open("a") as file:
        file.write("import stepwell.cli.commands as commands\ncommands.run = lambda: 1 / 0\n")
    done = stepwell("openapi", env=surroundings)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
