"""Deletes the files of deleted workflows, in passes over their tasks.

    verb cleanup ──► one transaction: workflow.cleaned, a row in `cleanups` ──► passes ──► workflow.files_deleted

What must hold:
- A cleanup is stored in the transaction of workflow.cleaned. From then on some process works on it until each file is
  deleted, missing, or needed by another workflow, even if processes die meanwhile and nobody waits for it.
- workflow.files_deleted is written once, in the transaction that deletes the stored cleanup. A repeated cleanup
  writes another one only if it has found a file to delete, or a missing one.
- A file that another workflow needs is deleted by the last cleanup of those that need it: it is recorded as a removal
  before this cleanup, or a later one, looks whether somebody still needs it.
- No file is deleted while an attempt of the workflow runs in this process, and none of an attempt starts afterwards.
- A file counts as missing only if this cleanup can't have deleted it. The counts of a task's files and its deletion
  mark are one statement, so each file counts once, also after a crash.
- A cleanup whose files can't be deleted is tried again later and later. A pass stops after a few failures in a row, and
  the next one continues behind them, so that a store that is away costs little, and no file hides others.
- Tenants take turns, page by page, and no tenant has more than its share of the passes in memory. What the retention
  deletes of all tenants together is another lane.
- No statement is sent while nothing is due.

A purge is a cleanup that deletes all rows of the workflow too, see `purger`.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from msgspec import Struct, field

from stepwell.basics.errors import ArtifactError, ArtifactGone, NotFound, Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import TERMINAL_STATUSES, EventType
from stepwell.contract.workflows import WorkflowCleanupDetail, WorkflowCleanupError, WorkflowDataDeletion
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.timers import wait_until_set
from stepwell.engine.execution.workflow_access import WorkflowAccess
from stepwell.engine.files.child_cleanups import clean_children
from stepwell.engine.files.purger import DELETES_AT_ONCE, FAILURES_IN_A_ROW, Purger
from stepwell.engine.files.uploads import UploadService
from stepwell.lifecycle.cleanup_records import DueCleanup, TaskToClean, empty_report
from stepwell.lifecycle.inputs import FilesDeleted
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.clock import Clock
from stepwell.ports.deletions import BEFORE_ALL_TASKS, Cleanups, Purges
from stepwell.rules.list_records import TaskCursor
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

_PAGE = 250  # tasks
_PASSES_PER_LANE = 8
_TURNS, _TURNS_PER_LANE = 4, 2
_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 300.0
_DELETE_S, COMMIT_S = 30.0, 10.0
_POLL_S = 0.5


class CleanupObserver(Struct, eq=False):
    """A request that waits for the cleanup of a workflow. `report` counts what happened meanwhile.

    `pass_over` gets True when the cleanup has ended, False when files are left for a later pass.
    """

    workflow_id: UUID
    pass_over: asyncio.Future[bool]
    report: WorkflowCleanupDetail = field(default_factory=empty_report)


class _TaskResult(Struct):
    deleted: list[str] = []
    missing: list[str] = []
    already_deleted: int = 0  # by an earlier pass of the same cleanup
    errors: list[str] = []


class _Progress(Struct):
    """The progress of a pass. `failures` are those in a row. `kept` counts the files that other workflows need."""

    after: TaskCursor
    failed: bool = False
    failures: int = 0
    kept: int = 0

    @property
    def stopped(self) -> bool:
        return self.failures >= FAILURES_IN_A_ROW


class CleanupRunner:
    """Works on the cleanups that this process owns. `wait_s` is how long a request waits for one, in seconds."""

    def __init__(
        self,
        cleanups: Cleanups,
        purges: Purges,
        artifacts: Artifacts,
        uploads: UploadService,
        access: WorkflowAccess,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._cleanups, self._artifacts, self._access, self._clock = cleanups, artifacts, access, clock
        self._uploads = uploads
        self._purges = purges
        self._lease, self._owner = access.lease, access.lease.owner
        bus.listeners.append(self._on_committed)
        self.wait_s = 10.0
        self._turns = FairTurns(_TURNS, _TURNS_PER_LANE)
        self._purger = Purger(purges, artifacts, uploads, access.scheduler, bus, self._owner, self._turns)
        self._passes: dict[UUID, asyncio.Task[None]] = {}
        self._passes_of: Counter[str] = Counter()
        self._observers: dict[UUID, list[CleanupObserver]] = {}
        self._continue_after: dict[UUID, TaskCursor] = {}
        self._next_poll: datetime | None = None
        self._crowded = self._polling = self._closed = False
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    # Requests

    @contextmanager
    def observe(self, workflow_id: UUID) -> Iterator[CleanupObserver]:
        """Count for a request what the cleanup of the workflow does within the context.

        Of several observers, the first one counts, so that each file is reported once.
        """
        observer = CleanupObserver(workflow_id, asyncio.get_running_loop().create_future())
        self._observers.setdefault(workflow_id, []).append(observer)
        try:
            yield observer
        finally:
            self._observers[workflow_id].remove(observer)
            if not self._observers[workflow_id]:
                del self._observers[workflow_id]

    async def wait(self, observer: CleanupObserver, *, begun: bool) -> WorkflowCleanupDetail:
        """Wait until the cleanup has ended, files are left for a later pass, or `wait_s` are over.

        *begun*: the request itself has begun the cleanup. Otherwise it is a repeated one, which tries at once whatever
        is left. Raises `Unavailable`.
        """
        try:
            async with asyncio.timeout(self.wait_s):
                ended = not begun and not await self._repeat(observer)
                observer.report.pending = not (ended or await observer.pass_over)
        except TimeoutError:
            observer.report.pending = True
        return observer.report

    async def purge(self, observer: CleanupObserver, actor: str) -> WorkflowDataDeletion:
        """Delete all data of a deleted workflow. Wait until nothing is left, a pass has failed, or `wait_s` are over.

        Raises `Unavailable`.
        """
        workflow_id = observer.workflow_id
        pending = False
        try:
            async with asyncio.timeout(self.wait_s):
                await self._lease.ensure()
                while not pending:
                    await self._until_no_pass(workflow_id)
                    observer.pass_over = asyncio.get_running_loop().create_future()
                    owner = await self._purges.request(self._owner, workflow_id, actor)
                    if owner is None:
                        break
                    if owner == self._owner:
                        self._poll_in(0)
                        pending = not await observer.pass_over
                    else:
                        await asyncio.sleep(_POLL_S)  # until another process has ended the purge, or has died
        except TimeoutError:
            pending = True
        return WorkflowDataDeletion(workflow_id, len(observer.report.deleted_paths), pending)

    def begin_purges(self) -> None:
        self._poll_in(0)

    async def _repeat(self, observer: CleanupObserver) -> bool:
        """Make the cleanup due. Return False if nothing is left to do."""
        workflow_id = observer.workflow_id
        await self._until_no_pass(workflow_id)
        observer.pass_over = asyncio.get_running_loop().create_future()
        await self._lease.ensure()
        while True:
            owner = await self._cleanups.request(self._owner, workflow_id)
            if owner == self._owner:
                self._poll_in(0)
            if owner in (self._owner, None):
                return owner is not None
            await asyncio.sleep(_POLL_S)  # until another process has ended the cleanup, or has died

    async def _until_no_pass(self, workflow_id: UUID) -> None:
        while (running := self._passes.get(workflow_id)) is not None:
            await asyncio.wait({running})

    # The loop

    @property
    def busy(self) -> bool:
        """True while this process needs its lease for a cleanup."""
        return self._polling or bool(self._passes)

    @property
    def waiting(self) -> bool:
        """True if no pass runs, and `run` waits for time to pass or for a cleanup."""
        return not self.busy and not self._wake.is_set()

    async def take_over(self) -> None:
        """Take over the cleanups of dead processes. Raises `Unavailable`."""
        seconds = await self._cleanups.take_over(self._owner)
        if seconds is not None:
            self._poll_in(seconds)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            while True:
                pause_s = math.inf
                if self._next_poll is not None and not self._closed:
                    pause_s = max((self._next_poll - self._clock.now()).total_seconds(), 0.0)
                if pause_s > 0:
                    await wait_until_set(self._wake, self._clock, pause_s)
                self._wake.clear()
                await self._poll()

    async def stop(self, grace_s: float) -> None:
        """Start no more passes, and give those that run *grace_s* seconds to be cancelled.

        The next process continues them.
        """
        self._closed = True
        for running in list(self._passes.values()):
            running.cancel()
        if self._passes:
            await asyncio.wait(self._passes.values(), timeout=grace_s)

    def _on_committed(self, committed: CommittedEvents) -> None:
        if committed.status in TERMINAL_STATUSES and any(
            event.type is EventType.WORKFLOW_CLEANED and event.data["cleanup_tasks"] for event in committed.events
        ):
            self._poll_in(0)

    def _poll_in(self, seconds: float) -> None:
        at = self._clock.now() + timedelta(seconds=seconds)
        self._next_poll = at if self._next_poll is None else min(self._next_poll, at)
        self._wake.set()

    async def _poll(self) -> None:
        """Start a pass for each cleanup that is due, within the limits."""
        if self._closed or self._next_poll is None or self._next_poll > self._clock.now():
            return
        self._next_poll, self._polling = None, True
        try:
            await self._lease.ensure(busy=True)
            due, later_s = await self._cleanups.due(self._owner, self._passes.keys(), _PASSES_PER_LANE)
        except Unavailable:
            self._poll_in(OUTAGE_RETRY_S)
        else:
            if later_s is not None:
                self._poll_in(later_s)
            # The retention gets one pass for workflows of all tenants, which costs them nothing.
            purges: dict[tuple[str, bool], list[DueCleanup]] = {}
            for cleanup in due:
                if self._passes_of[cleanup.lane] >= _PASSES_PER_LANE or self._closed:
                    continue
                self._passes_of[cleanup.lane] += 1
                if cleanup.purge:
                    key = ("" if cleanup.expired else cleanup.lane, cleanup.expired)
                    purges.setdefault(key, []).append(cleanup)
                else:
                    self._start([cleanup])
            for together in purges.values():
                self._start(together)
            self._crowded = any(count >= _PASSES_PER_LANE for count in self._passes_of.values())
        finally:
            self._polling = False

    def _start(self, cleanups: Sequence[DueCleanup]) -> None:
        """Start a pass for a cleanup, or for several purges, which then share their statements."""
        assert self._group is not None
        running = self._group.create_task(self._run_pass(cleanups), name=f"cleanup {cleanups[0].workflow_id}")
        self._passes |= {cleanup.workflow_id: running for cleanup in cleanups}
        running.add_done_callback(lambda _: self._on_pass_over(cleanups))

    def _on_pass_over(self, cleanups: Sequence[DueCleanup]) -> None:
        for cleanup in cleanups:
            del self._passes[cleanup.workflow_id]
            self._passes_of[cleanup.lane] -= 1
            if not self._passes_of[cleanup.lane]:
                del self._passes_of[cleanup.lane]
        if self._crowded:
            self._poll_in(0)

    # A pass

    async def _run_pass(self, cleanups: Sequence[DueCleanup]) -> None:
        ended: Collection[UUID] = ()
        try:
            ended = await self._attempt_all(cleanups)
            for cleanup in cleanups:
                if cleanup.workflow_id not in ended:
                    seconds = retry_s(cleanup.tries, random.random())  # noqa: S311 - jitter
                    await self._cleanups.postpone(self._owner, cleanup.workflow_id, seconds)
                    self._poll_in(seconds)
        except Unavailable:
            self._poll_in(OUTAGE_RETRY_S)
        finally:
            for cleanup in cleanups:
                for observer in self._observers.get(cleanup.workflow_id, ()):
                    if not observer.pass_over.done():
                        observer.pass_over.set_result(cleanup.workflow_id in ended)

    async def _attempt_all(self, cleanups: Sequence[DueCleanup]) -> Collection[UUID]:
        """Return the cleanups that have ended. Raises `Unavailable`."""
        first = cleanups[0]
        try:
            if first.purge:
                ids = [cleanup.workflow_id for cleanup in cleanups]
                return await self._purger.run_pass(None if first.expired else first.lane, ids, self._on_file_purged)
            return (first.workflow_id,) if await self._attempt(first) else ()
        except Exception as error:
            if isinstance(error, Unavailable):
                raise
            log.exception("cleanup.broke", action="cleanup", workflow_id=str(first.workflow_id))
            return ()

    def _on_file_purged(self, workflow_id: UUID, path: str) -> None:
        if (observer := self._reported_to(workflow_id)) is not None:
            observer.report.deleted_paths.append(path)

    async def _attempt(self, cleanup: DueCleanup) -> bool:
        """Delete the files of the workflow. Return False if another pass is needed. Raises `Unavailable`."""
        workflow_id = cleanup.workflow_id
        if not await self._access.scheduler.leaving.becomes_quiet(workflow_id):
            return False
        after = self._continue_after.pop(workflow_id, BEFORE_ALL_TASKS)
        if after != BEFORE_ALL_TASKS and (await self._sweep(cleanup, _Progress(after))).stopped:
            return False
        progress = await self._sweep(cleanup, _Progress(BEFORE_ALL_TASKS))
        if progress.failed:
            return False
        await self._clean_uploads(cleanup)
        if not await self._purger.delete_unneeded(cleanup.lane, workflow_id):
            return False
        return await self._finish(workflow_id, progress.kept)

    async def _clean_uploads(self, cleanup: DueCleanup) -> None:
        more = True
        while more:
            async with self._turns.turn(cleanup.lane):
                paths, more = await self._uploads.delete_with_workflow(cleanup.workflow_id)
                if paths:
                    await self._cleanups.settle(self._owner, cleanup.workflow_id, [], len(paths), 0)
            if (observer := self._reported_to(cleanup.workflow_id)) is not None:
                observer.report.deleted_paths += paths

    async def _sweep(self, cleanup: DueCleanup, progress: _Progress) -> _Progress:
        while not progress.stopped:
            async with self._turns.turn(cleanup.lane):
                page = await self._cleanups.next_tasks(self._owner, cleanup.workflow_id, progress.after, _PAGE)
                if not page:
                    return progress
                await self._clean_page(cleanup.workflow_id, page, progress)
        self._continue_after[cleanup.workflow_id] = progress.after
        return progress

    async def _clean_page(self, workflow_id: UUID, page: Sequence[TaskToClean], progress: _Progress) -> None:
        """Delete the files of a page of tasks, and mark the tasks without further files as deleted."""
        cleaned, kept = list[UUID](), list[UUID]()
        deleted = missing = 0
        for start in range(0, len(page), DELETES_AT_ONCE):
            if progress.stopped:
                break
            some = page[start : start + DELETES_AT_ONCE]
            for task, result in zip(some, await self._clean_tasks(some), strict=True):
                is_cleaned = self._record(workflow_id, task, result, progress)
                if is_cleaned:
                    cleaned.append(task.record.task.id)
                    deleted += len(result.deleted) + result.already_deleted
                    missing += len(result.missing)
                elif task.referenced_by is not None:
                    kept.append(task.record.task.id)
        if cleaned or kept:
            await self._cleanups.settle(self._owner, workflow_id, cleaned, deleted, missing, kept)
        if (observer := self._reported_to(workflow_id)) is not None:
            observer.report.tasks_cleaned += len(cleaned)

    async def _clean_tasks(self, tasks: Sequence[TaskToClean]) -> list[_TaskResult]:
        if not any(task.record.task.outputs for task in tasks):
            return [_TaskResult() for _ in tasks]
        async with asyncio.TaskGroup() as group:
            work = [
                group.create_task(self._delete_files(task), name=f"delete files of {task.record.task.id}")
                for task in tasks
            ]
        return [each.result() for each in work]

    async def _delete_files(self, task: TaskToClean) -> _TaskResult:
        result = _TaskResult()
        for output in () if task.referenced_by is not None else task.record.task.outputs:
            try:
                async with asyncio.timeout(_DELETE_S):
                    await self._artifacts.delete(output.path)
            except ArtifactGone:
                if task.begun:
                    result.already_deleted += 1
                else:
                    result.missing.append(output.path)
            except ArtifactError as error:
                result.errors.append(f"{output.path}: {error}")
            except TimeoutError:
                result.errors.append(f"{output.path}: the artifact store doesn't respond")
            else:
                result.deleted.append(output.path)
        return result

    def _record(self, workflow_id: UUID, task: TaskToClean, result: _TaskResult, progress: _Progress) -> bool:
        """Add the result of a task to the progress and to the report. Return whether none of its files is left."""
        outputs = task.record.task.outputs
        progress.after = TaskCursor.of(task.record.task)
        errors = [*result.errors, *(f"{path}: the file was already gone" for path in result.missing)]
        is_kept = task.referenced_by is not None and bool(outputs)
        if is_kept:
            progress.kept += len(outputs)
            errors = [f"{output.path}: still referenced by workflow {task.referenced_by}" for output in outputs]
        if result.errors:
            progress.failed = True
            progress.failures += len(result.errors)
        elif result.deleted:
            progress.failures = 0
        if (observer := self._reported_to(workflow_id)) is not None:
            record, report = task.record, observer.report
            report.tasks_processed += 1
            report.deleted_paths += result.deleted
            task_id, step_id, task_type = record.task.id, record.step_id, record.task_type
            report.errors += [WorkflowCleanupError(task_id, step_id, task_type, text) for text in errors]
        return not is_kept and not result.errors

    def _reported_to(self, workflow_id: UUID) -> CleanupObserver | None:
        observers = self._observers.get(workflow_id)
        return observers[0] if observers else None

    async def _finish(self, workflow_id: UUID, kept: int) -> bool:
        """Write workflow.files_deleted, and delete the stored cleanup. Return False if that must be tried later.

        The counts are read after the workflow was loaded. So if another process takes the cleanup over and ends it
        meanwhile, its event changes the workflow's version, and this one isn't written.
        """
        scheduler = self._access.scheduler
        try:
            async with self._access.pinned(EVERY_TENANT, workflow_id) as workflow:
                async with asyncio.timeout(COMMIT_S):  # the event of an earlier pass may still wait for the database
                    await scheduler.checkpointer.flushed(workflow_id)
                has_children = workflow.run.children is not None
                if has_children and not await clean_children(self._cleanups, self._access, workflow_id):
                    return False
                counts = await self._cleanups.counts(self._owner, workflow_id)
                if counts is None:
                    return False  # another process has it, or has ended it
                if counts.repeated and not counts.deleted and not counts.gone:
                    await self._cleanups.end(self._owner, workflow_id)
                    return True
                if not scheduler.apply(workflow, FilesDeleted(counts.deleted, counts.gone, kept)):
                    return False
                async with asyncio.timeout(COMMIT_S):
                    await scheduler.checkpointer.flushed(workflow_id)
        except NotFound:
            await self._cleanups.end(self._owner, workflow_id)
        except (NotWritten, TimeoutError, Unavailable):  # another process runs the workflow, or the database is away
            return False
        return True


def retry_s(tries: int, jitter: float) -> float:
    """Return the seconds before the next pass after *tries* + 1 failed ones. *jitter* is from 0 to below 1."""
    return min(_FIRST_RETRY_S * 2.0 ** min(tries, 20), _LAST_RETRY_S) * (0.5 + jitter / 2)
