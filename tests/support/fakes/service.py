"""A `Workflows` that keeps everything in memory and runs nothing, for tests of the API alone."""
# ruff: noqa: ARG002 - it keeps to the signatures and needs half of them

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from litestar import Litestar

from stepwell.api.auth import TokenVerifier, sign_token
from stepwell.api.claims import ClaimRules
from stepwell.api.operations import Permission
from stepwell.api.routes import build_api
from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.enums import BreakerState, EventType, ProviderType, TaskType, WorkflowStatus
from stepwell.contract.providers import BreakerStatus, Latency, ModelLimit, ModelStatus, ProviderStatus
from stepwell.contract.tasks import Output
from stepwell.domain.access.signed_urls import SignedUrls
from stepwell.domain.access.stream_tickets import StreamTickets
from stepwell.domain.errors import ArtifactGone, InvalidTransition, NotFound, Unavailable
from stepwell.domain.event_feed import FeedCursor, FeedEvent, FeedFilter, FeedPage
from stepwell.domain.idempotency import NO_TERMS, Preconditions, StoredAnswer, Version
from stepwell.domain.model import HistoryEvent, StepState, Task, WorkflowState
from stepwell.domain.records import (
    CleanupFault,
    CleanupReport,
    ListFilter,
    StepRecord,
    Summary,
    TaskRecord,
    WorkflowPage,
    WorkflowRecord,
)
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.validation.provider_rules import ProviderCatalog
from stepwell.domain.validation.workflow import ValidatedWorkflow
from stepwell.ports.artifacts import Artifacts
from stepwell.telemetry import Metrics
from stepwell.testing import ManualClock
from support.fakes.diagnostics import FakeInsight
from support.fakes.webhooks import FakeWebhooks

SECRET = "a secret of the tests, long enough for HS256"
ISSUER = AUDIENCE = "stepwell"
RULES = ClaimRules(ISSUER, AUDIENCE, 34_560_000)
ALL = (Permission.READ, Permission.WRITE)
AT = datetime(2026, 11, 25, 12, 0, 0, 123000, tzinfo=UTC)
CATALOG = ProviderCatalog(
    offers={ProviderType.LOCAL: {task_type: frozenset() for task_type in TaskType}},
    default=ProviderType.LOCAL,
    credentials=frozenset(),
)

_ALLOWED = {
    "start": ([WorkflowStatus.PENDING], WorkflowStatus.RUNNING),
    "pause": ([WorkflowStatus.RUNNING], WorkflowStatus.PAUSED),
    "resume": ([WorkflowStatus.FAILED, WorkflowStatus.PAUSED], WorkflowStatus.RUNNING),
    "cancel": ([WorkflowStatus.PENDING, WorkflowStatus.RUNNING], WorkflowStatus.CANCELLED),
}


class FixedClock(ManualClock):
    """A clock that always tells *at*."""

    def __init__(self, at: datetime = AT) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        return self.at


