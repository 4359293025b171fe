"""Starts the processes of a benchmark, which end with it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from anyio import CancelScope

# It starts with blocked signals: `bench` blocks them, so that one handler gets Ctrl-C. Its own process group
# includes its children. The kernel asks it to end if the benchmark is killed.
_LAUNCHER = """
import ctypes, os, signal, sys
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
os.setpgid(0, 0)
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""
_STOP_S = 10.0
_SHOWN_BYTES = 2_000
_LINE_BYTES = 2**26  # a result contains a number for each few milliseconds of the run


class ProcessEnded(Exception):
    """A process of the benchmark ended too early. The message contains the end of what it wrote to stderr."""


class ChildProcess:
    """A running process, whose stdin and stdout are pipes."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.name, self.process = name, process
        self._input, self._output, self._errors = process.stdin, process.stdout, errors

    async def send(self, data: bytes) -> None:
        """Write *data* to its stdin. Raises `ProcessEnded`."""
        try:
            self._input.write(data)
            await self._input.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self.early_end() from None

    async def line(self) -> bytes:
        """Return the next line of its stdout. Raises `ProcessEnded`. The caller sets the deadline."""
        line = await self._output.readline()
        if not line.endswith(b"\n"):
            raise await self.early_end()
        return line

    async def early_end(self) -> ProcessEnded:
        """Wait for the end of the process, and return the error that describes it."""
        code = await self.process.wait()
        size = os.fstat(self._errors.fileno()).st_size
        said = os.pread(self._errors.fileno(), _SHOWN_BYTES, max(size - _SHOWN_BYTES, 0)).decode(errors="replace")
        last = said.strip().rpartition("\n")[2]
        return ProcessEnded(f"{self.name} ended with exit code {code}" + (f": {last}" if last else ""))

    async def fail_at_end(self) -> None:
        """Raise `ProcessEnded` when the process ends. Runs until it is cancelled."""
        raise await self.early_end()

    def close_input(self) -> None:
        self._input.close()


@asynccontextmanager
async def child_process(
    name: str, command: Sequence[str], env: Mapping[str, str] | None = None, *, cwd: Path | None = None
) -> AsyncIterator[ChildProcess]:
    """Run *command* in a new process group. At the end, stdin is closed, and it gets SIGTERM, and later SIGKILL.

    *env* is added to the environment.
    """
    with TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _LAUNCHER, str(os.getpid()), *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=os.environ | dict(env or {}),
            cwd=cwd,
            limit=_LINE_BYTES,
        )
        child = ChildProcess(name, process, errors)
        try:
            yield child
        finally:
            with CancelScope(shield=True):
                await _end(child)


async def _end(child: ChildProcess) -> None:
    child.close_input()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await child.process.wait()
                return
