"""Batching: while one batch is executed, the next one fills. Databases call this group commit.

The busier the process, the bigger the batches, and the less each item costs. `BatchQueue` is for an owner that executes
the batches in a loop of its own, like the checkpointer. `BatchedCalls` is for callers that each wait for a result, like
inserts and reads: there the first caller executes the batch for all.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, KeysView, Mapping, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from msgspec import Struct

from stepwell.basics.errors import Unavailable

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")

Weight: TypeAlias = tuple[int, int]  # the number of an item's rows, and their size

# After so many time-outs in a row, the cause is a slow database and not one item.
MAX_TIMEOUTS_IN_A_ROW: Final = 3
SHARED_BATCHES: Final = 100  # that stay small after several tenants had items
_LEAD: Final = object()  # given to a waiter instead of a result: its caller executes the next batch


class ItemFailure(Exception):
    """Raised by an `execute` function if one item has caused *error*. The other items may succeed without it."""

    def __init__(self, error: Exception, *, timed_out: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.timed_out = error, timed_out


# Closes the batch, and returns its items.
Take: TypeAlias = Callable[[], Mapping[Key, Item]]
Execute: TypeAlias = Callable[[Take[Key, Item]], Awaitable[Mapping[Key, Result]]]


class _Items(Struct, Generic[Item]):
    """The queued items of one key, at least one, and the tenant that they belong to."""

    tenant: Hashable
    items: deque[Item]


class BatchQueue(Generic[Key, Item]):
    """A queue of items by key, whose head is taken as a batch.

    *weigh* returns the weight of an item, and *max_weight* is the limit of a batch.

    What must hold:
    - A batch weighs at most *max_weight*, unless it has only one item. While several tenants have items, and for 100
      batches afterwards, it weighs at most *shared_weight*, because each tenant waits for the batches of the others.
    - A key is at most once in a batch. Items of one key are taken in the order of their arrival. After each batch, a
      key that has more items goes to the end of its tenant's queue.
    - Tenants take turns, in a batch and from batch to batch. A turn is one item. So the first item of a tenant waits
      for at most one item of each other tenant, however many these have queued.
    """

    def __init__(
        self, *, max_weight: Weight, weigh: Callable[[Item], Weight], shared_weight: Weight | None = None
    ) -> None:
        self._max_weight, self._weigh = max_weight, weigh
        self._shared_weight = shared_weight or max_weight
        self._tenants: set[Hashable] = set()  # those that had items when the last batch began
        self._batches_alone = SHARED_BATCHES  # since several tenants had items
        self._items: dict[Key, _Items[Item]] = {}
        self._queues: dict[Hashable, dict[Key, None]] = {}  # by tenant, in the order of turns

    def __bool__(self) -> bool:
        """True while items are queued."""
        return bool(self._items)

    @property
    def keys(self) -> KeysView[Key]:
        """The keys that have queued items."""
        return self._items.keys()

    def first(self) -> tuple[Key, Item]:
        """Return the key and the item at the head of the queue, which must not be empty."""
        key = next(iter(next(iter(self._queues.values()))))
        return key, self._items[key].items[0]

    def drop_first(self, key: Key) -> None:
        """Remove the first item of *key*. The next one of that key takes its place."""
        queued = self._items[key]
        queued.items.popleft()
        if not queued.items:
            self.remove(key)

    def last(self, key: Key) -> Item | None:
        """Return the item that was queued last for *key*; None if there is none."""
        queued = self._items.get(key)
        return None if queued is None else queued.items[-1]

    def add(self, key: Key, item: Item, tenant: Hashable = None) -> None:
        """Queue *item* behind the other items of *key*. All items of a key belong to the same *tenant*."""
        queued = self._items.get(key)
        if queued is None:
            self._items[key] = _Items(tenant, deque((item,)))
            self._queues.setdefault(tenant, {})[key] = None
        else:
            queued.items.append(item)

    def remove(self, key: Key) -> Sequence[Item]:
        """Remove the queued items of *key*, and return them."""
        if (queued := self._items.pop(key, None)) is None:
            return ()
        queue = self._queues[queued.tenant]
        del queue[key]
        if not queue:
            del self._queues[queued.tenant]
        return queued.items

    def take(self) -> dict[Key, Item]:
        """Remove the next batch from the queue, and return it."""
        batch: dict[Key, Item] = {}
        rows = size = 0
        items, weigh, takes_all = self._items, self._weigh, True
        max_rows, max_size = self._shared_weight if self._is_shared() else self._max_weight
        for key in self._in_turns():
            waiting = items[key].items
            more_rows, more_size = weigh(waiting[0])
            rows += more_rows
            size += more_size
            if batch and (rows > max_rows or size > max_size):
                takes_all = False
                break
            batch[key] = waiting[0]
            if len(waiting) > 1:
                takes_all = False
        if takes_all:  # hot path
            items.clear()
            self._queues.clear()
            return batch
        if len(self._queues) > 1:
            for key in batch:
                tenant = self._items[key].tenant
                self._queues[tenant] = self._queues.pop(tenant)  # behind the others, after its turn
        for key in batch:
            queued = self._items[key]
            queued.items.popleft()
            if not queued.items:
                self.remove(key)
            else:
                queue = self._queues[queued.tenant]
                queue[key] = queue.pop(key)  # behind the others
        return batch

    def _is_shared(self) -> bool:
        """Count a batch. Return whether several tenants have items, or had some within `SHARED_BATCHES` batches."""
        if self._tenants == self._queues.keys():
            alone = len(self._tenants) <= 1
        else:
            alone = len(self._queues) <= 1 and (not self._tenants or self._tenants >= self._queues.keys())
            self._tenants = set(self._queues)
        self._batches_alone = self._batches_alone + 1 if alone else 0
        return self._batches_alone < SHARED_BATCHES

    def _in_turns(self) -> Iterator[Key]:
        """Yield the keys, one of each tenant after the other."""
        queues = [iter(queue) for queue in self._queues.values()]
        while queues:
            if len(queues) == 1:
                yield from queues[0]
                return
            rest = []
            for queue in queues:
                if (key := next(queue, None)) is not None:
                    yield key
                    rest.append(queue)
            queues = rest


class _Call(Struct, Generic[Item]):
    """A queued item, and the futures of the callers that wait for its result."""

    item: Item
    waiters: list[asyncio.Future[Any]] = []

    @property
    def first_waiter(self) -> asyncio.Future[Any] | None:
        """The first of the callers that still wait. None if all were cancelled."""
        return next((waiter for waiter in self.waiters if not waiter.done()), None)

    def finish(self, outcome: Any) -> None:
        """Give *outcome*, a result or an error, to the callers that still wait."""
        for waiter in self.waiters:
            if waiter.done():
                continue
            if isinstance(outcome, Exception):
                waiter.set_exception(outcome)
                waiter.exception()  # its caller may be cancelled before it reads this
            else:
                waiter.set_result(outcome)


class BatchedCalls(Generic[Key, Item, Result]):
    """Calls whose items share batches: the first caller executes the batch for all callers in it.

    *execute* gets a function that closes the batch and returns its items. It calls that function once, when it can
    begin, for example when it has a connection. Until then, more items join the batch. It returns a result for each
    key. *max_weight* and *weigh* are those of `BatchQueue`. With *shared*, all items of one key are equal, so calls
    with the same key share one item.

    What must hold, besides what `BatchQueue` promises:
    - A batch costs one call of *execute*. While it runs, arriving items wait together for the next one.
    - If *execute* raises `ItemFailure`, each item of the batch is executed alone, in the same order, so that only the
      item at fault fails. After three time-outs in a row the remaining items fail too.
    - If *execute* raises another error, the whole batch fails with it.
    - If a batch fails before it is closed, for example without a connection, all queued items fail.
    - A cancelled caller takes nothing from the others. Its own item isn't executed, unless another caller waits for it
      or its batch is closed. If it was chosen to execute the next batch, another caller is chosen. If it is cancelled
      while it executes a batch, the outcome of that batch is unknown, so the other callers get `Unavailable`.
    """

    def __init__(
        self,
        execute: Execute[Key, Item, Result],
        *,
        max_weight: Weight,
        weigh: Callable[[Item], Weight],
        shared: bool = False,
    ) -> None:
        self._execute = execute
        self._queue: BatchQueue[Key, _Call[Item]] = BatchQueue(
            max_weight=max_weight, weigh=lambda call: weigh(call.item)
        )
        self._shared = shared
        self._has_leader = False

    async def call(self, key: Key, item: Item) -> Result:
        """Queue the item, and return its result. Raises what *execute* raises."""
        call = self._queue.last(key) if self._shared else None
        if call is None:
            call = _Call(item)
            self._queue.add(key, call)
        leads, self._has_leader = not self._has_leader, True
        while True:
            waiter = asyncio.get_running_loop().create_future()
            call.waiters.append(waiter)
            if leads:
                await self._lead(waiter)
            try:
                result = await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled() and waiter.exception() is None and waiter.result() is _LEAD:
                    self._appoint_leader()  # in place of this one
                raise
            if result is not _LEAD:
                return cast("Result", result)
            leads = True

    async def _lead(self, own: asyncio.Future[Any]) -> None:
        """Execute the next batch. It includes the item of this caller, who waits for *own*."""
        batch: dict[Key, _Call[Item]] = {}

        def close() -> Mapping[Key, _Call[Item]]:
            batch.update((key, call) for key, call in self._queue.take().items() if call.first_waiter)
            self._appoint_leader()
            return batch

        try:
            await self._execute_batch(close)
        except Exception as error:  # noqa: BLE001 - each caller raises it
            if not batch:
                for key in list(self._queue.keys):
                    for call in self._queue.remove(key):
                        call.finish(error)
                self._has_leader = False
            for call in batch.values():
                call.finish(error)
        except BaseException:
            own.cancel()
            if not batch:
                self._appoint_leader()
            for call in batch.values():
                call.finish(Unavailable("the outcome is lost"))
            raise

    async def _execute_batch(self, close: Take[Key, _Call[Item]]) -> None:
        """Execute the batch that *close* returns, and hand each of its calls the result or the error of its item.

        Raises what *execute* raises, except `ItemFailure`. Then the remaining calls get nothing.
        """
        batch: Mapping[Key, _Call[Item]] = {}

        def take() -> Mapping[Key, Item]:
            nonlocal batch
            batch = close()
            return {key: call.item for key, call in batch.items()}

        try:
            results = await self._execute(take)
        except ItemFailure as failure:
            if not batch:
                raise failure.error from None
            if len(batch) == 1:
                next(iter(batch.values())).finish(failure.error)
            else:
                await self._execute_each(batch)
        else:
            for key, call in batch.items():
                call.finish(results[key])

    async def _execute_each(self, batch: Mapping[Key, _Call[Item]]) -> None:
        timeouts = 0
        for key, call in batch.items():
            try:
                results = await self._execute(lambda item={key: call.item}: item)  # type: ignore[misc] # a default
            except ItemFailure as failure:
                call.finish(failure.error)
                timeouts = timeouts + 1 if failure.timed_out else 0
                if timeouts == MAX_TIMEOUTS_IN_A_ROW:
                    raise failure.error from None
            else:
                call.finish(results[key])
                timeouts = 0

    def _appoint_leader(self) -> None:
        """Let the first caller in the queue execute the next batch."""
        while self._queue:
            key, call = self._queue.first()
            if waiter := call.first_waiter:
                waiter.set_result(_LEAD)
                return
            self._queue.drop_first(key)  # all its callers were cancelled
        self._has_leader = False
