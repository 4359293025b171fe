"""Files of tasks: deleting them on request, finding one by its path, and the sweep of what nobody references."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from stepwell.contract.tasks import Output
from stepwell.domain.artifacts import parse_artifact_path
from stepwell.domain.errors import ArtifactError, ArtifactGone
from stepwell.domain.records import CleanupFault, CleanupReport, TaskRecord
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.storage import WorkflowReader

log = structlog.get_logger()


class SelectedTasks(NamedTuple):
    """A task whose files are to be deleted; `reader`: unless another workflow still names them, and so they stay."""

    record: TaskRecord
    reader: UUID | None


class ArtifactCleaner:
    def __init__(self, store: WorkflowReader, artifacts: Artifacts) -> None:
        self._store, self._artifacts = store, artifacts

    async def clean(self, scope: TenantScope, workflow_id: UUID) -> CleanupReport:
        """Delete the files of all tasks that are left, and mark those tasks deleted. A file that is gone already is
        told as an error once; one that can't be deleted keeps its task, so that a repeat tries again, and so does one
        that another workflow still names.
        """
        report = CleanupReport(0, 0, [], [])
        cleaned: list[UUID] = []
        for record, reader in await self.selected(scope, workflow_id):
            report.tasks_processed += 1
            if reader is not None:
                kept = (f"{output.path}: still referenced by workflow {reader}" for output in record.task.outputs)
                report.errors += [_fault(record, error) for error in kept]
            elif await self._clean_task(record, report):
                cleaned.append(record.task.id)
        if cleaned:
            await self._store.delete_tasks(scope, workflow_id, cleaned)
        report.tasks_cleaned = len(cleaned)
        return report

    async def selected(self, scope: TenantScope, workflow_id: UUID) -> list[SelectedTasks]:
        """The tasks that `clean` would look at."""
        records = await self._store.tasks(scope, workflow_id, include_deleted=False) or ()
        readers = await self._readers(scope, workflow_id, records)
        return [SelectedTasks(record, readers.get(record.task.id)) for record in records]

    async def find(self, scope: TenantScope, path: str) -> Output | None:
        """The output that a task of *scope* has recorded under exactly that path, unless it is deleted."""
        target = parse_artifact_path(path)
        record = None if target is None else await self._store.task(scope, target.task_id)
        if record is None or record.deleted_at is not None:
            return None
        return next((output for output in record.task.outputs if output.path == path), None)

    async def sweep(self) -> int:
        """Delete every file that no task records, left behind by a process that was killed; their number.

        Only for the time before any attempt runs: the file of one that runs isn't recorded yet.
        """
        swept = 0
        async for page in self._artifacts.paths():
            owners = {target.task_id for path in page if (target := parse_artifact_path(path)) is not None}
            kept = await self._store.stored_outputs(EVERY_TENANT, list(owners))
            for path in page:
                if path not in kept:
                    swept += await self._swept(path)
        if swept:
            log.info("artifacts.swept", action="sweep", files=swept)
        return swept

    async def _readers(
        self, scope: TenantScope, workflow_id: UUID, records: Sequence[TaskRecord]
    ) -> Mapping[UUID, UUID]:
        """Which other workflow still needs the files of a task, by the tasks where there is one."""
        with_files = [record.task.id for record in records if record.task.outputs]
        return await self._store.references_to(scope, workflow_id, with_files) if with_files else {}

    async def _swept(self, path: str) -> bool:
        try:
            await self._artifacts.delete(path)
        except (ArtifactGone, ArtifactError):  # a file too many is no reason not to start
            log.exception("artifacts.not_swept", action="sweep", path=path)
            return False
        return True

    async def _clean_task(self, record: TaskRecord, report: CleanupReport) -> bool:
        """Whether nothing of the task is left."""
        whole = True
        for output in record.task.outputs:
            try:
                await self._artifacts.delete(output.path)
            except ArtifactGone:
                report.errors.append(_fault(record, f"{output.path}: the file was already gone"))
            except ArtifactError as error:
                whole = False
                report.errors.append(_fault(record, f"{output.path}: {error}"))
            else:
                report.deleted_paths.append(output.path)
        return whole


def _fault(record: TaskRecord, error: str) -> CleanupFault:
    return CleanupFault(record.task.id, record.step_id, record.task_type, error)