class FakeArtifacts:
    """Files in a dict."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def put(self, path: str, data: bytes) -> Output:
        self.files[path] = data
        return Output(path, len(data), hashlib.sha256(data).hexdigest())

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> Output:
        return await self.put(path, b"".join([chunk async for chunk in chunks]))

    async def get(self, path: str) -> bytes:
        if path not in self.files:
            raise ArtifactGone(path)
        return self.files[path]

    def stream(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._stream(path)

    @asynccontextmanager
    async def _stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        data = await self.get(path)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 1000):
                yield data[start : start + 1000]

        yield chunks()

    async def delete(self, path: str) -> None:
        await self.get(path)
        del self.files[path]

    async def discard(self, task_id: UUID) -> None:
        for path in [path for path in self.files if path.startswith(f"media/{task_id}/")]:
            del self.files[path]

    async def paths(self) -> AsyncIterator[Sequence[str]]:
        yield list(self.files)


class FakeRepeats:
    """Every request is a first one."""

    async def once(
        self,
        scope: TenantScope,
        key: str,
        fingerprint: bytes,
        work: Callable[[Any], Awaitable[StoredAnswer]],
        again: object,
    ) -> tuple[StoredAnswer, bool]:
        return await work(None), False


class FakeAwaiting:
    """Nobody is waited for."""

    async def until_terminal(self, scope: TenantScope, workflow_id: UUID, seconds: float) -> bool:
        return False


class FakeFollowing:
    """Nothing happens, and nobody follows it."""

    heartbeat_s = 15.0

    def follow(self, scope: TenantScope, workflow_id: UUID, after: int) -> AbstractAsyncContextManager[Any]:
        raise NotFound("workflow")

    def follow_all(
        self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None
    ) -> AbstractAsyncContextManager[Any]:
        raise Unavailable("the database is away")

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor | None, limit: int) -> FeedPage:
        at = FeedCursor.before(7)
        event = HistoryEvent(1, EventType.WORKFLOW_CREATED, AT, None, None, "someone", {"total_steps": 2})
        found = FeedEvent(event, UUID(int=1), scope.tenant, "o", WorkflowStatus.PENDING, FeedCursor(6, 1, 1))
        return FeedPage([found], at, at, more=False, lagging=False)


class FakeWorkflows:
    """`failing`: every call raises it. `calls` lists what was called."""

    def __init__(self, catalog: ProviderCatalog) -> None:
        self.catalog = catalog
        self.draining = False
        self.failing: Exception | None = None
        self.workflows: dict[UUID, WorkflowRecord] = {}
        self.attempts: dict[UUID, TaskRecord] = {}
        self.calls: list[str] = []
        self.asked: ListFilter | None = None
        self.actor = ""
        self.following, self.webhooks = FakeFollowing(), FakeWebhooks()
        self.repeats, self.awaiting, self.insight = FakeRepeats(), FakeAwaiting(), FakeInsight()

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failing is not None:
            raise self.failing

    async def ready(self) -> None:
        self._called("ready")

    async def version(self, scope: TenantScope, workflow_id: UUID) -> Version:
        state = (await self.get(scope, workflow_id)).state
        return Version.of(state.last_event, state.updated_at)

    async def create(
        self,
        scope: TenantScope,
        actor: str,
        planned: ValidatedWorkflow,
        *,
        tenant: str | None,
        start: bool,
        terms: Preconditions = NO_TERMS,
    ) -> WorkflowRecord:
        self._called("create")
        self.actor = actor
        asked = planned.request
        status = WorkflowStatus.RUNNING if start else WorkflowStatus.PENDING
        steps = [
            StepRecord(
                id=uuid4(),
                plan=plan,
                definition=step,
                state=StepState(position=plan.position, updated_at=AT),
                created_at=AT,
            )
            for plan, step in zip(planned.steps, asked.steps, strict=True)
        ]
        record = WorkflowRecord(
            state=WorkflowState(
                id=uuid4(),
                status=status,
                name=asked.name,
                description=asked.description,
                webhook_url=asked.webhook_url,
                started_at=AT if start else None,
                execution_id=uuid4() if start else None,
                updated_at=AT,
            ),
            tenant=tenant,
            origin_instance=asked.origin_instance,
            origin_zone=asked.origin_zone,
            origin_reference=asked.origin_reference,
            config=asked.config,
            suppress_subtask_events=asked.suppress_subtask_events,
            total_steps=len(steps),
            created_at=AT,
            summary=Summary(None, asked.steps[-1].id, None, ()),
            steps=steps,
        )
        self.workflows[record.state.id] = record
        return record

    async def get(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool = True) -> WorkflowRecord:
        self._called("get")
        record = self.workflows.get(workflow_id)
        if record is None or not scope.covers(record.tenant):
            raise NotFound("workflow")
        return record if include_steps else _without_steps(record)

    async def list(self, scope: TenantScope, query: ListFilter) -> WorkflowPage:
        self._called("list")
        self.asked = query
        seen = [record for record in self.workflows.values() if scope.covers(record.tenant)]
        page = seen[query.skip : query.skip + query.limit]
        return WorkflowPage(page if query.include_steps else [_without_steps(r) for r in page], len(seen))

    async def update(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        changes: WorkflowUpdate,
        terms: Preconditions = NO_TERMS,
    ) -> WorkflowRecord:
        record = await self.get(scope, workflow_id)
        if isinstance(changes.name, str):
            record.state.name = changes.name
        if isinstance(changes.description, str | None):
            record.state.description = changes.description
        return record

    async def _move(self, verb: str, scope: TenantScope, workflow_id: UUID) -> WorkflowRecord:
        record = await self.get(scope, workflow_id)
        allowed, to = _ALLOWED[verb]
        if record.state.status not in allowed:
            raise InvalidTransition(verb, record.state.status, allowed)
        record.state.status = to
        return record

    async def start(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord:
        return await self._move("start", scope, workflow_id)

    async def pause(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord:
        return await self._move("pause", scope, workflow_id)

    async def resume(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord:
        return await self._move("resume", scope, workflow_id)

    async def cancel(
        self, scope: TenantScope, actor: str, workflow_id: UUID, terms: Preconditions = NO_TERMS
    ) -> WorkflowRecord:
        return await self._move("cancel", scope, workflow_id)

    async def cleanup(
        self, scope: TenantScope, actor: str, workflow_id: UUID, *, cleanup_tasks: bool, terms: Preconditions = NO_TERMS
    ) -> tuple[WorkflowRecord, CleanupReport]:
        record = await self.get(scope, workflow_id)
        record.state.deleted_at = AT
        faults = [
            CleanupFault(task.task.id, task.step_id, task.task_type, "the disk is full")
            for task in self.attempts.values()
            if task.workflow_id == workflow_id
        ]
        return record, CleanupReport(len(faults), 0, [], faults)

    async def events(self, scope: TenantScope, workflow_id: UUID, *, after: int, limit: int) -> Sequence[HistoryEvent]:
        await self.get(scope, workflow_id)
        event = HistoryEvent(1, EventType.WORKFLOW_CREATED, AT, None, None, "someone", {"total_steps": 2})
        return [event] if after < 1 else []

    async def tasks(self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool) -> Sequence[TaskRecord]:
        await self.get(scope, workflow_id)
        mine = [task for task in self.attempts.values() if task.workflow_id == workflow_id]
        return [task for task in mine if include_deleted or task.deleted_at is None]

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord:
        self._called("task")
        record = self.attempts.get(task_id)
        if record is None or not scope.covers(self.workflows[record.workflow_id].tenant):
            raise NotFound("task")
        return record

    def providers(self, scope: TenantScope) -> Sequence[ProviderStatus]:
        self._called("providers")
        offers = {TaskType.GENERATION: ["seed"]}
        status = BreakerStatus(BreakerState.OPEN, 3, AT)
        model = ModelStatus("a model", ModelLimit(concurrency=2), 1, 2, status, 4, 0.25, Latency(1.5, 2.5, 2.5))
        return [ProviderStatus(ProviderType.FAL, offers, 100, 1, 2, [model])]

    def called_back(self, token: str, body: bytes) -> None:
        self._called("called_back")
        if token != "right":
            raise NotFound("callback")

    async def artifact(self, scope: TenantScope, path: str) -> Output:
        self._called("artifact")
        for record in self.attempts.values():
            for output in record.task.outputs:
                if output.path == path and scope.covers(self.workflows[record.workflow_id].tenant):
                    return output
        raise NotFound("artifact")

    def add_task(self, workflow: WorkflowRecord, *outputs: Output, task_id: UUID | None = None) -> TaskRecord:
        """Put an attempt at the first step of *workflow* into the store."""
        assert workflow.steps
        step = workflow.steps[0]
        made = task_id or uuid4()
        task = Task(id=made, position=0, attempt=1, provider=ProviderType.LOCAL, outputs=outputs)
        record = TaskRecord(task, workflow.state.id, step.plan.step_id, step.plan.task_type, AT)
        self.attempts[made] = record
        return record


def _without_steps(record: WorkflowRecord) -> WorkflowRecord:
    return WorkflowRecord(**{name: getattr(record, name) for name in record.__struct_fields__} | {"steps": None})


class FakeApi:
    """The API over fakes, with all that went in."""

    def __init__(self, rules: ClaimRules = RULES) -> None:
        self.service = FakeWorkflows(CATALOG)
        self.files = FakeArtifacts()
        self.clock = FixedClock()
        self.metrics = Metrics()
        self.signed_urls = SignedUrls(SECRET, "http://t.local", 60)
        artifacts: Artifacts = self.files
        self.app: Litestar = build_api(
            service=self.service,
            artifacts=artifacts,
            verifier=TokenVerifier(SECRET, "HS256", rules),
            signed_urls=self.signed_urls,
            tickets=StreamTickets(SECRET.encode(), self.clock.now),
            clock=self.clock,
            metrics=self.metrics,
        )


def token(
    tenant: str | None = None, *, every: bool = False, permissions: tuple[Permission, ...] = ALL, **more: Any
) -> str:
    """A token for the fake API, good for a minute from now; *more* goes to `sign_token`."""
    wanted: dict[str, Any] = {
        "subject": "tester",
        "tenant": tenant,
        "every": every,
        "permissions": permissions,
        "expires_s": 60,
        "now": datetime.now(UTC),  # noqa: TID251 - pyjwt looks at the real clock
    }
    return sign_token(SECRET, "HS256", ISSUER, AUDIENCE, **(wanted | more))
