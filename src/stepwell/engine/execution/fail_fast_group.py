"""A group of asyncio tasks: if one of them breaks, or a callback of the event loop, all of them end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class FailFastGroup:
    """Runs asyncio tasks, from when `run` begins."""

    def __init__(self) -> None:
        self._broken: asyncio.Future[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    async def run(self, begin: Callable[[], None]) -> None:
        """Call *begin*, and run until cancelled. Raises if an asyncio task or a callback breaks."""
        self._broken = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as self._group:
            begin()
            await self._broken

    def spawn(
        self,
        work: Coroutine[Any, Any, None],
        name: str,
        done: Callable[[asyncio.Task[None]], object] = lambda _: None,
    ) -> asyncio.Task[None]:
        """Run *work* in the group, and call *done* with its asyncio task at its end."""
        assert self._group is not None
        asyncio_task = self._group.create_task(work, name=name)
        asyncio_task.add_done_callback(self.fail_fast(done))
        return asyncio_task

    def fail_fast(self, callback: Callable[..., Any]) -> Callable[..., None]:
        """Return *callback* in a form for the event loop: an exception in it ends `run`, and isn't only logged."""

        def call(*args: Any) -> None:
            try:
                callback(*args)
            except BaseException as error:  # noqa: BLE001 - `run` raises it
                if self._broken is not None and not self._broken.done():
                    self._broken.set_exception(error)

        return call
