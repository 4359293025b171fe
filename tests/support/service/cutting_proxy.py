"""A proxy that cuts connections: each after a given number of bytes of its answer."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65_536


class CuttingProxy:
    """Cuts the next connections after *limits* bytes of the answer each, then none. `cuts` counts what it has cut."""

    def __init__(self, target: int, limits: Iterable[int]) -> None:
        self.cuts = 0
        self._target, self._limits = target, iter(limits)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limits: Iterator[int] = self._limits
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_copy(reader, back))
                await self._copy_until(next(limits, None), there, writer)
                sending.cancel()
        finally:
            back.transport.abort()
            writer.transport.abort()

    async def _copy_until(self, limit: int | None, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        count = 0
        while data := await source.read(_CHUNK if limit is None else min(_CHUNK, limit - count)):
            count += len(data)
            with suppress(ConnectionError):
                target.write(data)
                await target.drain()
            if count == limit:
                self.cuts += 1
                target.close()
                return


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()


@asynccontextmanager
async def cutting(target: int, limits: Iterable[int]) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """Run a proxy to the port *target*, and yield it with its URL."""
    proxy = CuttingProxy(target, limits)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
