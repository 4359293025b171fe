"""What handlers are handed: the caller, and the parts that `routes.build_api` was given."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from stepwell.api.auth import Principal
from stepwell.api.sse import Events
from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.dry_run_result import DryRun, Rehearsed
from stepwell.contract.plan_result import WorkflowPlan
from stepwell.contract.providers import ProviderStatus
from stepwell.contract.reasons import Explanation
from stepwell.contract.tasks import Output
from stepwell.domain.access.stream_tickets import StreamTickets
from stepwell.domain.event_feed import FeedCursor, FeedFilter, FeedPage
from stepwell.domain.idempotency import NO_TERMS, Preconditions, Reservation, StoredAnswer, Version
from stepwell.domain.model import HistoryEvent
from stepwell.domain.records import CleanupReport, ListFilter, TaskRecord, WorkflowPage, WorkflowRecord
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.validation.provider_rules import ProviderCatalog
from stepwell.domain.validation.workflow import ValidatedWorkflow
from stepwell.domain.webhooks.delivery import DeliveryRecord
from stepwell.ports.artifacts import Artifacts
from stepwell.telemetry import Metrics


class Repeats(Protocol):
    """Requests that have their effect once however often they are made."""

    async def once(
        self,
        scope: TenantScope,
        key: str,
        fingerprint: bytes,
        work: Callable[[Reservation], Awaitable[StoredAnswer]],
        again: Callable[[UUID], Awaitable[StoredAnswer]],
    ) -> tuple[StoredAnswer, bool]: ...


class Awaiting(Protocol):
    """The end of a workflow: no connection to the database is held for it."""

    async def until_terminal(self, scope: TenantScope, workflow_id: UUID, seconds: float) -> bool: ...


class Webhooks(Protocol):
    async def deliveries(
        self, scope: TenantScope, workflow_id: UUID, *, after: int, limit: int
    ) -> Sequence[DeliveryRecord]: ...

    async def delivery(self, scope: TenantScope, workflow_id: UUID, named: str) -> DeliveryRecord: ...

    async def redeliver(
        self, scope: TenantScope, workflow_id: UUID, named: str, terms: Preconditions = NO_TERMS
    ) -> DeliveryRecord: ...


class Insight(Protocol):
    """What can be asked about a workflow that changes nothing."""

    async def explain(self, scope: TenantScope, workflow_id: UUID) -> Explanation: ...

    async def plan(self, scope: TenantScope, planned: ValidatedWorkflow) -> WorkflowPlan: ...

    async def rehearse(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: Rehearsed,
        terms: Preconditions = NO_TERMS,
        *,
        cleanup_tasks: bool = False,
    ) -> tuple[Version, DryRun]: ...


class Following(Protocol):
    """Events as they happen. What is opened raises, when it is entered, what stands in `engine.streams`."""

    @property
    def heartbeat_s(self) -> float: ...

    def follow(self, scope: TenantScope, workflow_id: UUID, after: int) -> AbstractAsyncContextManager[Events]: ...

    def follow_all(
        self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None
    ) -> AbstractAsyncContextManager[Events]: ...

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None, limit: int) -> FeedPage: ...


class Workflows(Protocol):
    """What the API needs of the engine. Calls raise the errors of `domain.errors` and no others."""

    @property
    def catalog(self) -> ProviderCatalog: ...

    @property
    def draining(self) -> bool: ...

    @property
    def webhooks(self) -> Webhooks: ...

    @property
    def repeats(self) -> Repeats: ...

    @property
    def awaiting(self) -> Awaiting: ...

    @property
    def insight(self) -> Insight: ...

    @property
    def following(self) -> Following: ...

    async def ready(self) -> object: ...

    async def create(
        self,
        scope: TenantScope,
        actor: str,
        planned: ValidatedWorkflow,
        *,
        tenant: str | None,
        start: bool,
        terms: Preconditions = NO_TERMS,
    ) -> WorkflowRecord: ...

    async def version(self, scope: TenantScope, workflow_id: UUID) -> Version: ...

    async def get(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool = True) -> WorkflowRecord: ...

    async def list(self, scope: TenantScope, query: ListFilter) -> WorkflowPage: ...

    async def update(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        changes: WorkflowUpdate,
        terms: Preconditions = NO_TERMS,
    ) -> WorkflowRecord: ...

    async def start(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord: ...

    async def pause(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord: ...

    async def resume(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord: ...

    async def cancel(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord: ...

    async def cleanup(
        self, scope: TenantScope, actor: str, workflow_id: UUID, *, cleanup_tasks: bool, terms: Preconditions = NO_TERMS
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


ApiRequest: TypeAlias = Request[Principal, Any, Any]
Service: TypeAlias = NamedDependency[SkipValidation[Workflows]]
ArtifactsDep: TypeAlias = NamedDependency[SkipValidation[Artifacts]]
Tickets: TypeAlias = NamedDependency[SkipValidation[StreamTickets]]
MetricsDep: TypeAlias = NamedDependency[SkipValidation[Metrics]]
Description: TypeAlias = NamedDependency[SkipValidation[ApiDescription]]
