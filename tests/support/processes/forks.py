"""Processes that are forked from one warm process, which has imported Stepwell and started it once.

A fork takes milliseconds, a new interpreter takes a second. A fork can be a command of `stepwell` or the call of a
function. It has the pid, the environment, the streams and the `__main__` of a process that was started for it. Run as
a program, this module is the warm process. There is one for each pytest process.

The `forkserver` of `multiprocessing` would not do: its processes have another `sys.path`, stdin and start method than a
command, import pytest, and can lose their exit code if one thread waits for it while another starts a process.
"""

import asyncio
import atexit
import gc
import os
import pickle
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from select import select
from threading import Lock
from typing import Any, NoReturn

import structlog

_TESTS = str(Path(__file__).parents[2])
_REQUEST_BYTES = 1 << 17
_STREAMS = 3
_NUMBER_BYTES = 12
_CRASHED = 70  # the exit code of a function that raises


@dataclass
class Fork:
    """A forked process, with the methods of `subprocess.Popen` that tests call."""

    pid: int
    _status: int  # a pipe that gets the exit code
    returncode: int | None = None
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self._status)  # not earlier, because another thread may wait for it

    def poll(self) -> int | None:
        return self._read_code(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. A negative one is the signal that killed the process."""
        if (code := self._read_code(timeout)) is None:
            raise subprocess.TimeoutExpired("the fork", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends meanwhile
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read_code(self, within_s: float | None) -> int | None:
        if self.returncode is None and select([self._status], [], [], within_s)[0]:
            with self._lock:
                if self.returncode is None:
                    self.returncode = _read_number(self._status)
        return self.returncode


def fork_command(
    arguments: Sequence[str], env: Mapping[str, str], streams: Sequence[int], cwd: Path | None = None
) -> Fork:
    """Start a command of `stepwell`, the leader of a session. Its standard streams are the descriptors *streams*."""
    return _fork(_run_command, ([*arguments],), streams, env, cwd)


def fork_call(function: Callable[..., None], *args: Any, stdout: int | None = None, log: Path | None = None) -> Fork:
    """Call a function of a module in a process of its own, the leader of a session. It exits with 0 if that returns.

    *stdout*: the descriptor of its standard output. *log*: a file to which it appends its output and its errors. Else
    both go where ours go.
    """
    with Path(os.devnull).open("rb") as stdin:
        if log is None:
            return _fork(_call, (function, *args), (stdin.fileno(), 1 if stdout is None else stdout, 2))
        with log.open("ab") as output:
            return _fork(_call, (function, *args), (stdin.fileno(), output.fileno(), output.fileno()))


async def call_in_fork(function: Callable[..., None], *args: Any, log: Path | None = None, within_s: float = 60) -> int:
    """Call a function as `fork_call` does, and return the exit code without holding up the event loop."""
    fork = await asyncio.to_thread(fork_call, function, *args, log=log)
    try:
        return await asyncio.to_thread(fork.wait, within_s)
    finally:
        fork.kill()


def _fork(
    function: Callable[..., None],
    args: tuple[Any, ...],
    streams: Sequence[int],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Fork:
    status, theirs = os.pipe()
    request = pickle.dumps((function, args, dict(os.environ if env is None else env), cwd or Path.cwd()))
    try:
        socket.send_fds(_warm_process(), [request], [*streams, theirs])
    finally:
        os.close(theirs)
    return Fork(_read_number(status), status)


def _read_number(pipe: int) -> int:
    """Return the next number in the pipe. All have the same length."""
    number = os.read(pipe, _NUMBER_BYTES)
    assert number, "the warm process has ended"
    return int(number)


@cache
def _warm_process() -> socket.socket:
    """Start the process that forks. It ends when the returned socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # runs before the wait
    return ours


# The functions of a request are found by the name of their module, so this one isn't `__main__`.
_PROGRAM = f"""
import sys
sys.path.append({_TESTS!r})
from support.processes import forks
forks.serve(int(sys.argv[1]))
"""


def serve(descriptor: int) -> None:
    """Fork for each request at the socket, and report the exit codes, until the other end is closed."""
    _warm_up()
    requests = socket.socket(fileno=descriptor)
    children: dict[int, tuple[int, int]] = {}  # by pidfd: the pid, and the pipe for its exit code
    while True:
        for ready in select([requests.fileno(), *children], [], [])[0]:
            if ready in children:
                pid, status = children.pop(ready)
                _write_number(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                _close(ready, status)
                continue
            request, received, *_ = socket.recv_fds(requests, _REQUEST_BYTES, _STREAMS + 1)
            if not request:
                for pid, _ in children.values():
                    os.kill(pid, signal.SIGKILL)  # a test has failed, and left it
                return
            *streams, status = received
            if (pid := os.fork()) == 0:
                _close(requests.fileno(), status, *children, *(pipe for _, pipe in children.values()))
                _run(streams, request)
            _close(*streams)
            _write_number(status, pid)
            children[os.pidfd_open(pid)] = pid, status


def _write_number(pipe: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody waits for it
        os.write(pipe, b"%*d" % (_NUMBER_BYTES, number))


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _run(streams: list[int], request: bytes) -> NoReturn:
    code = _CRASHED
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        _close(*streams)
        function, args, env, cwd = pickle.loads(request)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        function(*args)
        code = 0
    except BaseException:  # noqa: BLE001 - it must not go on as the process that forks
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_command(arguments: list[str]) -> None:
    sys.path.remove(_TESTS)
    sys.argv = ["stepwell", *arguments]
    runpy.run_module("stepwell", run_name="__main__", alter_sys=True)


def _call(function: Callable[..., None], *args: Any) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    function(*args)


def _warm_up() -> None:
    """Import all commands and what the other forks need, and fill the caches that the start of a service fills."""
    commands = import_module("stepwell.cli")
    for module in pkgutil.walk_packages(commands.__path__, "stepwell.cli."):
        import_module(module.name)
    import_module("uvicorn")
    import_module("support.processes.warm_service").fill_caches()
    gc.collect()
    gc.freeze()  # so that forks don't copy the pages of what never becomes garbage
