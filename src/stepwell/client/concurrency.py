"""The parts in which the two clients differ: pauses, calls of functions that block, semaphores and iterators.

asyncio is imported when it is first used, because it takes as long to import as the rest of the client.
"""

import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from time import sleep
from typing import ParamSpec, TypeAlias, TypeVar

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")

AsyncItems: TypeAlias = AsyncGenerator[_Item, None]
Items: TypeAlias = Generator[_Item, None, None]


async def async_sleep(seconds: float) -> None:
    from anyio import sleep  # noqa: PLC0415 - see above

    await sleep(seconds)


async def async_call(function: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
    """Call *function* in a thread."""
    from functools import partial  # noqa: PLC0415

    from anyio.to_thread import run_sync  # noqa: PLC0415 - see above

    return await run_sync(partial(function, *args, **kwargs))


def async_semaphore(count: int) -> AbstractAsyncContextManager[object]:
    """Return a semaphore that *count* callers may hold at once. Others wait."""
    from anyio import Semaphore  # noqa: PLC0415 - see above

    return Semaphore(count)


def sync_semaphore(count: int) -> AbstractContextManager[object]:
    """Return a semaphore that *count* threads may hold at once. Others wait."""
    return threading.Semaphore(count)


def sync_sleep(seconds: float) -> None:
    sleep(seconds)


def sync_call(function: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
    return function(*args, **kwargs)
