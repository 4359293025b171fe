"""Commands of `stepwell`, each in a fork of a process that has imported all of them.

A fork has the pid, the environment, the streams and the `__main__` of a process that was started for the command. The
imports, which take longer than most commands, are done once. Run as a program, this module is the process that forks.

The `forkserver` of `multiprocessing` would not do: its processes have another `sys.path`, stdin and start method than a
command, import pytest, and can lose their exit code if one thread waits for it while another starts a process.
"""

import atexit
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from select import select
from threading import Lock
from typing import NoReturn

_REQUEST_BYTES = 1 << 17
_STREAMS = 3
_NUMBER_BYTES = 12
_CRASHED = 70  # the exit code of a command that raises


@dataclass
class ForkedCommand:
    """A command in a fork, with the methods of `subprocess.Popen` that tests call."""

    pid: int
    _status: int  # a pipe that gets the exit code
    returncode: int | None = None
    _lock: Lock = field(default_factory=Lock, repr=False)

    def poll(self) -> int | None:
        return self._read_code(0)

    def wait(self, timeout: float | None = None) -> int:
        if (code := self._read_code(timeout)) is None:
            raise subprocess.TimeoutExpired("stepwell", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read_code(self, within_s: float | None) -> int | None:
        if self.returncode is None and select([self._status], [], [], within_s)[0]:
            with self._lock:  # another thread may wait, too
                if self.returncode is None:
                    self.returncode = _read_number(self._status)
                    os.close(self._status)
        return self.returncode


def fork_command(
    arguments: Sequence[str], env: Mapping[str, str], streams: Sequence[int], cwd: Path | None = None
) -> ForkedCommand:
    """Start a command, the leader of a session. Its standard streams are the descriptors *streams*."""
    status, theirs = os.pipe()
    request = json.dumps([[*arguments], {**env}, str(cwd or Path.cwd())]).encode()
    try:
        socket.send_fds(_forking_process(), [request], [*streams, theirs])
    finally:
        os.close(theirs)
    return ForkedCommand(_read_number(status), status)


def _read_number(pipe: int) -> int:
    """Return the next number in the pipe. All have the same length."""
    number = os.read(pipe, _NUMBER_BYTES)
    assert number, "the process that forks commands has ended"
    return int(number)


@cache
def _forking_process() -> socket.socket:
    """Start the process that forks. It ends when the returned socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # runs before the wait
    return ours


def _serve(requests: socket.socket) -> None:
    """Fork for each request, and report the exit codes of the forks, until the other end is closed."""
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
                return
            *streams, status = received
            if (pid := os.fork()) == 0:
                _close(requests.fileno(), status, *children, *(pipe for _, pipe in children.values()))
                _run(streams, *json.loads(request))
            _close(*streams)
            _write_number(status, pid)
            children[os.pidfd_open(pid)] = pid, status


def _write_number(pipe: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody waits for it
        os.write(pipe, b"%*d" % (_NUMBER_BYTES, number))


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _run(streams: list[int], arguments: list[str], env: dict[str, str], cwd: str) -> NoReturn:
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        _close(*streams)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = ["stepwell", *arguments]
        runpy.run_module("stepwell", run_name="__main__", alter_sys=True)
    except BaseException:  # noqa: BLE001 - it must not go on as the process that forks
        traceback.print_exc()
    finally:
        os._exit(_CRASHED)


def _import_commands() -> None:
    commands = import_module("stepwell.cli")
    for module in pkgutil.walk_packages(commands.__path__, "stepwell.cli."):
        import_module(module.name)


if __name__ == "__main__":
    _import_commands()
    gc.collect()
    gc.freeze()  # so that forks don't copy the pages of what never becomes garbage
    _serve(socket.socket(fileno=int(sys.argv[1])))
