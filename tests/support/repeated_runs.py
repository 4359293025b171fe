"""Runs tests again and again beside busy processes, to find those that fail now and then.

    PYTHONPATH=tests python -m support.repeated_runs LOG --times 30 --busy 4 -- -n 3 tests/crash tests/processes

What follows `--` goes to pytest. The file LOG gets a line of JSON for each run, after its end. A run that was stopped
leaves no line, and the same command continues with the next number. So runs add up, also those of several days. The
output of a run that failed is in a file beside LOG. The exit code is 1 if any of the runs has failed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from platform import python_version
from xml.etree import ElementTree as ET

# It ends with its parent, also if that is killed.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


def main() -> int:
    parser = argparse.ArgumentParser(prog="support.repeated_runs", description="Run tests again and again.")
    parser.add_argument("log", type=Path)
    parser.add_argument("--times", type=int, default=30, help="runs in all, with those that LOG has (default: 30)")
    parser.add_argument("--busy", type=int, default=4, help="processes that only compute (default: 4)")
    parser.add_argument("pytest", nargs="+", metavar="ARGUMENT", help="of pytest, after --")
    options = parser.parse_args()
    log: Path = options.log.resolve()
    with _busy_processes(options.busy):
        for number in range(len(_lines(log, options)), options.times):
            line = {**_same(options), "run": number + 1, **_run(options.pytest, log, number + 1)}
            with log.open("a") as file:
                print(json.dumps(line), file=file)
            print(json.dumps(line), flush=True)
    return any(line["exit_code"] for line in _lines(log, options))


def _same(options: argparse.Namespace) -> dict[str, object]:
    """Return the members that the lines of equal runs share."""
    return {"arguments": options.pytest, "busy": options.busy, "python": python_version()}


def _lines(log: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Return the lines of runs like those that are asked for."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if line.items() >= _same(options).items()]


def _run(arguments: Sequence[str], log: Path, number: int) -> dict[str, object]:
    """Run pytest once. Return what its line says."""
    report = log.with_name(f"{log.name}.{number}.xml")
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds = round(time.monotonic() - began)
    if done.returncode:
        log.with_name(f"{log.name}.{number}.out").write_text(done.stdout)
    cases = list(ET.parse(report).iter("testcase")) if report.exists() else []
    report.unlink(missing_ok=True)
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return {
        "commit": commit.strip(),
        "seconds": seconds,
        "exit_code": done.returncode,
        "tests": len(cases),
        "failed": [f"{case.get('classname')}::{case.get('name')}" for case in failed],
    }


@contextmanager
def _busy_processes(number: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
