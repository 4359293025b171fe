"""The service behind a real socket, in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from support.service.live_service import Service


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the tests."""
        yield


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[int]:
    """Yield the port on which the service answers."""
    config = uvicorn.Config(
        service.app.api, port=0, lifespan="off", log_config=None, access_log=False, http="httptools"
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(), name="http")
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        try:
            yield int(server.servers[0].sockets[0].getsockname()[1])
        finally:
            server.should_exit = True
            await serving
