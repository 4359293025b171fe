"""The memory of LOCAL's work on one machine, shared out among the processes of its workers.

The processes keep a queue in a file, under a lock: one line for each process that has memory or waits for it, in the
order in which they came.

What must hold:
- A process has its memory once the lines up to its own need no more than there is. So nobody is overtaken, and heavy
  work isn't delayed for ever.
- The line of a process that has died counts for nothing.
"""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from msgspec import DecodeError, Struct, json

from stepwell.executors.claimants import start_time

_CHECK_S = 0.05


class _Line(Struct, frozen=True):
    """The memory that a process has or waits for. `started` tells it from a later process with the same id."""

    id: str
    pid: int
    started: int
    memory: int


class MachineMemory:
    """The queue of this machine and user. *max_memory* is in bytes. Raises OSError if the file can't be used."""

    def __init__(self, max_memory: int, path: Path | None = None) -> None:
        self._max_memory = max_memory
        self._path = path or Path(tempfile.gettempdir(), f"stepwell-worker-memory-{os.getuid()}")

    @asynccontextmanager
    async def reserved(self, memory: int) -> AsyncIterator[None]:
        """Wait for *memory* bytes, and have them within the context. They must fit: `WorkWeight.check_fits`."""
        own = _Line(uuid4().hex, os.getpid(), start_time(os.getpid()) or 0, memory)
        with self._locked() as lines:
            lines.append(own)
        try:
            while not self._is_turn(own):  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(_CHECK_S)
            yield
        finally:
            with self._locked() as lines:
                lines[:] = [line for line in lines if line.id != own.id]

    def _is_turn(self, own: _Line) -> bool:
        with self._locked() as lines:
            needed = 0
            for line in lines:
                needed += line.memory
                if line.id == own.id:
                    return needed <= self._max_memory
            lines.append(own)  # the file was deleted
            return False

    @contextmanager
    def _locked(self) -> Iterator[list[_Line]]:
        """Yield the lines of living processes, and write them at the end."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise PermissionError(f"{self._path} belongs to another user, who could hold up all work")
            fcntl.flock(file, fcntl.LOCK_EX)
            before = _read(file)
            lines = [line for line in before if start_time(line.pid) == line.started]
            yield lines
            if lines != before:
                file.seek(0)
                file.truncate()
                file.write(json.encode(lines))


def _read(file: IO[bytes]) -> list[_Line]:
    try:
        return json.decode(file.read() or b"[]", type=list[_Line])
    except DecodeError:
        return []  # a process died while it wrote
