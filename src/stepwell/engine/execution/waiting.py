"""Who waits for something to be told about an id."""

import asyncio
from uuid import UUID


class Waiting:
    def __init__(self) -> None:
        self._futures: dict[UUID, list[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """About how many ids somebody waits."""
        return len(self._futures)

    async def until_told(self, about: UUID) -> None:
        future = asyncio.get_running_loop().create_future()
        self._futures.setdefault(about, []).append(future)
        await future

    def tell(self, about: UUID) -> None:
        """All who wait for it by now go on."""
        for future in self._futures.pop(about, ()):
            if not future.done():
                future.set_result(None)
