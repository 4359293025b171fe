"""The use cases that the API offers. Each verb is an input of the workflow's run, in memory or loaded for it, and is
answered after its rows have committed.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec.structs import replace

from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.providers import ProviderStatus
from stepwell.contract.tasks import Output
from stepwell.domain.access.signed_urls import CallbackUrls
from stepwell.domain.errors import InvalidTransition, NotFound, PreconditionFailed, Unavailable
from stepwell.domain.lifecycle.inputs import Cancel, Cleanup, Input, Pause, Resume, Start, Update
from stepwell.domain.model import HistoryEvent
from stepwell.domain.preconditions import NO_PRECONDITIONS, Preconditions, Version
from stepwell.domain.records import CleanupReport, ListFilter, TaskRecord, WorkflowPage, WorkflowRecord
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.validation.provider_rules import ProviderCatalog
from stepwell.domain.validation.workflow import ValidatedWorkflow
from stepwell.engine.artifact_cleanup import ArtifactCleaner
from stepwell.engine.diagnostics.provider_status import ProviderStatusReader
from stepwell.engine.diagnostics.service import Diagnostics
from stepwell.engine.events.bus import EventBus
from stepwell.engine.events.completion import CompletionWaiter
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.recovery import RUNS_ELSEWHERE, Recovery, load_results
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.idempotency import IdempotentRequests
from stepwell.engine.monitoring.write_monitor import WriteMonitor, WriteTarget
from stepwell.engine.new_workflow import draft
from stepwell.engine.webhooks.service import WebhookService
from stepwell.offloop import off_loop
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowReader, WorkflowStore

T = TypeVar("T")

_ANSWER_S = 10.0
_TRIES = 5


class WorkflowService:
    def __init__(
        self,
        *,
        store: WorkflowReader,
        journal: WorkflowStore,
        scheduler: Scheduler,
        recovery: Recovery,
        cleaner: ArtifactCleaner,
        clock: Clock,
        catalog: ProviderCatalog,
        providers: ProviderStatusReader,
        callbacks: CallbackUrls,
        lease: Lease,
        new_id: NewId,
        bus: EventBus,
        webhooks: WebhookService,
        idempotency: IdempotentRequests,
        completion: CompletionWaiter,
        diagnostics: Diagnostics,
        subscriptions: EventSubscriptions,
        writes: WriteMonitor,
    ) -> None:
        self._store, self._journal, self._scheduler, self._recovery = store, journal, scheduler, recovery
        self._bus, self.idempotency, self.completion, self.diagnostics = bus, idempotency, completion, diagnostics
        self.webhooks, self.subscriptions, self._writes = webhooks, subscriptions, writes
        self._cleaner, self._clock, self._lease, self._make_id = cleaner, clock, lease, new_id
        self._loading: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self.catalog, self._callbacks, self._providers = catalog, callbacks, providers
        self.draining = False
        self.booted = False

    async def ready(self) -> None:
        """Raises `Unavailable` unless requests can be served now."""
        if self.draining:
            raise Unavailable("the service is shutting down")
        if not self.booted:
            raise Unavailable("the service is starting")
        self._writes.check()
        if self._scheduler.checkpointer.outage:
            raise Unavailable("the database is away")
        await self._store.ping()

    async def create(
        self,
        scope: TenantScope,
        actor: str,
        planned: ValidatedWorkflow,
        *,
        tenant: str | None,
        start: bool,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> WorkflowRecord:
        """Store a workflow that `validation.validate_workflow` has accepted; with *start* it is stored as started."""
        self._check_open()
        self.webhooks.check_url(tenant, planned.request.webhook_url)
        await self._lease.ensure()
        owner = self._lease.owner if start else None
        made = partial(draft, planned, tenant, actor, self._clock.now(), owner, self._make_id)
        drafted = await off_loop(made, steps=len(planned.steps))
        workflow = drafted.workflow
        workflow.pins += 1
        with self._holding(workflow):
            self._scheduler.register(workflow)  # before it is stored, else a claim might take it for a forgotten one
            try:
                await self._journal.insert(scope, replace(drafted.new, reservation=preconditions.reservation))
            except BaseException:
                # It may have been stored all the same, or still be on its way: then it is found by a claim.
                self._scheduler.unregister(workflow)
                self._recovery.request(unsure=True)
                raise
            self._bus.publish(drafted.committed)
            if start:
                self._scheduler.start_pending(workflow)
        return drafted.new.record

    async def get(self, scope: TenantScope, workflow_id: UUID, *, include_steps: bool = True) -> WorkflowRecord:
        record = await self._store.get(scope, workflow_id, include_steps=include_steps)
        if record is None:
            raise NotFound("workflow")
        return record

    async def version(self, scope: TenantScope, workflow_id: UUID) -> Version:
        return _known(await self._store.version(scope, workflow_id), "workflow")

    async def start(
        self, scope: TenantScope, actor: str, workflow_id: UUID, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> WorkflowRecord:
        return await self._verb(
            scope, workflow_id, lambda: Start(actor, self._new_id(), self._lease.owner), preconditions
        )

    async def pause(
        self, scope: TenantScope, actor: str, workflow_id: UUID, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> WorkflowRecord:
        return await self._verb(scope, workflow_id, lambda: Pause(actor), preconditions)

    async def resume(
        self, scope: TenantScope, actor: str, workflow_id: UUID, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> WorkflowRecord:
        return await self._verb(
            scope, workflow_id, lambda: Resume(actor, self._new_id(), self._lease.owner), preconditions
        )

    async def cancel(
        self, scope: TenantScope, actor: str, workflow_id: UUID, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> WorkflowRecord:
        return await self._verb(scope, workflow_id, lambda: Cancel(actor), preconditions)

    async def update(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        changes: WorkflowUpdate,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> WorkflowRecord:
        await self.webhooks.check_update(scope, workflow_id, changes)
        return await self._verb(scope, workflow_id, lambda: Update(actor, changes), preconditions)

    async def cleanup(
        self,
        scope: TenantScope,
        actor: str,
        workflow_id: UUID,
        *,
        cleanup_tasks: bool,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> tuple[WorkflowRecord, CleanupReport]:
        await self._verb(scope, workflow_id, lambda: Cleanup(actor, cleanup_tasks), preconditions)
        report = CleanupReport(0, 0, [], [])
        if cleanup_tasks:
            async with self._lock(workflow_id):
                await self._quiesce(workflow_id)
                report = await self._cleaner.clean(scope, workflow_id)
        return await self.get(scope, workflow_id), report

    def providers(self, scope: TenantScope) -> Sequence[ProviderStatus]:
        return self._providers.statuses(scope)

    def called_back(self, token: str, body: bytes) -> None:
        """A provider tells of an attempt. Raises `NotFound` for a token that isn't one of ours."""
        attempt = self._callbacks.attempt(token)
        if attempt is None:
            raise NotFound("callback")
        self._scheduler.called_back(*attempt, body)

    async def until_idle(self, workflow_id: UUID) -> None:
        """Until the workflow has ended, or nothing of it runs in this process for another reason."""
        await self._scheduler.wait_until_evicted(workflow_id)

    async def events(self, scope: TenantScope, workflow_id: UUID, *, after: int, limit: int) -> Sequence[HistoryEvent]:
        return _known(await self._store.events(scope, workflow_id, after, limit), "workflow")

    async def tasks(self, scope: TenantScope, workflow_id: UUID, *, include_deleted: bool) -> Sequence[TaskRecord]:
        return _known(await self._store.tasks(scope, workflow_id, include_deleted=include_deleted), "workflow")

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord:
        return _known(await self._store.task(scope, task_id), "task")

    async def artifact(self, scope: TenantScope, path: str) -> Output:
        """The record of a stored file, by the exact path that stands in results."""
        return _known(await self._cleaner.find(scope, path), "artifact")

    async def list(self, scope: TenantScope, query: ListFilter) -> WorkflowPage:
        return await self._store.page(scope, query)

    async def _verb(
        self, scope: TenantScope, workflow_id: UUID, make: Callable[[], Input], preconditions: Preconditions
    ) -> WorkflowRecord:
        self._check_open()
        for _ in range(_TRIES):
            workflow = await self._load(scope, workflow_id)
            with self._holding(workflow):
                refused: InvalidTransition | PreconditionFailed | None = None
                try:
                    preconditions.check(workflow.run.state)
                    self._scheduler.apply(workflow, make(), preconditions.reservation)
                except (InvalidTransition, PreconditionFailed) as error:
                    refused = error
                try:
                    # A refusal too: what forbids the verb may not be committed yet.
                    effect = self._scheduler.checkpointer.flushed(workflow_id)
                    async with asyncio.timeout(_ANSWER_S):
                        await self.idempotency.wait_committed(None if refused else preconditions.reservation, effect)
                except NotWritten:
                    continue
                except TimeoutError:
                    outage = self._outage()
                    raise type(outage)(f"{outage}; the request may still take effect") from None
                if refused is not None:
                    raise refused
                return await self.get(scope, workflow_id)
        raise Unavailable("the workflow is being changed elsewhere")

    async def _load(self, scope: TenantScope, workflow_id: UUID) -> ActiveWorkflow:
        """The workflow in memory, the same for all who hold it."""
        async with self._lock(workflow_id):
            workflow = self._scheduler.workflows.get(workflow_id)
            if workflow is None:
                workflow = await self._bring_in(scope, workflow_id)
            elif not scope.covers(workflow.tenant):
                raise NotFound("workflow")
            workflow.pins += 1
            return workflow

    async def _bring_in(self, scope: TenantScope, workflow_id: UUID) -> ActiveWorkflow:
        await self._lease.ensure()
        loaded = await self._journal.load(scope, workflow_id)
        if loaded is None:
            raise NotFound("workflow")
        if loaded.state.owner is None:
            workflow = await off_loop(partial(ActiveWorkflow, loaded), steps=len(loaded.steps))
            await load_results(self._journal, [workflow])
            if (meanwhile := self._scheduler.workflows.get(workflow_id)) is not None:
                return meanwhile  # another process has started it, and died
            self._scheduler.register(workflow)
            return workflow
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._recovery.claim(workflow_id)
        except TimeoutError:
            raise Unavailable("the service is taking over what another process has left") from None
        if (claimed := self._scheduler.workflows.get(workflow_id)) is None:
            self._recovery.request()
            raise Unavailable(RUNS_ELSEWHERE)
        return claimed

    async def _quiesce(self, workflow_id: UUID) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._scheduler.wait_until_quiet(workflow_id)
        except TimeoutError:
            raise Unavailable("attempts of the workflow are still ending") from None

    @contextmanager
    def _holding(self, workflow: ActiveWorkflow) -> Iterator[None]:
        try:
            yield
        finally:
            workflow.pins -= 1
            self._scheduler.evict_if_idle(workflow)

    def _lock(self, workflow_id: UUID) -> asyncio.Lock:
        return self._loading.setdefault(workflow_id, asyncio.Lock())

    def _check_open(self) -> None:
        if self.draining:
            raise Unavailable("the service is shutting down")
        if self._scheduler.checkpointer.outage:
            raise self._outage()

    def _outage(self) -> Unavailable:
        return self._writes.refusal(WriteTarget.DATABASE) or Unavailable("the database is away")

    def _new_id(self) -> UUID:
        return self._make_id(self._clock.now())


def _known(found: T | None, what: str) -> T:
    if found is None:
        raise NotFound(what)
    return found
