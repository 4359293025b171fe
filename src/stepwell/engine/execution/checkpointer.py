"""Group commit: while one batch is being committed the next one fills, and what the one before lets go is worked off.

What must hold:
- A decision's effects are released, and its waiters told, only after the batch with its rows has committed.
- Decisions of one run are written in the order in which they were made, those made meanwhile as one, as long as that
  stays small enough: no batch is so big that writing it takes longer than the database gives it, or that what it lets
  go holds up everybody else.
- While the database is away nothing is dropped: the same batch is tried again until it lands, and a batch whose
  answer was lost is recognised as landed (`ports.Journal.write`).
- The next batch is sent before the effects of the last are released, so that the database and this process work at the
  same time; the effects of one run are released in the order of its decisions all the same.
- A batch is never cancelled half-way: only `close` ends the loop, after the last batch.
- A decision that can't be written, for whatever reason, takes down only its own run.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from uuid import UUID

import structlog
from msgspec import Struct, field

from stepwell.domain.errors import StepwellError, Unavailable
from stepwell.domain.lifecycle.decision import Decision
from stepwell.ports.storage import WorkflowStore
from stepwell.telemetry import Distribution

log = structlog.get_logger()

_BATCH_EVENTS, _BATCH_BYTES = 500, 4 * 1024 * 1024
_ENTRY_EVENTS = 250
_TURN_S = 0.01  # then others get theirs
_WRITE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FIRST_RETRY_S, _LAST_RETRY_S = 0.05, 1.0


class NotWritten(StepwellError):
    """The decision did not land: another process has the workflow, or its rows can't be stored."""


class _Entry(Struct):
    """What is written of a workflow at once; `size` is that of its results, which alone can be big."""

    decision: Decision
    size: int
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class _Fate(Enum):
    COMMITTED = auto()
    LOST = auto()
    REFUSED = auto()


