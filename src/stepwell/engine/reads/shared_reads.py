"""Reads that equal requests share: many open tabs ask for the same list at the same moment, once they get an event.

What must hold:
- A request gets the result of a read that began after the request came, so it sees every write before it.
- Equal requests have one read at a time, but for a moment after a cancelled one. Those that wait share the next one,
  and its error.
- A request that is cancelled ends no read that another one waits for, and leaves nothing behind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from msgspec import Struct

from stepwell.rules.list_records import WorkflowPage

V = TypeVar("V")


class ListAnswer(Struct):
    """A page of the list, and its body once one of the requests that share it has encoded it under `encoding`."""

    page: WorkflowPage
    encoding: asyncio.Lock
    body: bytes | None = None


class _Requests(Generic[V]):
    """Equal requests that share one read."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self.lock = lock  # of all equal requests, also of those that come later
        self.waiting = 0
        self.result: asyncio.Future[V] | None = None


class SharedReads(Generic[V]):
    """The reads in progress, by key. A key must contain the caller's tenant scope and all parameters of the request."""

    def __init__(self) -> None:
        self._reading: dict[Hashable, asyncio.Lock] = {}
        self._next: dict[Hashable, _Requests[V]] = {}

    async def read(self, key: Hashable, load: Callable[[], Awaitable[V]]) -> V:
        """Return the result of *load*, or of another request with an equal *key*. Raises what that read raises."""
        requests = self._next.get(key)
        if requests is None:
            requests = self._next[key] = _Requests(self._reading.get(key) or asyncio.Lock())
        requests.waiting += 1
        try:
            async with requests.lock:
                if requests.result is None:
                    await self._load(key, requests, load)
                assert requests.result is not None
                return requests.result.result()
        finally:
            requests.waiting -= 1
            if not requests.waiting and self._next.get(key) is requests:
                del self._next[key]

    async def _load(self, key: Hashable, requests: _Requests[V], load: Callable[[], Awaitable[V]]) -> None:
        if self._next.get(key) is requests:
            del self._next[key]  # those that come from now on need a later read
        self._reading[key] = requests.lock
        result = asyncio.get_running_loop().create_future()
        try:
            result.set_result(await load())
        except Exception as error:  # noqa: BLE001 - `read` raises it, once for each request
            result.set_exception(error)
        finally:
            if self._reading.get(key) is requests.lock:
                del self._reading[key]
        requests.result = result
