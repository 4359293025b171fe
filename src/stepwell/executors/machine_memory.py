"""The memory of LOCAL's work on one machine, divided among the processes of its Celery workers.

The processes keep a queue in a file: one line for each process that has memory or waits for it, in the order in which
they came. A second file beside it has the lock. The files are in the machine's memory if it has a folder there: on a
disk, each change would wait for others' writes.

What must hold:
- A process has its memory once the lines up to its own need no more than there is. So no process is overtaken, and
  heavy work isn't delayed for ever.
- The line of a process that has died counts for nothing.
- The queue is replaced as a whole, so a process that is killed while it writes loses no line.
- The event loop never waits for the lock.
"""

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import structlog
from msgspec import DecodeError, Struct, json

from stepwell.executors.claimants import own_start_time, start_time

log = structlog.get_logger()

_CHECK_S = 0.05
_LOCK_S, _LOCK_AGAIN_S = 10.0, 0.002  # the lock is held for less than a millisecond
_IN_MEMORY = "/dev/shm"  # noqa: S108 - all users may write there, which `_opened` considers

T = TypeVar("T")


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
        self._path = path or Path(_folder(), f"stepwell-worker-memory-{os.getuid()}")
        self._lock, self._new = (self._path.with_name(f"{self._path.name}.{end}") for end in ("lock", "new"))
        self._ended: set[str] = set()

    @asynccontextmanager
    async def reserved(self, memory: int) -> AsyncIterator[None]:
        """Wait for *memory* bytes, and have them within the context. They must fit: `WorkWeight.check_fits`."""
        own = _Line(uuid4().hex, os.getpid(), own_start_time(), memory)
        try:
            while not await self._change(lambda lines: self._has_memory(lines, own)):  # noqa: ASYNC110 - no event
                await asyncio.sleep(_CHECK_S)
            yield
        finally:
            self._ended.add(own.id)  # if the line can't be removed now, the next change removes it
            try:
                await asyncio.shield(self._change(lambda _: None))
            except OSError as error:
                log.warning("memory.not_released", action="release", error=str(error))

    def _has_memory(self, lines: list[_Line], own: _Line) -> bool:
        if own not in lines:  # it is new, or the file was deleted
            lines.append(own)
        return sum(line.memory for line in lines[: lines.index(own) + 1]) <= self._max_memory

    async def _change(self, change: Callable[[list[_Line]], T]) -> T:
        """Apply *change* to the lines of work that hasn't ended, and store them. Raises OSError."""
        give_up_at = time.monotonic() + _LOCK_S
        with _opened(self._lock) as descriptor:
            while not _is_locked(descriptor):
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"another process has held the lock of {self._path} for {_LOCK_S:g} s")
                await asyncio.sleep(_LOCK_AGAIN_S)
            before = self._read()
            ended = frozenset(self._ended)
            lines = [line for line in before if line.id not in ended and start_time(line.pid) == line.started]
            result = change(lines)
            if lines != before:
                self._replace(json.encode(lines))
            self._ended -= ended
            return result

    def _read(self) -> list[_Line]:
        with _opened(self._path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            try:
                return json.decode(file.read() or b"[]", type=list[_Line])
            except DecodeError:
                return []  # somebody has damaged it

    def _replace(self, data: bytes) -> None:
        with _opened(self._new) as descriptor, open(descriptor, "r+b", closefd=False) as file:
            file.truncate()
            file.write(data)
        self._new.replace(self._path)


def _folder() -> str:
    return _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK | os.X_OK) else tempfile.gettempdir()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file of this user, and create it if it is missing. Raises OSError if it belongs to somebody else."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user, who could hold up all work")
        yield descriptor
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Take the lock, which ends when the file is closed. Return False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
