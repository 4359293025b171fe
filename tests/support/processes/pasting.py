"""A user who pastes the commands of a document into a shell."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.processes.source_tree import TOP
from support.processes.stepwell_process import StepwellProcess

# A machine under load may need longer than a user, who sees 60 tries as a minute.
_PATIENT_CURL = """#!/bin/sh
for argument do
    [ "$argument" = --retry ] && set -- "$@" --retry 600
done
exec "%s" "$@"
"""


def paste(lines: str, cwd: Path, env: Mapping[str, str], data_dir: Path) -> str:
    """Paste *lines* into one shell and return its output. A command that reads its standard input eats lines.

    The shell ends at the first command that fails. All processes that it started on *data_dir* must have ended by then.
    """
    output = cwd.parent / f"{cwd.name}.output"
    with output.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail", "-s"],
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    running = StepwellProcess(shell, data_dir, output, output)
    try:
        shell.communicate(lines.encode(), timeout=1_200)
        assert shell.returncode == 0, output.read_text()
        assert running.processes() == set()
    finally:
        running.kill_group()
    return output.read_text()


def make_tools(folder: Path) -> Path:
    """Make a folder with a `curl`: the machine's, or one in Python for machines without it."""
    tools = folder / "tools"
    tools.mkdir()
    curl = shutil.which("curl")
    if curl is None:
        shutil.copy(TOP / "tests/support/processes/curl", tools / "curl")
    else:
        (tools / "curl").write_text(_PATIENT_CURL % curl)
        (tools / "curl").chmod(0o755)
    return tools


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port on which `up` can listen, and which the system assigns to no other program."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
