"""Batching of concurrent calls: while one batch is executed, the next one fills.

The busier the process, the bigger the batches, and the less each item costs. Databases call this group commit.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, KeysView, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from msgspec import Struct

from stepwell.domain.errors import Unavailable

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")

Weight: TypeAlias = tuple[int, int]  # the number of an item's rows, and their size

# After so many time-outs in a row the database is slow, rather than one item.
MAX_TIMEOUTS_IN_A_ROW: Final = 3
_LEAD: Final = object()


class ItemFailure(Exception):
    """Raised by an `execute` function: one of the items is at fault, by *error*. The others may succeed without it."""

    def __init__(self, error: Exception, *, timed_out: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.timed_out = error, timed_out


class Entry(Struct, Generic[Item, Result]):
    """A queued item. `outcome` is None until the item has been executed. `waiters` are the calls that wait for that."""

    item: Item
    outcome: Result | Exception | None = None
    waiters: list[asyncio.Future[Any]] = []

    @property
    def first_waiter(self) -> asyncio.Future[Any] | None:
        """The first of the calls that still wait. None if there is none, or none any more."""
        return next((waiter for waiter in self.waiters if not waiter.done()), None)

    def finish(self, outcome: Result | Exception) -> None:
        """Set the outcome, and answer the calls that wait for it."""
        self.outcome = outcome
        for waiter in self.waiters:
            if waiter.done():
                continue
            if isinstance(outcome, Exception):
                waiter.set_exception(outcome)
                waiter.exception()  # its caller may be cancelled before it reads this
            else:
                waiter.set_result(outcome)


Batch: TypeAlias = dict[Key, Entry[Item, Result]]
Execute: TypeAlias = Callable[[Callable[[], Mapping[Key, Item]]], Awaitable[Mapping[Key, Result]]]


class Batcher(Generic[Key, Item, Result]):
    """A queue of items by key, and the execution of its head as one batch.

    *execute* gets a function that closes the batch and returns its items. It calls that function once, when it can
    begin (when it has a connection, say): until then, more items join. It returns a result for each key.
    *fits* are the limits of a batch, in the unit of *weigh*. *shared*: items of one key are alike, so that an item
    whose key is queued already isn't queued again.

    There are two ways to use it, not to be mixed. Callers that wait for a result use `call`: the first of them executes
    the batch for all. An owner with a loop of its own uses `add`, `take` and `execute`.

    What must hold:
    - A batch costs one call of *execute*. While it runs, arriving items wait together for the next one.
    - A batch is within *fits*, unless it has only one item.
    - A key is at most once in a batch. Items of one key are executed in the order of their arrival. A key that has more
      items than one goes behind the other keys after each batch.
    - If *execute* raises `ItemFailure`, each item of the batch is executed alone, in the same order, so that only the
      item at fault fails. After three time-outs in a row the remaining items fail too.
    - If *execute* raises another error, the whole batch fails. If the batch isn't closed yet, the whole queue fails.
    - A cancelled caller takes nothing from the others. Its own item isn't executed, unless another caller waits for it
      or its batch is closed. If it was to execute the next batch, another caller does so. Only if it is cancelled while
      it executes a batch, nobody knows what has become of it: then the other callers get `Unavailable`.
    """

    def __init__(
        self,
        execute: Execute[Key, Item, Result],
        *,
        fits: Weight,
        weigh: Callable[[Item], Weight],
        shared: bool = False,
    ) -> None:
        self._execute, self._fits, self._weigh, self._shared = execute, fits, weigh, shared
        self._queue: dict[Key, deque[Entry[Item, Result]]] = {}
        self._has_leader = False

    def __bool__(self) -> bool:
        """True while items are queued."""
        return bool(self._queue)

    @property
    def keys(self) -> KeysView[Key]:
        """The keys that have queued items."""
        return self._queue.keys()

    def last(self, key: Key) -> Item | None:
        """The item that was queued last for *key*."""
        entries = self._queue.get(key)
        return entries[-1].item if entries else None

    def add(self, key: Key, item: Item) -> Entry[Item, Result]:
        """Queue the item, and return its entry."""
        entries = self._queue.get(key)
        if entries is None:
            entries = self._queue[key] = deque()
        elif self._shared:
            return entries[0]
        entry: Entry[Item, Result] = Entry(item)
        entries.append(entry)
        return entry

    def remove(self, key: Key) -> list[Item]:
        """Remove what is queued for *key*, and return it."""
        return [entry.item for entry in self._queue.pop(key, ())]

    def take(self) -> Batch[Key, Item, Result]:
        """Remove the next batch from the queue, and return it."""
        batch: Batch[Key, Item, Result] = {}
        rows = size = 0
        max_rows, max_size = self._fits
        for key, entries in self._queue.items():
            more_rows, more_size = self._weigh(entries[0].item)
            rows += more_rows
            size += more_size
            if batch and (rows > max_rows or size > max_size):
                break
            batch[key] = entries[0]
        for key in batch:
            entries = self._queue.pop(key)
            entries.popleft()
            if entries:
                self._queue[key] = entries  # behind the others
        return batch

    async def execute(self, batch: Batch[Key, Item, Result]) -> None:
        """Execute *batch*, and set the outcome of each entry."""
        await self._run(lambda: batch)

    async def _run(self, close: Callable[[], Batch[Key, Item, Result]]) -> None:
        batch: Batch[Key, Item, Result] = {}

        def take() -> Mapping[Key, Item]:
            nonlocal batch
            batch = close()
            return {key: entry.item for key, entry in batch.items()}

        try:
            results = await self._execute(take)
        except ItemFailure as failure:
            if not batch:
                raise failure.error from None
            if len(batch) == 1:
                for entry in batch.values():
                    entry.finish(failure.error)
            else:
                await self._run_each_alone(batch)
        else:
            for key, entry in batch.items():
                if entry.waiters:
                    entry.finish(results[key])
                else:
                    entry.outcome = results[key]

    async def _run_each_alone(self, batch: Batch[Key, Item, Result]) -> None:
        timeouts = 0
        for key, entry in batch.items():
            items = {key: entry.item}
            try:
                results = await self._execute(lambda items=items: items)  # type: ignore[misc]
            except ItemFailure as failure:
                entry.finish(failure.error)
                timeouts = timeouts + 1 if failure.timed_out else 0
                if timeouts == MAX_TIMEOUTS_IN_A_ROW:
                    raise failure.error from None
            else:
                entry.finish(results[key])
                timeouts = 0

    async def call(self, key: Key, item: Item) -> Result:
        """Queue the item, and return its result. Raises what *execute* raises."""
        entry = self.add(key, item)
        leads, self._has_leader = not self._has_leader, True
        while True:
            waiter = asyncio.get_running_loop().create_future()
            entry.waiters.append(waiter)
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
        """Execute the next batch, which has the item of this caller, who waits for *own*."""
        batch: Batch[Key, Item, Result] = {}

        def close() -> Batch[Key, Item, Result]:
            batch.update((key, entry) for key, entry in self.take().items() if entry.first_waiter)
            self._appoint_leader()
            return batch

        try:
            await self._run(close)
        except Exception as error:  # noqa: BLE001 - each caller raises it
            failed = list(batch.values())
            if not batch:
                failed = [entry for entries in self._queue.values() for entry in entries]
                self._queue.clear()
                self._has_leader = False
            for entry in failed:
                entry.finish(error)
        except BaseException:
            own.cancel()
            if not batch:
                self._appoint_leader()
            for entry in batch.values():
                entry.finish(Unavailable("the answer is lost"))
            raise

    def _appoint_leader(self) -> None:
        """Let the first call in the queue execute the next batch."""
        while self._queue:
            key, entries = next(iter(self._queue.items()))
            if waiter := entries[0].first_waiter:
                waiter.set_result(_LEAD)
                return
            entries.popleft()  # all its callers were cancelled
            if not entries:
                del self._queue[key]
        self._has_leader = False
