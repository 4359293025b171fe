"""A process that has imported everything, and forks a child for each call: milliseconds instead of a second."""

import asyncio
import gc
import multiprocessing
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

Call = tuple[int, Callable[..., None], tuple[Any, ...], Path]
Ended = tuple[int, int]
_SPAWN, _FORK = multiprocessing.get_context("spawn"), multiprocessing.get_context("fork")


class Zygote:
    """Runs functions in children of the process at the other end of *connection*."""

    def __init__(self, connection: "Connection[Call, Ended]") -> None:
        self._connection = connection
        self._waiting: dict[int, asyncio.Future[int]] = {}

    async def call(self, function: Callable[..., None], *args: Any, log: Path) -> int:
        """Return the exit code of a child that has called *function*; a negative one is the signal that killed it.

        The child's output is appended to the file *log*.
        """
        number = max(self._waiting, default=0) + 1
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = ended
        self._connection.send((number, function, args, log))
        return await ended

    def receive(self) -> None:
        """Pass on the ends of children."""
        while self._connection.poll():
            number, code = self._connection.recv()
            if not (ended := self._waiting.pop(number)).done():  # nobody waits for it after a failed test
                ended.set_result(code)


@asynccontextmanager
async def running_zygote(load: Callable[[], None]) -> AsyncIterator[Zygote]:
    """Run a process that has imported the module of *load*, and called it, before it forks."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, load))
    process.start()
    theirs.close()
    zygote, loop = Zygote(ours), asyncio.get_running_loop()
    loop.add_reader(ours.fileno(), zygote.receive)
    try:
        yield zygote
    finally:
        loop.remove_reader(ours.fileno())
        ours.close()
        await asyncio.to_thread(process.join)


def _serve(connection: "Connection[Ended, Call]", load: Callable[[], None]) -> None:
    """Fork for each call, and report the ends of children. Ends with the other end of *connection*."""
    load()
    gc.collect()
    gc.freeze()  # so that children don't copy the pages of what never becomes garbage
    children: dict[int, tuple[int, BaseProcess]] = {}  # by the sentinel of the child: its number and itself
    with suppress(EOFError, ConnectionError):
        while True:
            for ready in wait([connection, *children]):
                if ready is connection:
                    number, function, args, log = connection.recv()
                    child = _FORK.Process(target=_run, args=(connection, function, args, log))
                    child.start()
                    children[child.sentinel] = number, child
                else:
                    assert isinstance(ready, int)
                    number, ended = children.pop(ready)
                    ended.join()
                    assert ended.exitcode is not None
                    connection.send((number, ended.exitcode))
                    ended.close()


def _run(connection: Any, function: Callable[..., None], args: tuple[Any, ...], log: Path) -> None:
    connection.close()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    function(*args)
