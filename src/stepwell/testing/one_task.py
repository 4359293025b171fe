"""Runs an async context manager in a task of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def in_one_task(context: AbstractAsyncContextManager[T], name: str = "stepwell") -> AsyncIterator[T]:
    """Enter and leave *context* in one task, so that this context manager may be entered and left in different tasks.

    pytest-asyncio runs the two halves of a fixture in two tasks, and cancel scopes and task groups don't allow that.
    """
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def host() -> None:
        async with context as value:
            entered.set_result(value)
            await leave.wait()

    task = asyncio.create_task(host(), name=name)  # noqa: TID251 - a task group would be entered in one task, too
    try:
        either: set[asyncio.Future[Any]] = {task, entered}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not entered.done():
            await task  # raises what has gone wrong
        yield entered.result()
    finally:
        leave.set()
        await task
