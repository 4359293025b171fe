"""Group commit of the runs' decisions: while one batch is written, the next one fills.

What must hold, besides what `BatchQueue` promises:
- The effects of a decision are released, and its waiters notified, only after its batch has committed. Only work that
  nothing outside sees is done while the batch is being written: `sent`. What follows from it is in a later batch.
- Decisions of one run are written in the order in which they were made. Those that wait together are merged, as long
  as they stay small: no batch may be so big that writing it takes longer than the database's deadline, or that
  releasing its effects holds up other tasks.
- There are two writers, so that a tenant that runs a few steps doesn't wait for the batches of one that runs thousands.
  A tenant without decisions that wait or are being written gets the writer with fewer events. It stays at that one,
  because bigger batches are cheaper. Only a tenant that is alone and has many events uses both, so that the database
  writes two batches at the same time. All decisions of one workflow that are not committed are at one writer.
- When a second tenant comes, the first one leaves the writer that the second one gets: no work is done ahead there, and
  what is decided later about other workflows goes to its own writer, the other one.
- While the database is away nothing is dropped: the same batch is written again until it commits. If only the answer
  was lost, `WorkflowStore.write` recognises the batch as committed.
- The next batch is sent before the effects of the last one are released, so that the database and this process work at
  the same time. Still, the effects of one run are released in the order of its decisions.
- No batch is cancelled while it is written: only `close` ends the loop, after the last batch.
- If a decision can't be written, for whatever reason, only its own run is dropped.
- Results that wait to be written count in the memory governor, for their tenant, until they are committed or dropped.
  No decision waits for memory, because what waits for memory may wait for this one to be written.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.basics.errors import StepwellError, Unavailable
from stepwell.lifecycle.decision import Decision
from stepwell.ports.storage import CONCURRENT_WRITES, WorkflowStore
from stepwell.rules.threshold import may_hold
from stepwell.runtime.batching import BatchQueue, Weight
from stepwell.runtime.memory import FREE_BYTES, MemoryGovernor, MemoryReservation
from stepwell.runtime.telemetry import Distribution

log = structlog.get_logger()

_BATCH_EVENTS, _BATCH_BYTES = 500, 4 * 1024 * 1024
_SHARED_EVENTS, _SHARED_BYTES = 100, 1024 * 1024  # while several tenants have decisions
_CHANGE_EVENTS = 250  # at most, in one workflow's part of a batch
_SLICE_S = 0.01  # seconds of releasing effects, before other tasks run
_WRITE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ALONE_EVENTS = 100  # of a tenant that is alone: with so many, it uses all writers
_UNWRITTEN_BYTES = 64 * 1024 * 1024  # of all tenants; at this size, each tenant with some must wait
_SLOW_S = 5.0  # how long a slow write counts
_FIRST_RETRY_S, _LAST_RETRY_S = 0.05, 1.0


class NotWritten(StepwellError):
    """The decision is not committed and never will be: another process has the workflow, or the rows are refused."""


class _TenantChanges(Struct):
    """The changes of one tenant whose effects are not released yet: their number, and their size in bytes.

    They are at its `writer`. A tenant that is alone with many events, or was, may have some at the other writer, too.
    """

    tenant: str | None
    writer: "_Writer"
    number: int = 0
    size: int = 0


class _Change(Struct):
    """One workflow's part of a batch. `size` is the size in bytes of what can be big: results, items, what people
    see who decide, and signals. `memory` is None while that is not over `FREE_BYTES`. `taken`: it is not in the queue
    any more. `refused` is None unless it was lost: True if the database refuses its rows, False if another process has
    the workflow.
    """

    decision: Decision
    of_tenant: _TenantChanges
    writer: "_Writer"
    size: int = 0
    taken: bool = False
    memory: MemoryReservation | None = None
    refused: bool | None = None
    waiters: list[asyncio.Future[None]] = []


class _UnreleasedChanges(Struct):
    """The changes at all writers whose effects are not released yet: by tenant, and the last one of each workflow.

    `size` is that of all, in bytes.
    """

    tenants: dict[str | None, _TenantChanges] = {}
    workflows: dict[UUID, _Change] = {}
    size: int = 0


class Checkpointer:
    """Writes the decisions of all runs to *workflow_store*, in batches that its writers execute.

    *sent* is called with decisions that are being written, and *committed* with each one that has committed. *lost* is
    called with the id of each workflow whose decision can't be written, and with the reason: True if the database
    refuses its rows, False if another process has the workflow. *fail_fast* makes a callback of the event loop end
    everything if it raises.
    `seconds` are the durations of the writes that the database responded to.
    """

    def __init__(
        self,
        workflow_store: WorkflowStore,
        sent: Callable[[Decision], None],
        committed: Callable[[Decision], None],
        lost: Callable[[UUID, bool], None],
        memory: MemoryGovernor,
        fail_fast: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> None:
        self.seconds = Distribution(_WRITE_S)
        self._memory, self._unreleased = memory, _UnreleasedChanges()
        self._writers = [
            _Writer(workflow_store, sent, committed, lost, fail_fast, self.seconds, unreleased=self._unreleased)
            for _ in range(CONCURRENT_WRITES)
        ]

    @property
    def outage(self) -> bool:
        """True while the database is away."""
        return any(writer.outage for writer in self._writers)

    @property
    def batches(self) -> int:
        """The number of batches that are committed."""
        return sum(writer.batches for writer in self._writers)

    @property
    def events(self) -> int:
        """The number of committed events of workflows' histories."""
        return sum(writer.events for writer in self._writers)

    @property
    def rows(self) -> int:
        """The number of committed rows of all tables."""
        return sum(writer.rows for writer in self._writers)

    def is_backed_up(self, tenant: str | None) -> bool:
        """Return whether so many bytes of *tenant* wait to be written that it should make no more for now.

        A tenant may have as many as `_UNWRITTEN_BYTES` leaves free. So if it is alone, it may have 32 MiB.
        """
        own = self._unreleased.tenants.get(tenant)
        return own is not None and own.size > 0 and not may_hold(own.size, _UNWRITTEN_BYTES - self._unreleased.size)

    @property
    def held(self) -> set[UUID]:
        """The ids of the workflows for which `holds` is true."""
        return set(self._unreleased.workflows)

    def holds(self, workflow_id: UUID) -> bool:
        """Return whether a decision of the workflow is queued, being written, or about to be released."""
        return workflow_id in self._unreleased.workflows

    def is_slow(self, write_s: float) -> bool:
        """Return whether a present write takes longer than *write_s*, or the last one did, a short time ago."""
        return any(writer.is_slow(write_s) for writer in self._writers)

    def submit(self, decision: Decision, tenant: str | None) -> Decision | None:
        """Queue *decision* about a workflow of *tenant*.

        Return the decision in the queue that it is part of now. None: it needs no write, and its effects may run at
        once, even before an earlier decision commits that is being written. So they must not depend on that.
        """
        workflow_id, has_rows = decision.workflow.id, decision.has_rows
        events, size = len(decision.events), _size(decision)
        before = self._unreleased.workflows.get(workflow_id)
        if before is not None and not before.taken and (not has_rows or _has_room(before, events, size)):
            change = before
            change.decision.merge(decision)
        elif has_rows:
            change = self._enqueue(workflow_id, decision, tenant, before)
        else:
            return None
        self._grow(change, events, size)
        return change.decision

    def _enqueue(self, workflow_id: UUID, decision: Decision, tenant: str | None, before: _Change | None) -> _Change:
        """Queue another change of the workflow, behind *before*."""
        tenants = self._unreleased.tenants
        if (of_tenant := tenants.get(tenant)) is None:
            of_tenant = tenants[tenant] = _TenantChanges(tenant, self._writer_of_another())
        writer = self._writer_of(of_tenant) if before is None else before.writer
        change = self._unreleased.workflows[workflow_id] = _Change(decision, of_tenant, writer)
        of_tenant.number += 1
        writer.add(workflow_id, change)
        return change

    def _writer_of_another(self) -> "_Writer":
        """Return the writer for a tenant that has none. One that was alone leaves it, if it has more elsewhere."""
        tenants, writer = self._unreleased.tenants, min(self._writers, key=_Writer.load)
        if len(tenants) == 1:
            (alone,) = tenants.values()
            if alone.writer is writer:
                alone.writer = next(each for each in self._writers if each is not writer)
        return writer

    def _writer_of(self, of_tenant: _TenantChanges) -> "_Writer":
        """Return the writer for the changes of a workflow that has none."""
        own = of_tenant.writer
        uses_all = own.unreleased_events >= _ALONE_EVENTS and len(self._unreleased.tenants) == 1
        return min(self._writers, key=_Writer.load) if uses_all or own.ended else own

    def last_queued(self, workflow_id: UUID, events: int, size: int) -> Decision | None:
        """Return the last decision of the workflow, if it is in the queue and has room for so many events and bytes.

        The caller may add these to it, and calls `grow` then.
        """
        last = self._unreleased.workflows.get(workflow_id)
        return last.decision if last is not None and not last.taken and _has_room(last, events, size) else None

    def grow(self, workflow_id: UUID, events: int, size: int) -> None:
        """Count what the last decision of the workflow has taken in: so many events, and *size* bytes."""
        self._grow(self._unreleased.workflows[workflow_id], events, size)

    def _grow(self, change: _Change, events: int, size: int) -> None:
        change.writer.unreleased_events += events
        if size:
            change.size += size
            change.of_tenant.size += size
            self._unreleased.size += size
            if change.size > FREE_BYTES:
                self._charge_memory(change)

    def _charge_memory(self, change: _Change) -> None:
        if change.memory is None:
            change.memory = self._memory.reservation(change.of_tenant.tenant)
        change.memory.charge(change.size - change.memory.held)

    def flushed(self, workflow_id: UUID) -> asyncio.Future[None]:
        """Return a future, done once all present decisions of the workflow are committed.

        It may raise `NotWritten`, and `Unavailable` for a decision that was queued after the end of `run`.
        """
        future = asyncio.get_running_loop().create_future()
        if (last := self._unreleased.workflows.get(workflow_id)) is None:
            future.set_result(None)
        elif last.writer.ended:
            future.set_exception(Unavailable("the service is shutting down"))
        else:
            last.waiters.append(future)
        return future

    async def run(self) -> None:
        """Write batches until `close`."""
        async with asyncio.TaskGroup() as group:
            for number, writer in enumerate(self._writers):
                group.create_task(writer.run(), name=f"checkpoint writer {number}")

    def close(self) -> None:
        """Let `run` end once everything in the queues is written."""
        for writer in self._writers:
            writer.close()


