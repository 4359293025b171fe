"""The files of tasks and uploads: find one by its path, select those of a cleanup, delete those that nobody records.

`cleanup_runner` deletes the files of deleted workflows.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from stepwell.basics.artifacts import UNREAD_ANSWER, parse_artifact_path, preview_paths
from stepwell.basics.errors import ArtifactError, ArtifactGone
from stepwell.basics.tenancy import EVERY_TENANT, FileScope, TenantScope
from stepwell.contract.enums import TaskStatus
from stepwell.contract.tasks import Output
from stepwell.lifecycle.cleanup_records import TaskToClean
from stepwell.lifecycle.records import TaskRecord
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.storage import WorkflowReader
from stepwell.ports.uploads import Uploads

log = structlog.get_logger()


class OwnedFile(NamedTuple):
    """A stored file, and the tenant that owns it."""

    tenant: str | None
    output: Output


class TaskFiles:
    def __init__(self, store: WorkflowReader, uploads: Uploads, artifacts: Artifacts) -> None:
        self._store, self._uploads, self._artifacts = store, uploads, artifacts

    async def select(self, scope: TenantScope, workflow_id: UUID) -> list[TaskToClean]:
        """Return the tasks that a cleanup would handle: those that are not deleted yet."""
        records = await self._store.tasks(scope, workflow_id, include_deleted=False) or ()
        references = await self._references(scope, workflow_id, records)
        return [TaskToClean(record, references.get(record.task.id)) for record in records]

    async def find(self, scope: TenantScope, path: str) -> OwnedFile | None:
        """Return the file of a task or an upload of *scope* with exactly this path; None if it is deleted.

        The task's workflow may have been purged, while another one still needs the file.
        """
        target = parse_artifact_path(path)
        if target is None:
            return None
        record = await self._store.task(scope, target.task_id)
        if record is None:
            upload = await self._uploads.find(scope, target.task_id)
            if upload is not None:
                return OwnedFile(upload.tenant, upload.output) if upload.path == path else None
            tenant, outputs = await self._store.needed_outputs(scope, target.task_id)
        elif record.deleted_at is None:
            owner = await self._store.owner(scope, record.workflow_id) if scope.every else scope
            if owner is None:  # purged meanwhile
                return None
            tenant, outputs = owner.tenant, record.task.outputs
        else:
            return None
        return next((OwnedFile(tenant, output) for output in outputs if output.path == path), None)

    async def find_for_run(self, run: FileScope, path: str) -> OwnedFile | None:
        """Return the file with exactly this path if the run may read it; else None."""
        target, of_tenant = parse_artifact_path(path), TenantScope(run.tenant)
        if run.named is None or path in run.named or target is None:
            return await self.find(of_tenant, path)
        task = await self._store.task(of_tenant, target.task_id)
        if task is None:  # an upload, or none
            return await self.find(TenantScope(run.tenant, subject=run.subject), path)
        workflow = await self._store.get(of_tenant, task.workflow_id)
        root_id = task.workflow_id if workflow is None or workflow.parent is None else workflow.parent.root_id
        return await self.find(of_tenant, path) if root_id == run.root_id else None

    async def owned(self, scope: TenantScope, paths: Collection[str]) -> set[str]:
        """Return those of *paths* that are files of *scope* and that aren't deleted. It takes few statements."""
        targets = [target for path in paths if (target := parse_artifact_path(path)) is not None]
        ids = list(dict.fromkeys(target.task_id for target in targets))
        found = await self._store.stored_outputs(scope, ids) | set(await self._uploads.stored_paths(scope, ids))
        return found.intersection(paths)

    async def recorded(self, owner_ids: Sequence[UUID]) -> set[str]:
        """Return the paths of the files of these tasks and uploads that aren't deleted."""
        outputs = await self._store.stored_outputs(EVERY_TENANT, owner_ids)
        return outputs.union(await self._uploads.recorded(owner_ids))

    async def sweep(self) -> int:
        """Delete the files that nobody records, which killed processes have left. Return their number.

        Call this only before any attempt runs, because a running attempt's files are not recorded yet.
        """
        swept = 0
        async for page in self._artifacts.paths():
            owners = {target.task_id for path in page if (target := parse_artifact_path(path)) is not None}
            recorded = await self.recorded(list(owners))
            previews = {preview for path in recorded for preview in preview_paths(path)}
            for path in page:
                if path not in recorded and path not in previews and not await self._is_needed(path):
                    swept += await self._delete_unrecorded(path)
        if swept:
            log.info("artifacts.swept", action="sweep", files=swept)
        return swept

    async def _is_needed(self, path: str) -> bool:
        """Return whether *path* is an answer that its attempt has yet to use."""
        target = parse_artifact_path(path)
        if target is None or target.name != UNREAD_ANSWER:
            return False
        record = await self._store.task(EVERY_TENANT, target.task_id)
        return record is not None and record.task.status is TaskStatus.RUNNING

    async def _references(
        self, scope: TenantScope, workflow_id: UUID, records: Sequence[TaskRecord]
    ) -> Mapping[UUID, UUID]:
        """Return the workflows that still need files of these tasks, one for each such task, by its id."""
        with_files = [record.task.id for record in records if record.task.outputs]
        return await self._store.references_to(scope, workflow_id, with_files) if with_files else {}

    async def _delete_unrecorded(self, path: str) -> bool:
        try:
            await self._artifacts.delete(path)
        except (ArtifactGone, ArtifactError):  # one file too many must not keep the service from starting
            log.exception("artifacts.not_swept", action="sweep", path=path)
            return False
        return True
