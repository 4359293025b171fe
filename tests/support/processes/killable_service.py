"""The service in a process of its own, on a database of ours, quickly begun and quickly killed."""

import asyncio
import socket
from multiprocessing.connection import Connection
from pathlib import Path

import uvicorn

from support.processes.warm_process import Pipe, WarmProcess
from support.service.live_service import running_service

_START_S = 120.0


class Killable:
    """Listening on `port`. No other process may be alive on its database."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._end, theirs = Pipe(duplex=False)
        self._process = WarmProcess(target=_serve, args=(dsn, folder, theirs), daemon=True)
        self._process.start()
        theirs.close()
        assert self._end.poll(_START_S), "it hasn't started"
        self.port: int = self._end.recv()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """SIGKILL; it is gone when this returns."""
        self._process.kill()
        self._process.join()
        self._end.close()


def _serve(dsn: str, folder: Path, to_parent: "Connection[int, int]") -> None:
    asyncio.run(_serving(dsn, folder, to_parent))


async def _serving(dsn: str, folder: Path, to_parent: "Connection[int, int]") -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with running_service(dsn, folder) as service:
            server = uvicorn.Server(uvicorn.Config(service.app.api, lifespan="off", log_config=None, access_log=False))
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve(sockets=[listener]))
                while not server.started:
                    await asyncio.sleep(0.005)
                to_parent.send(listener.getsockname()[1])