class _Writer:
    """One of the writers: a queue of decisions, and a loop that writes them. It writes one batch at a time.

    `unreleased_events` is the number of events in its changes whose effects are not released yet. `ended`: `run` has
    ended. *unreleased* has the changes at all writers.
    """

    def __init__(
        self,
        workflow_store: WorkflowStore,
        sent: Callable[[Decision], None],
        committed: Callable[[Decision], None],
        lost: Callable[[UUID, bool], None],
        fail_fast: Callable[[Callable[[], None]], Callable[[], None]],
        seconds: Distribution,
        *,
        unreleased: _UnreleasedChanges,
    ) -> None:
        self._sent, self._use_time_of_write = sent, fail_fast(self._release_and_work_ahead)
        self._workflow_store, self._committed, self._lost, self._seconds = workflow_store, committed, lost, seconds
        self._unreleased = unreleased
        self.unreleased_events = 0
        self._queue: BatchQueue[UUID, _Change] = BatchQueue(
            max_weight=(_BATCH_EVENTS, _BATCH_BYTES),
            weigh=_weight,
            shared_weight=(_SHARED_EVENTS, _SHARED_BYTES),
        )
        self._writing: dict[UUID, _Change] = {}
        self._written: deque[_Change] = deque()  # or lost
        self._has_losses = False  # a run is about to be dropped, and its queued decisions with it
        self._wake = asyncio.Event()
        self._closing = self.ended = False
        self.outage = False
        self._write_began: float | None = None
        self._last_write_ended, self._last_write_s = -float("inf"), 0.0
        self.batches = self.events = self.rows = 0

    def is_slow(self, write_s: float) -> bool:
        now = time.perf_counter()
        if self._write_began is not None and now - self._write_began > write_s:
            return True
        return self._last_write_s > write_s and now - self._last_write_ended < _SLOW_S

    def load(self) -> tuple[bool, int]:
        """Return a key for the choice of a writer: the least one should get the changes of another tenant."""
        return self.ended, self.unreleased_events

    def add(self, workflow_id: UUID, change: _Change) -> None:
        """Queue a change."""
        self._queue.add(workflow_id, change, change.of_tenant.tenant)
        self._wake.set()

    async def run(self) -> None:
        """Write batches until `close`."""
        loop = asyncio.get_running_loop()
        while True:
            if not (self._written or self._queue):
                if self._closing:
                    break
                self._wake.clear()
                await self._wake.wait()
            elif self._written and (self._has_losses or not self._queue):
                await self._release_all()
            else:
                self._writing = self._queue.take()
                for change in self._writing.values():
                    change.taken = True
                self._during_write = loop.call_soon(self._use_time_of_write)
                refused = await self._write_batch(self._writing)
                self._during_write.cancel()
                await self._release_all()  # what is left of the batch before
                for workflow_id, is_refused in refused.items():
                    self._writing[workflow_id].refused = is_refused
                self._has_losses = bool(refused)
                self._written.extend(self._writing.values())
                self._writing = {}
        self.ended = True

    def _release_and_work_ahead(self) -> None:
        """Release the effects of the last batch while the next one is being written, and work ahead."""
        until = time.monotonic() + _SLICE_S
        if not self._release_some(until):
            self._during_write = asyncio.get_running_loop().call_soon(self._use_time_of_write)
        elif self.batches and not self.outage:  # otherwise the batch may not be sent yet
            self._work_ahead(until)

    def _work_ahead(self, until: float) -> None:
        """Do the work that may be done while the batch is being written, until the end of the time slice."""
        for change in self._writing.values():
            if change.of_tenant.writer is self or len(self._unreleased.tenants) == 1:
                self._sent(change.decision)
            if time.monotonic() > until:
                break

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    async def _write_batch(self, batch: Mapping[UUID, _Change]) -> dict[UUID, bool]:
        """Write the batch. Return for each workflow whose change is lost whether the database refuses its rows."""
        try:
            lost = await self._write_until_response([change.decision for change in batch.values()])
        except Exception as error:  # an error about one row must not end the other workflows
            if len(batch) == 1:
                log.exception("checkpoint.refused", action="checkpoint", workflow_id=str(next(iter(batch))))
                return dict.fromkeys(batch, True)
            log.warning("checkpoint.split", action="checkpoint", workflows=len(batch), error=repr(error))
            refused: dict[UUID, bool] = {}
            for workflow_id, change in batch.items():
                refused |= await self._write_batch({workflow_id: change})
            return refused
        self.batches += 1
        return dict.fromkeys(lost, False)

    async def _write_until_response(self, decisions: list[Decision]) -> set[UUID]:
        """Write the decisions, again and again while the database is away. Return the ids of lost workflows."""
        delay = _FIRST_RETRY_S
        while True:
            started = self._write_began = time.perf_counter()
            try:
                lost = await self._workflow_store.write(decisions)
            except Unavailable as error:
                if not self.outage:
                    log.warning("checkpoint.delayed", action="checkpoint", error=str(error))
                self.outage = True
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
                delay = min(delay * 2, _LAST_RETRY_S)
            except Exception:  # the database has refused the rows
                self._record_response(started)
                raise
            else:
                self._record_response(started)
                return lost

    def _record_response(self, started: float) -> None:
        """Record that the database has responded to the write that began at *started*."""
        if self.outage:
            log.info("checkpoint.resumed", action="checkpoint")
        self.outage = False
        self._write_began, self._last_write_ended = None, time.perf_counter()
        self._last_write_s = self._last_write_ended - started
        self._seconds.observe(self._last_write_s)

    async def _release_all(self) -> None:
        while True:
            if self._release_some(time.monotonic() + _SLICE_S):
                return
            await asyncio.sleep(0)

    def _release_some(self, until: float) -> bool:
        """Release effects until the end of the time slice. Return whether all are released."""
        written = self._written
        while written:
            change = written.popleft()
            self._forget(change)  # first, because what is called now may check `holds`
            if change.refused is None:
                self._release(change)
            else:
                self._drop(change, refused=change.refused)
            if time.monotonic() > until:
                break
        return not written

    def _release(self, change: _Change) -> None:
        decision = change.decision
        self.events += len(decision.events)
        self.rows += decision.rows
        self._committed(decision)
        for waiter in change.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _forget(self, change: _Change) -> None:
        decision, of_tenant, unreleased = change.decision, change.of_tenant, self._unreleased
        self.unreleased_events -= len(decision.events)
        if change.size:
            unreleased.size -= change.size
            of_tenant.size -= change.size
        if unreleased.workflows[decision.workflow.id] is change:
            del unreleased.workflows[decision.workflow.id]
        of_tenant.number -= 1
        if not of_tenant.number:
            del unreleased.tenants[of_tenant.tenant]
        if change.memory is not None:
            change.memory.shrink(change.memory.held)

    def _drop(self, change: _Change, *, refused: bool) -> None:
        workflow_id = change.decision.workflow.id
        log.warning("checkpoint.lost", action="checkpoint", workflow_id=str(workflow_id))
        changes = [change, *self._queue.remove(workflow_id)]
        for queued in changes[1:]:
            self._forget(queued)
        self._lost(workflow_id, refused)
        error = NotWritten("the database refuses its rows" if refused else "another process has the workflow")
        for waiter in (waiter for change in changes for waiter in change.waiters):
            if not waiter.done():
                waiter.set_exception(error)


def _weight(change: _Change) -> Weight:
    return len(change.decision.events) or 1, change.size  # a workflow that is parked has no event


def _has_room(queued: _Change, events: int, size: int) -> bool:
    return len(queued.decision.events) + events <= _CHANGE_EVENTS and queued.size + size <= _BATCH_BYTES


def _size(decision: Decision) -> int:
    size = 0
    for step in decision.steps.values():
        if step.result is not None:
            size += len(step.result)
    if not (decision.waits or decision.new_items or decision.signals):  # hot path
        return size
    for shown in decision.waits.values():
        size += 0 if shown is None else len(shown.inputs)
    for item in decision.new_items:
        size += len(item.value)
    for signal in decision.signals.values():
        size += 0 if signal is None else len(signal.data)
    return size
