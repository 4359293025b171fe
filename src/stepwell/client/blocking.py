"""What the synchronous and the asynchronous client do in ways of their own: sleep, and call a function that blocks.

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


def async_turns(count: int) -> AbstractAsyncContextManager[object]:
    """Return a context that *count* tasks may be in at once. Others wait for their turn."""
    from anyio import Semaphore  # noqa: PLC0415 - see above

    return Semaphore(count)


def sync_turns(count: int) -> AbstractContextManager[object]:
    """Return a context that *count* threads may be in at once."""
    return threading.Semaphore(count)


def sync_sleep(seconds: float) -> None:
    sleep(seconds)


def sync_call(function: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
    return function(*args, **kwargs)