class Checkpointer:
    """*committed* is called with each decision that has landed, *lost* with the id of each that never will: because
    its workflow has moved on elsewhere, or (*refused*) because the database won't have its rows. `seconds` are the
    durations of the writes that the database answered. `events` and `rows` count what is committed: events of
    workflows' histories, and rows of all tables.
    """

    def __init__(
        self, journal: WorkflowStore, committed: Callable[[Decision], None], lost: Callable[[UUID, bool], None]
    ) -> None:
        self._journal, self._committed, self._lost = journal, committed, lost
        self._filling: dict[UUID, deque[_Entry]] = {}
        self._writing: dict[UUID, _Entry] = {}
        self._landed: dict[UUID, tuple[_Entry, _Fate]] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self.outage = False
        self.batches = self.events = self.rows = 0
        self.seconds = Distribution(_WRITE_S)

    def submit(self, decision: Decision) -> None:
        workflow_id, size = decision.workflow.id, _size(decision)
        queue = self._filling.get(workflow_id)
        if queue is not None and (not decision.has_rows or _fits(queue[-1], decision, size)):
            queue[-1].decision.merge(decision)
            queue[-1].size += size
        elif decision.has_rows:
            self._filling.setdefault(workflow_id, deque()).append(_Entry(decision, size))
            self._wake.set()
        else:
            self._committed(decision)

    def settled(self, workflow_id: UUID) -> asyncio.Future[None]:
        """Done when all that was submitted for the workflow until now is committed; or it raises `NotWritten`."""
        future = asyncio.get_running_loop().create_future()
        if (queue := self._filling.get(workflow_id)) is not None:
            queue[-1].waiters.append(future)
        elif (entry := self._writing.get(workflow_id)) is not None:
            entry.waiters.append(future)
        elif (landed := self._landed.get(workflow_id)) is not None:
            landed[0].waiters.append(future)
        else:
            future.set_result(None)
        return future

    def holds(self, workflow_id: UUID) -> bool:
        return workflow_id in self._filling or workflow_id in self._writing or workflow_id in self._landed

    @property
    def held(self) -> set[UUID]:
        return self._filling.keys() | self._writing.keys() | self._landed.keys()

    async def run(self) -> None:
        """Write batches until `close`."""
        async with asyncio.TaskGroup() as group:
            while not (self._closing and self._idle):
                if self._idle:
                    self._wake.clear()
                    await self._wake.wait()
                elif not self._landed:
                    self._writing = self._take()
                    self._land(await self._fates(self._writing))
                elif not self._filling or self._losses:
                    await self._let_go()
                else:
                    self._writing = self._take()
                    fates = group.create_task(self._fates(self._writing), name="checkpoint")
                    await asyncio.sleep(0)  # until it is sent
                    await self._let_go()
                    self._land(await fates)

    @property
    def _idle(self) -> bool:
        return not (self._filling or self._landed)

    @property
    def _losses(self) -> bool:
        """Whether something is to be dropped, and with it what is queued behind it."""
        return any(fate is not _Fate.COMMITTED for _, fate in self._landed.values())

    def close(self) -> None:
        """Let `run` end once all that is queued is written."""
        self._closing = True
        self._wake.set()

    def _take(self) -> dict[UUID, _Entry]:
        batch: dict[UUID, _Entry] = {}
        rows = size = 0
        for workflow_id, queue in self._filling.items():
            rows += len(queue[0].decision.events)
            size += queue[0].size
            if batch and (rows > _BATCH_EVENTS or size > _BATCH_BYTES):
                break
            batch[workflow_id] = queue[0]
        for workflow_id in batch:
            queue = self._filling.pop(workflow_id)
            queue.popleft()
            if queue:
                self._filling[workflow_id] = queue  # behind the others
        return batch

    def _land(self, fates: dict[UUID, _Fate]) -> None:
        self._landed = {workflow_id: (entry, fates[workflow_id]) for workflow_id, entry in self._writing.items()}
        self._writing = {}

    async def _fates(self, batch: dict[UUID, _Entry]) -> dict[UUID, _Fate]:
        """Write them, and say what has become of each."""
        try:
            lost = await self._until_it_lands([entry.decision for entry in batch.values()])
        except Exception as error:  # whatever a row may provoke must not end the other workflows
            if len(batch) > 1:
                log.warning("checkpoint.split", action="checkpoint", workflows=len(batch), error=repr(error))
                fates: dict[UUID, _Fate] = {}
                for workflow_id, entry in batch.items():
                    fates |= await self._fates({workflow_id: entry})
                return fates
            log.exception("checkpoint.refused", action="checkpoint", workflow_id=str(next(iter(batch))))
            return dict.fromkeys(batch, _Fate.REFUSED)
        self.batches += 1
        return {workflow_id: _Fate.LOST if workflow_id in lost else _Fate.COMMITTED for workflow_id in batch}

    async def _let_go(self) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.time() + _TURN_S
        while self._landed:
            if loop.time() > turn:
                await asyncio.sleep(0)
                turn = loop.time() + _TURN_S
            # First out of the books: whoever is told now must not find it still held.
            workflow_id = next(iter(self._landed))
            entry, fate = self._landed.pop(workflow_id)
            if fate is _Fate.COMMITTED:
                self.events += len(entry.decision.events)
                self.rows += entry.decision.rows
                self._settle(entry)
            else:
                self._drop(workflow_id, entry, refused=fate is _Fate.REFUSED)

    async def _until_it_lands(self, decisions: list[Decision]) -> set[UUID]:
        delay = _FIRST_RETRY_S
        while True:
            started = time.perf_counter()
            try:
                lost = await self._journal.write(decisions)
            except Unavailable as error:
                if not self.outage:
                    log.warning("checkpoint.delayed", action="checkpoint", error=str(error))
                self.outage = True
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
                delay = min(delay * 2, _LAST_RETRY_S)
            else:
                if self.outage:
                    log.info("checkpoint.resumed", action="checkpoint")
                self.outage = False
                self.seconds.observe(time.perf_counter() - started)
                return lost

    def _settle(self, entry: _Entry) -> None:
        self._committed(entry.decision)
        for waiter in entry.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _drop(self, workflow_id: UUID, entry: _Entry, *, refused: bool) -> None:
        log.warning("checkpoint.lost", action="checkpoint", workflow_id=str(workflow_id))
        entries = [entry, *self._filling.pop(workflow_id, ())]
        self._lost(workflow_id, refused)
        for waiter in (waiter for entry in entries for waiter in entry.waiters):
            if not waiter.done():
                waiter.set_exception(NotWritten("the workflow's state has moved on elsewhere"))


def _fits(entry: _Entry, decision: Decision, size: int) -> bool:
    events = len(entry.decision.events) + len(decision.events)
    return events <= _ENTRY_EVENTS and entry.size + size <= _BATCH_BYTES


def _size(decision: Decision) -> int:
    size = 0
    for step in decision.steps.values():
        if step.result is not None:
            size += len(step.result)
    return size
