"""`stepwell` as a real process: started, watched and killed from outside.

In tests, most commands are forks of a process that has imported them. Benchmarks start each in a new interpreter.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar
from uuid import uuid4

import httpx

from support.processes.forks import Fork, fork_command

READY_S = 120.0
STOP_S = 60.0
# Between two looks, and as a part of the time so far: looking often costs more than what is waited for.
_LOOK_S, _LOOK_PART, _MOST_LOOK_S = 0.01, 0.1, 0.25
# No folder can be made there: a process that a test starts without a data folder must not use this machine's.
_NO_DATA_DIR = "/dev/null/a-test-names-its-data-folder"
PROGRAM = (sys.executable, "-m", "stepwell")
_READY = re.compile(r"^Stepwell is ready on (http://\S+)", re.MULTILINE)
T = TypeVar("T")


@dataclass
class StepwellProcess:
    """A `stepwell up` or `serve`: the leader of a session and process group of its own.

    PostgreSQL's processes are in sessions of their own, as the product starts them; `processes` finds them all.
    """

    process: subprocess.Popen[bytes] | Fork
    data_dir: Path
    out: Path
    err: Path
    _url: str | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        """Valid once it is ready."""
        assert self._url is not None, "wait_ready() first"
        return self._url

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    @property
    def stdout(self) -> str:
        return self.out.read_text()

    @property
    def stderr(self) -> str:
        return self.err.read_text()

    def client(self, **options: object) -> httpx.Client:
        """A client that may do everything."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)  # type: ignore[arg-type]

    def wait_ready(self, within_s: float = READY_S) -> "StepwellProcess":
        """Until /health/ready is 200; fails with the log if the process ends first."""

        def ready() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.stderr}"
            found = _READY.search(self.stdout)
            if found is None:
                return False
            self._url = found[1]
            with suppress(httpx.TransportError):
                return httpx.get(f"{self._url}/health/ready", timeout=5).status_code == 200
            return False

        until(ready, within_s, lambda: self.stdout + self.stderr)
        return self

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, within_s: float = STOP_S) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {within_s} s: {self.stderr}") from None

    def kill(self) -> None:
        """SIGKILL to the service alone."""
        self.process.kill()
        self.process.wait()

    def kill_group(self) -> None:
        """SIGKILL to every process there is of it, all at once: service, workers, PostgreSQL. Waits for their end."""
        # The service first: otherwise it may see the end of PostgreSQL, and end by itself.
        for pid in sorted(self.processes(), key=lambda pid: pid != self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self.wait_gone()

    def processes(self) -> set[int]:
        """All living processes of it, whoever their parent is by now."""
        return {pid for pid in _pids() if _session(pid) == self.pid or _works_in(pid, self.data_dir)}

    def wait_gone(self, within_s: float = 60.0) -> None:
        until(lambda: not self.processes(), within_s, lambda: f"still there: {_commands_of(self.processes())}")

    @property
    def postmaster(self) -> int:
        return int((self.data_dir / "postgres/data/postmaster.pid").read_text().split()[0])

    @property
    def workers(self) -> set[int]:
        """LOCAL's processes, idle ones too."""
        return {pid for pid in self.processes() if "anyio.to_process" in _command(pid)}


def stepwell(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    within_s: float = 240,
    program: Sequence[str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end. *program*: in a new interpreter, see `PROGRAM`."""
    texts = [*map(str, arguments)]
    with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        given.write(stdin)
        given.seek(0)
        process = _start(texts, surroundings(env), (given, out, err), program)
        try:
            code = process.wait(within_s)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(texts, code, out.read(), err.read())


def start_up(
    data_dir: Path, env: Mapping[str, str] | None = None, *options: str, program: Sequence[str] | None = None
) -> StepwellProcess:
    """`stepwell up` on a free port, unless *options* name one; not waited for."""
    return start("up", data_dir, env, "--data-dir", str(data_dir), *options, program=program)


def start(
    command: str,
    data_dir: Path,
    env: Mapping[str, str] | None = None,
    *options: str,
    program: Sequence[str] | None = None,
    cwd: Path | None = None,
    user: int | None = None,
    port: bool = True,
    logs: Path | None = None,
) -> StepwellProcess:
    """A command as a process of its own, with *data_dir* unless *env* names another data folder, or a home.

    Its output is in files in *logs* or beside *data_dir*. *port*: on a free one. *program*: in a new interpreter.
    """
    log = (data_dir.parent if logs is None else logs) / f"{command}-{uuid4().hex[:8]}"
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    if port and "--port" not in options:
        options = ("--port", "0", *options)
    with Path(os.devnull).open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
        process = _start(
            [command, *options], surroundings(env, str(data_dir)), (stdin, stdout, stderr), program, cwd, user
        )
    return StepwellProcess(process, data_dir, out, err)


def _start(
    arguments: Sequence[str],
    env: Mapping[str, str],
    streams: Sequence[IO[Any]],
    program: Sequence[str] | None,
    cwd: Path | None = None,
    user: int | None = None,
) -> subprocess.Popen[bytes] | Fork:
    """Start a command in a session of its own. It is a fork, unless it needs an interpreter of its own."""
    descriptors = [stream.fileno() for stream in streams]
    if program is None and user is None and "PYTEST_VERSION" in os.environ and not _has_settings_of_python(env):
        return fork_command(arguments, env, descriptors, cwd)
    stdin, stdout, stderr = descriptors
    return subprocess.Popen(
        [*(program or PROGRAM), *arguments],
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def _has_settings_of_python(env: Mapping[str, str]) -> bool:
    """Return whether an interpreter that starts in this environment differs from one that starts in ours."""
    return any(env.get(name) != os.environ.get(name) for name in {*env, *os.environ} if name.startswith("PYTHON"))


@contextmanager
def running_up(
    data_dir: Path, env: Mapping[str, str] | None = None, *options: str, program: Sequence[str] | None = None
) -> Iterator[StepwellProcess]:
    """A ready `stepwell up`; whatever is left of it at the end is killed."""
    running = start_up(data_dir, env, *options, program=program)
    try:
        yield running.wait_ready()
    finally:
        running.kill_group()


def surroundings(env: Mapping[str, str] | None, data_dir: str = _NO_DATA_DIR) -> dict[str, str]:
    """Our environment with *env*, without other settings of Stepwell but PostgreSQL's binaries and *data_dir*.

    With a home in *env*, the data folder is left to the command.
    """
    added = env or {}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEPWELL_")}
    if binaries := os.environ.get("STEPWELL_POSTGRES_BIN"):
        kept["STEPWELL_POSTGRES_BIN"] = binaries
    if "HOME" not in added:
        kept["STEPWELL_DATA_DIR"] = data_dir
    return {**kept, **added}


def until(condition: Callable[[], T], within_s: float, otherwise: Callable[[], object] = lambda: "") -> T:
    """The first true value of *condition*, which is asked again and again; fails with *otherwise*."""
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < within_s, f"not within {within_s} s: {otherwise()}"
        time.sleep(min(max(_LOOK_S, _LOOK_PART * waited), _MOST_LOOK_S))
    return found


def _pids() -> Iterator[int]:
    """Zombies are no processes any more."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _stat(int(entry.name))[:1] not in ([], ["Z"]):
            yield int(entry.name)


def _stat(pid: int) -> list[str]:
    """Its fields after the name: state, ppid, pgrp, session..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _works_in(pid: int, folder: Path) -> bool:
    """PostgreSQL's processes stay in their data folder; initdb and the like name it."""
    if pid == os.getpid():
        return False
    try:
        if Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder.resolve()):
            return True
    except OSError:
        return False
    return f"-D {folder}/postgres" in _command(pid)


def _commands_of(pids: set[int]) -> dict[int, str]:
    return {pid: _command(pid) for pid in pids}
