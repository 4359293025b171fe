"""The service in a process of its own, on a database of ours, quickly begun and quickly killed."""

import asyncio
import os
import socket
from pathlib import Path
from select import select

import uvicorn

from support.processes.forks import fork_call
from support.service.live_service import running_service

_START_S = 120.0


class Killable:
    """Listening on `port`. No other process may be alive on its database."""

    def __init__(self, dsn: str, folder: Path) -> None:
        ours, theirs = os.pipe()
        with os.fdopen(ours) as output, os.fdopen(theirs, "w") as stdout:
            self._process = fork_call(_serve, dsn, folder, stdout=stdout.fileno())
            stdout.close()
            assert select([output], [], [], _START_S)[0], "it hasn't started"
            self.port = int(output.readline())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """SIGKILL; it is gone when this returns."""
        self._process.kill()
        self._process.wait()


def _serve(dsn: str, folder: Path) -> None:
    asyncio.run(_serving(dsn, folder))


async def _serving(dsn: str, folder: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with running_service(dsn, folder) as service:
            server = uvicorn.Server(uvicorn.Config(service.app.api, lifespan="off", log_config=None, access_log=False))
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve(sockets=[listener]))
                while not server.started:
                    await asyncio.sleep(0.005)
                print(listener.getsockname()[1], flush=True)
