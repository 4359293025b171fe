"""Deletes workflows with all their rows and files.

    rows of the workflow, its files into `file_removals` ──► files ──► removals, purge, last rows

What must hold:
- A purge is stored before a row is deleted, or in the same transaction. From then on some process works on it until no
  row of the workflow is left, and no file that no other workflow needs, whatever dies in between.
- The row of the workflow is deleted first, and only if no process runs the workflow. So no run writes any more, and
  every read has the result for an unknown workflow.
- A file is deleted only if no undeleted workflow names it. A file that stays is deleted with the last of these.
- Its path leaves the database only after the file is deleted.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.basics.errors import ArtifactError, ArtifactGone
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.files.uploads import UploadService
from stepwell.lifecycle.cleanup_records import FileRemoval
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.deletions import Purges
from stepwell.runtime.fair_turns import FairTurns

log = structlog.get_logger()

_FIRST: Final = UUID(int=0)
_PAGE = 250  # removals
DELETES_AT_ONCE = 4
ROWS = 5_000  # of each table in one statement
FAILURES_IN_A_ROW = 8
_DELETE_S, _PAUSE_S = 30.0, 0.01


class Purger(Struct, eq=False):
    """Works on the purges of the process *owner*. *turns* are those of the cleanups."""

    _purges: Purges
    _artifacts: Artifacts
    _uploads: UploadService
    _scheduler: Scheduler
    _bus: EventBus
    _owner: UUID
    _turns: FairTurns

    async def run_pass(
        self, lane: str | None, workflow_ids: Collection[UUID], on_deleted: Callable[[UUID, str], None]
    ) -> Collection[UUID]:
        """Delete what is left of the workflows, and return those whose purge has ended. Raises `Unavailable`.

        *lane* takes turns with the others; None is the retention's. *on_deleted* gets each file that was deleted, with
        its workflow.
        """
        quiet = [each for each in workflow_ids if await self._scheduler.leaving.becomes_quiet(each)]
        # A reference of a new workflow keeps an upload as long as the row of the workflow is missing. So they go first.
        for workflow_id in await self._purges.with_uploads(quiet):
            more = True
            while more:
                async with self._turns.turn(lane):
                    paths, more = await self._uploads.delete_with_workflow(workflow_id)
                for path in paths:
                    on_deleted(workflow_id, path)
        deleted = await self._delete_rows(lane, quiet)
        failed = await self._delete_files(lane, deleted, on_deleted) if deleted else set()
        ended = deleted - failed
        if ended:
            await self._purges.end(self._owner, ended)
        return ended

    async def delete_unneeded(self, lane: str, workflow_id: UUID) -> bool:
        """Delete the files that other workflows have left for this one, and that nobody needs any more.

        Return False if some are left.
        """
        return not await self._delete_files(lane, {workflow_id}, lambda *_: None)

    async def _delete_rows(self, lane: str | None, workflow_ids: Collection[UUID]) -> set[UUID]:
        """Delete all rows, and return the workflows that have none left."""
        deleted: set[UUID] = set()
        left = set(workflow_ids)
        while left:
            async with self._turns.turn(lane):
                purged = await self._purges.delete_rows(self._owner, left, ROWS)
            self._bus.invalidate(purged.workflow_ids - deleted)  # their streams end
            deleted |= purged.workflow_ids
            if purged.unfinished == left:  # another transaction may have locked rows
                await asyncio.sleep(_PAUSE_S)
            left = set(purged.unfinished)
        return deleted

    async def _delete_files(
        self, lane: str | None, workflow_ids: Collection[UUID], on_deleted: Callable[[UUID, str], None]
    ) -> set[UUID]:
        """Delete the files that no workflow needs. Return the workflows with files that could not be deleted."""
        failed: set[UUID] = set()
        after, failures = _FIRST, 0
        while failures < FAILURES_IN_A_ROW:
            async with self._turns.turn(lane):
                page = await self._purges.removals(workflow_ids, after, _PAGE)
                if not page:
                    return failed
                done: list[UUID] = []
                for start in range(0, len(page), DELETES_AT_ONCE):
                    some = page[start : start + DELETES_AT_ONCE]
                    for removal, is_done in zip(some, await self._delete_some(some, on_deleted), strict=True):
                        if is_done:
                            done.append(removal.task_id)
                            failures = 0
                        else:
                            failures += 1
                            # Otherwise a workflow that was purged earlier has left the file for one of these.
                            failed |= {removal.workflow_id} if removal.workflow_id in workflow_ids else {*workflow_ids}
                if done:
                    await self._purges.end_removals(done)
                after = page[-1].task_id
        return {*workflow_ids}

    async def _delete_some(
        self, removals: Sequence[FileRemoval], on_deleted: Callable[[UUID, str], None]
    ) -> list[bool]:
        async with asyncio.TaskGroup() as group:
            work = [
                group.create_task(self._delete(removal, on_deleted), name=f"delete files of {removal.task_id}")
                for removal in removals
            ]
        return [each.result() for each in work]

    async def _delete(self, removal: FileRemoval, on_deleted: Callable[[UUID, str], None]) -> bool:
        for path in removal.paths:
            try:
                async with asyncio.timeout(_DELETE_S):
                    await self._artifacts.delete(path)
            except ArtifactGone:
                continue
            except (ArtifactError, TimeoutError) as error:
                log.warning("purge.file_left", action="purge", path=path, error=str(error))
                return False
            on_deleted(removal.workflow_id, path)
        return True
