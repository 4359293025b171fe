"""Counts of workflows by status, kept for a few seconds.

What must hold:
- Counts are at most five seconds old when they are returned, but for the time that the database takes.
- Each scope has one statement at a time. A filter for one tenant has that tenant's scope. Requests for the same
  counts that wait for a statement share its result.
- A scope keeps the counts of a few filters, and there are few scopes, whatever clients ask for.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct, json

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowReader
from stepwell.rules.list_records import WorkflowFilter

K = TypeVar("K")
V = TypeVar("V")
MAX_AGE_S: Final = 5.0
FILTERS_A_SCOPE: Final = 16
_SCOPES: Final = 500
_WAIT_S: Final = 10.0


class StatusCounts(Struct, frozen=True):
    """The number of workflows in each status at the time `at`, in this process's clock also as `monotonic`."""

    by_status: Mapping[WorkflowStatus, int]
    at: datetime
    monotonic: float


class WorkflowCounts:
    """Counts the workflows that *store* has."""

    def __init__(self, store: WorkflowReader, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._kept: dict[TenantScope, dict[bytes, StatusCounts]] = {}
        self._locks: WeakValueDictionary[TenantScope, asyncio.Lock] = WeakValueDictionary()

    async def read(self, scope: TenantScope, query: WorkflowFilter) -> StatusCounts:
        """Return the counts of the workflows that match *query*. Raises `Unavailable`."""
        if scope.every and query.origin_tenant_id is not None:
            scope = TenantScope(query.origin_tenant_id)
        key = sha256(json.encode(query)).digest()  # a filter may be long
        if (kept := self._fresh(scope, key)) is not None:
            return kept
        try:
            async with asyncio.timeout(_WAIT_S) as waiting, self._locks.setdefault(scope, asyncio.Lock()):
                waiting.reschedule(None)  # the statement has a deadline of its own
                return self._fresh(scope, key) or await self._count(scope, query, key)
        except TimeoutError:
            raise Unavailable("other counts of this tenant take all the time that there is for them", 5) from None

    def _fresh(self, scope: TenantScope, key: bytes) -> StatusCounts | None:
        kept = self._kept.get(scope, {}).get(key)
        return kept if kept is not None and self._clock.monotonic() - kept.monotonic <= MAX_AGE_S else None

    async def _count(self, scope: TenantScope, query: WorkflowFilter, key: bytes) -> StatusCounts:
        at, monotonic = self._clock.now(), self._clock.monotonic()
        counts = StatusCounts(await self._store.counts(scope, query), at, monotonic)
        own = self._kept.pop(scope, {})
        own.pop(key, None)
        _drop_oldest(own, FILTERS_A_SCOPE)
        _drop_oldest(self._kept, _SCOPES)
        own[key] = counts
        self._kept[scope] = own
        return counts


def _drop_oldest(kept: dict[K, V], most: int) -> None:
    """Make room for one more entry. The entries are in the order in which they were set."""
    while len(kept) >= most:
        del kept[next(iter(kept))]
