"""A proxy that cuts connections: each after a given number of bytes of its answer."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

_CHUNK = 65_536


class CuttingProxy:
    """Cuts the next connections after *limits* bytes of the answer each, then none. `cuts` is the number of cuts."""

    def __init__(self, target: int, limits: Iterable[int]) -> None:
        self.cuts = 0
        self._target, self._limits = target, iter(limits)
        self._tasks = set[asyncio.Task[None]]()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asyncio_task = asyncio.create_task(self._serve(reader, writer), name="connection")  # noqa: TID251 - `close` awaits it
        self._tasks.add(asyncio_task)

    async def close(self) -> None:
        """End all connections."""
        for asyncio_task in self._tasks:
            asyncio_task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = next(self._limits, None)
        from_target, to_target = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_copy(reader, to_target), name="requests of the proxy")
                if await _copy(from_target, writer, limit):
                    self.cuts += 1
                sending.cancel()
        finally:
            to_target.transport.abort()
            writer.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int | None = None) -> bool:
    """Copy until the end, or *limit* bytes. Return True if the limit ended it."""
    count = 0
    with suppress(ConnectionError):
        while count != limit:
            data = await source.read(_CHUNK if limit is None else min(_CHUNK, limit - count))
            if not data:
                return False
            count += len(data)
            target.write(data)
            await target.drain()
    return count == limit


@asynccontextmanager
async def cutting(target: int, limits: Iterable[int]) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """Run a proxy to the port *target*, and yield it with its URL."""
    proxy = CuttingProxy(target, limits)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    async with server:
        try:
            yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            await proxy.close()
