"""The end of a command's process: its exit code, its whole output, and no finalisation of the interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes.stepwell_process import stepwell

EXAMPLE = [sys.executable, "-m", "stepwell", "example"]

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
    [
        (("openapi",), 0),
        (("token", "--scope", "no such scope"), 2),
        pytest.param(("--help",), 0, marks=pytest.mark.extended),
        pytest.param(("no-such-command",), 2, marks=pytest.mark.extended),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_a_thread_that_aborts_the_finalisation_harms_no_command(
    arguments: tuple[str, ...], code: int, surroundings: dict[str, str], tmp_path: Path
) -> None:
    done = stepwell(*arguments, env=surroundings)
    assert (done.returncode, bool(done.stdout), bool(done.stderr)) == (code, code == 0, code != 0), done.stderr
    assert (tmp_path / "at_exit").exists()


def test_an_unexpected_error_is_one_line_and_its_traceback_on_request(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "sitecustomize.py").open("a") as file:
        file.write("import stepwell.cli.commands as commands\ncommands.run = lambda: 1 / 0\n")
    done = stepwell("openapi", env=surroundings)
    assert (done.returncode, done.stdout) == (1, "")
    line = "stepwell: unexpected error: ZeroDivisionError: division by zero (STEPWELL_DEBUG=1 shows where)\n"
    assert done.stderr == line
    done = stepwell("openapi", env=surroundings | {"STEPWELL_DEBUG": "1"})
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_full_disk_under_stdout_is_reported_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(EXAMPLE, stdout=full, stderr=subprocess.PIPE, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (1, "stepwell: cannot write to stdout: No space left on device\n")


@pytest.mark.extended
def test_a_full_disk_under_stderr_ends_no_command() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*EXAMPLE, "nowhere"], stdout=subprocess.PIPE, stderr=full, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize(
    ("arguments", "closed", "code", "out", "err"),
    [
        (("example",), ">&-", 0, "", ""),
        (("example", "nowhere"), "2>&-", 2, "", ""),
        (("submit", "-"), "<&-", 3, "", "stepwell: body: Body required"),
        pytest.param(
            ("login", "http://127.0.0.1:1"),
            "<&-",
            2,
            "",
            "stepwell: stdin: Expected a token",
            marks=pytest.mark.extended,
        ),
        pytest.param(
            ("top", "--url", "http://127.0.0.1:1"),
            ">&- <&-",
            5,
            "",
            "stepwell: no response from http://127.0.0.1:1",
            marks=pytest.mark.extended,
        ),
    ],
)
def test_a_standard_stream_may_be_closed(
    arguments: tuple[str, ...], closed: str, code: int, out: str, err: str, tmp_path: Path
) -> None:
    script = f'exec "$0" -m stepwell "$@" {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, out), done.stderr
    assert (done.stderr.splitlines() or [""])[-1].startswith(err)


WITH_THREADS = """
import stepwell.cli.commands as commands

def run():
    import threading
    from concurrent.futures import ProcessPoolExecutor

    def say():
        threading.main_thread().join()
        print("the last words")

    ProcessPoolExecutor(1).submit(abs, 1).result()
    threading.Thread(target=say).start()
    return 3

commands.run = run
"""


@pytest.mark.extended
def test_threads_and_pools_of_others_end_as_they_do_with_the_interpreter(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    """Those of a provider that is an entry point, say."""
    with (tmp_path / "sitecustomize.py").open("a") as file:
        file.write(WITH_THREADS)
    done = stepwell("openapi", env=surroundings)
    assert (done.returncode, done.stdout, done.stderr) == (3, "the last words\n", "")
