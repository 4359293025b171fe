"""Reads that requests share: equal reads of lists, and counts of workflows by status, valid for a few seconds.

Many open tabs ask for the same list at the same moment, once they get an event.

What must hold:
- A request gets the result of a read that began after the request came, so it sees every write before it. Only counts
  may be older: at most five seconds when they are returned, but for the time that the database takes.
- Equal requests have one read at a time, but for a moment after a cancelled one. Those that wait share the next one,
  and its error.
- A request that is cancelled ends no read that another one waits for, and leaves nothing behind.
- Each scope has one statement that counts at a time. A filter for one tenant has that tenant's scope. Requests for the
  same counts that wait for a statement share its result.
- A scope keeps the counts of a few filters, and there are few scopes, whatever clients ask for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct, json

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowReader
from stepwell.rules.list_records import WorkflowFilter, WorkflowPage

K = TypeVar("K")
V = TypeVar("V")
MAX_AGE_S: Final = 5.0
FILTERS_A_SCOPE: Final = 16
_SCOPES: Final = 500
_WAIT_S: Final = 10.0


class SharedPage(Struct):
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


class StatusCounts(Struct, frozen=True):
    """The number of workflows in each status at the time `at`, in this process's clock also as `monotonic`."""

    by_status: Mapping[WorkflowStatus, int]
    at: datetime
    monotonic: float


class WorkflowCounts:
    def __init__(self, store: WorkflowReader, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._cached: dict[TenantScope, dict[bytes, StatusCounts]] = {}
        self._locks: WeakValueDictionary[TenantScope, asyncio.Lock] = WeakValueDictionary()

    async def read(self, scope: TenantScope, query: WorkflowFilter) -> StatusCounts:
        """Return the counts of the workflows that match *query*. Raises `Unavailable`."""
        if scope.every and query.origin_tenant_id is not None:
            scope = TenantScope(query.origin_tenant_id)
        key = sha256(json.encode(query)).digest()  # a filter may be long
        if (cached := self._fresh(scope, key)) is not None:
            return cached
        try:
            async with asyncio.timeout(_WAIT_S) as waiting, self._locks.setdefault(scope, asyncio.Lock()):
                waiting.reschedule(None)  # the statement has its own deadline
                return self._fresh(scope, key) or await self._count(scope, query, key)
        except TimeoutError:
            raise Unavailable("other counts of this tenant take all the time that there is for them", 5) from None

    def _fresh(self, scope: TenantScope, key: bytes) -> StatusCounts | None:
        cached = self._cached.get(scope, {}).get(key)
        return cached if cached is not None and self._clock.monotonic() - cached.monotonic <= MAX_AGE_S else None

    async def _count(self, scope: TenantScope, query: WorkflowFilter, key: bytes) -> StatusCounts:
        at, monotonic = self._clock.now(), self._clock.monotonic()
        counts = StatusCounts(await self._store.counts(scope, query), at, monotonic)
        own = self._cached.pop(scope, {})
        own.pop(key, None)
        _drop_oldest(own, FILTERS_A_SCOPE)
        _drop_oldest(self._cached, _SCOPES)
        own[key] = counts
        self._cached[scope] = own
        return counts


def _drop_oldest(entries: dict[K, V], most: int) -> None:
    """Leave less than *most* entries. They are in the order in which they were set."""
    while len(entries) >= most:
        del entries[next(iter(entries))]
