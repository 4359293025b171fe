"""What handlers are handed: the caller, and the parts that `routes.build_api` was given."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from stepwell.api.auth import Principal
from stepwell.domain.definition import WorkflowUpdate
from stepwell.domain.model import HistoryEvent, Output
from stepwell.domain.provider_status import ProviderStatus
from stepwell.domain.records import CleanupReport, ListFilter, TaskRecord, TenantScope, WorkflowPage, WorkflowRecord
from stepwell.domain.validation import Catalog, PlannedWorkflow
from stepwell.ports import Artifacts
from stepwell.telemetry import Metrics


class Workflows(Protocol):
    """What the API needs of the engine. Calls raise the errors of `domain.errors` and no others."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def draining(self) -> bool: ...

    async def ready(self) -> object: ...

    async def create(
        self, scope: TenantScope, actor: str, planned: PlannedWorkflow, *, tenant: str | None, start: bool
    ) -> WorkflowRecord: ...

    async def get(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool = True) -> WorkflowRecord: ...

    async def list(self, scope: TenantScope, query: ListFilter) -> WorkflowPage: ...

    async def update(
        self, scope: TenantScope, actor: str, workflow_id: UUID, changes: WorkflowUpdate
    ) -> WorkflowRecord: ...

    async def start(self, scope: TenantScope, actor: str, workflow_id: UUID) -> WorkflowRecord: ...

    async def pause(self, scope: TenantScope, actor: str, workflow_id: UUID) -> WorkflowRecord: ...

    async def resume(self, scope: TenantScope, actor: str, workflow_id: UUID) -> WorkflowRecord: ...

    async def cancel(self, scope: TenantScope, actor: str, workflow_id: UUID) -> WorkflowRecord: ...

    async def cleanup(
        self, scope: TenantScope, actor: str, workflow_id: UUID, *, cleanup_tasks: bool
    ) -> tuple[WorkflowRecord, CleanupReport]: ...

    async def events(
        self, scope: TenantScope, workflow_id: UUID, *, after: int, limit: int
    ) -> Sequence[HistoryEvent]: ...

    async def tasks(self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool) -> Sequence[TaskRecord]: ...

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord: ...

    def providers(self, scope: TenantScope) -> Sequence[ProviderStatus]: ...

    def called_back(self, token: str, body: bytes) -> None: ...

    async def artifact(self, scope: TenantScope, path: str) -> Output: ...


class ApiDescription(Struct, frozen=True):
    """The OpenAPI document as it is served, and the page that shows it."""

    json: bytes
    page: bytes


Call: TypeAlias = Request[Principal, Any, Any]
Service: TypeAlias = NamedDependency[SkipValidation[Workflows]]
Store: TypeAlias = NamedDependency[SkipValidation[Artifacts]]
Numbers: TypeAlias = NamedDependency[SkipValidation[Metrics]]
Description: TypeAlias = NamedDependency[SkipValidation[ApiDescription]]
