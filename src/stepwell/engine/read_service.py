"""The reads that the API offers. None of them touches the scheduler: each answer is what the database has committed."""

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from stepwell.contract.providers import ProviderStatus
from stepwell.contract.tasks import Output
from stepwell.domain.errors import NotFound
from stepwell.domain.model import HistoryEvent
from stepwell.domain.preconditions import Version
from stepwell.domain.records import ListFilter, TaskRecord, WorkflowPage, WorkflowRecord
from stepwell.domain.tenancy import TenantScope
from stepwell.engine.artifact_cleanup import ArtifactCleaner
from stepwell.engine.diagnostics.provider_status import ProviderStatusReader
from stepwell.ports.storage import WorkflowReader

T = TypeVar("T")


class ReadService:
    """Reads workflows, events, tasks and files of a scope.

    Methods raise `NotFound` for what the scope doesn't cover, and `Unavailable` while the database is away.
    """

    def __init__(self, store: WorkflowReader, cleaner: ArtifactCleaner, providers: ProviderStatusReader) -> None:
        self._store, self._cleaner, self._providers = store, cleaner, providers

    async def get(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool = True) -> WorkflowRecord:
        return _found(await self._store.get(scope, workflow_id, include_steps=include_steps), "workflow")

    async def version(self, scope: TenantScope, workflow_id: UUID) -> Version:
        return _found(await self._store.version(scope, workflow_id), "workflow")

    async def page(self, scope: TenantScope, query: ListFilter) -> WorkflowPage:
        return await self._store.page(scope, query)

    async def events(self, scope: TenantScope, workflow_id: UUID, *, after: int, limit: int) -> Sequence[HistoryEvent]:
        """Return up to *limit* events of the workflow, from number *after* + 1 on."""
        return _found(await self._store.events(scope, workflow_id, after, limit), "workflow")

    async def tasks(self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool) -> Sequence[TaskRecord]:
        return _found(await self._store.tasks(scope, workflow_id, include_deleted=include_deleted), "workflow")

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord:
        return _found(await self._store.task(scope, task_id), "task")

    async def artifact(self, scope: TenantScope, path: str) -> Output:
        """Return the record of a stored file, by the exact path that results contain."""
        return _found(await self._cleaner.find(scope, path), "artifact")

    def providers(self, scope: TenantScope) -> Sequence[ProviderStatus]:
        return self._providers.statuses(scope)


def _found(value: T | None, what: str) -> T:
    if value is None:
        raise NotFound(what)
    return value
