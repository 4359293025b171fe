"""The steps in which the service is put together. Each step returns what the later ones need.

`open_stores` -> `build_engine` -> `build_webhooks` -> `services.build_services`. The exit stack closes what a step
opens, in reverse order.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from stepwell.api.openapi.webhook_payloads import Payloads
from stepwell.app.attempts import (
    HttpClients,
    SignedArtifactUrls,
    build_catalog,
    build_limits,
    build_outcomes,
    build_poll_intervals,
    build_prices,
    build_workflow_limits,
    open_clients,
)
from stepwell.app.database import Database, DatabaseSource, ExclusiveCoordination, SharedCoordination, StatementCounter
from stepwell.artifacts.store_setup import Storage, bind_storage, open_storage
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.engine.admission.controller import AdmissionController
from stepwell.engine.admission.limit_shares import LimitShares
from stepwell.engine.admission.local_admission import LocalAdmission
from stepwell.engine.admission.model_health import ModelHealth
from stepwell.engine.admission.workflow_places import WorkflowPlaces
from stepwell.engine.attempts.attempt_io import FileAccess
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.flow_evaluator import FlowEvaluator
from stepwell.engine.attempts.remote_jobs import RemoteJobs
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.breaker_messages import BREAKERS, BreakerMessages
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.limit_divider import LimitDivider
from stepwell.engine.execution.recovery import Recovery
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.explain.availability import Probe, WriteMonitor, WriteTarget
from stepwell.engine.files.task_files import TaskFiles
from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from stepwell.engine.webhooks.service import WebhookService
from stepwell.outbound.input_fetcher import HttpInputFetcher
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.outbound.webhook_sender import webhook_sender
from stepwell.persistence.clock import uuid7
from stepwell.ports.clock import Clock
from stepwell.ports.processes import Coordination, OtherProcesses
from stepwell.ports.providers import Provider
from stepwell.providers.factory import build_providers
from stepwell.providers.registry import Registry, is_in_process
from stepwell.providers.shared.credentials import KeyRefusals
from stepwell.rules.access.signed_urls import CallbackUrls, DecisionLinks, SignedUrls
from stepwell.rules.circuit_breaker import BreakerPolicy
from stepwell.runtime.memory import MemoryGovernor, default_max_bytes
from stepwell.runtime.worker_processes import WorkerLimits, WorkerPool
from stepwell.settings import Settings

if TYPE_CHECKING:
    from stepwell.providers.celery.worker_queues import WorkerQueues


class ProcessInfo(Struct, frozen=True):
    """The process that runs the service.

    `owner` is its id in the database. `exclusive`: no other process can be alive on the database.
    """

    settings: Settings
    clock: Clock
    owner: UUID
    url_secret: bytes
    exclusive: bool

    @property
    def signed_urls(self) -> SignedUrls:
        return SignedUrls(self.url_secret, self.settings.base_url, self.settings.signed_url_ttl_s)

    @property
    def decision_links(self) -> DecisionLinks:
        return DecisionLinks(self.url_secret, self.settings.base_url, self.settings.signed_url_ttl_s)

    @property
    def callback_urls(self) -> CallbackUrls:
        return CallbackUrls(self.url_secret, self.settings.base_url)


class Stores(Struct, frozen=True):
    """The database and the artifact store. `writes` watches both for full disks, by `probes`; `statements` counts SQL.

    `may_sweep`: no other process and no worker uses the store, and this version knows all files that its database
    refers to. `store_id`: the id in the artifact store; None if it has none.
    """

    database: Database
    files: Storage
    task_files: TaskFiles
    writes: WriteMonitor
    probes: dict[WriteTarget, Probe]
    statements: StatementCounter
    may_sweep: bool
    store_id: str | None


class Engine(Struct, frozen=True):
    """The parts that run steps. `memory` bounds what they and the API hold. `workers`: None if work is done here."""

    coordination: Coordination
    memory: MemoryGovernor
    registry: Registry
    workers: "WorkerQueues | None"
    key_refusals: KeyRefusals
    catalog: ProviderCatalog
    admission: AdmissionController
    health: ModelHealth
    bus: EventBus
    lease: Lease
    limits: LimitDivider
    breakers: BreakerMessages
    runner: AttemptRunner
    scheduler: Scheduler
    expressions: ExpressionEvaluator


class Webhooks(Struct, frozen=True):
    """The sender of webhooks, and the recovery that claims workflows and deliveries of processes that have ended."""

    deliverer: WebhookDeliverer
    recovery: Recovery
    admission: WorkflowAdmission
    service: WebhookService


async def open_stores(process: ProcessInfo, source: DatabaseSource, stack: contextlib.AsyncExitStack) -> Stores:
    """Open the artifact store and the database. Raises `StorageRefused`, OSError, and what *source* raises."""
    settings = process.settings
    statements, writes = StatementCounter(), WriteMonitor(process.clock)
    files = await open_storage(settings, writes.artifact_failed)
    database = await source.open(settings, process.owner, statements.add, writes, stack)
    probes: dict[WriteTarget, Probe] = {WriteTarget.ARTIFACTS: files.try_to_write}
    if database.probe is not None:
        probes[WriteTarget.DATABASE] = database.probe
    may_sweep, store_id = process.exclusive and not files.shared and settings.executor != "celery", None
    if database.installation is not None:
        record = await bind_storage(files, database.installation, exclusive=process.exclusive)
        may_sweep, store_id = may_sweep and not record.is_newer, str(record.id)
    task_files = TaskFiles(database.reader, database.uploads, files.artifacts)
    return Stores(database, files, task_files, writes, probes, statements, may_sweep=may_sweep, store_id=store_id)


def build_engine(
    process: ProcessInfo,
    stores: Stores,
    extra_providers: Iterable[Provider],
    adapt_provider: Callable[[Provider], Provider],
    stack: contextlib.AsyncExitStack,
) -> Engine:
    """Build the providers and the scheduler. Nothing runs yet."""
    settings, clock, workflow_store = process.settings, process.clock, stores.database.workflow_store
    clients, key_refusals = open_clients(settings, stack), KeyRefusals(clock)
    providers = [*build_providers(settings, clients.trusted, key_refusals), *extra_providers]
    workers = _open_workers(settings, stack)
    registry = Registry(_with_workers(map(adapt_provider, providers), workers, stores.store_id))
    stack.callback(registry.close)
    memory = MemoryGovernor(settings.memory_max_bytes or default_max_bytes())
    expressions = _build_expressions(clock, stack)
    lease = Lease(coordination := _build_coordination(process, stores.database), clock)
    shares = LimitShares(None if process.exclusive else lease, clock.monotonic)
    admission = AdmissionController(build_limits(settings), clock.monotonic, shares)
    runner = _build_runner(process, stores, clients, registry, memory, expressions, admission.local, lease)
    evaluator = FlowEvaluator(expressions, workflow_store, memory, clock, uuid7)
    health, bus = ModelHealth(BreakerPolicy(settings.breaker_failures, settings.breaker_reset_s), clock), EventBus()
    outcomes, max_bytes = build_outcomes(settings, runner), settings.results_max_bytes
    scheduler = Scheduler(
        workflow_store, runner, admission, health, clock, uuid7, bus, outcomes, evaluator, memory, max_bytes
    )
    return Engine(
        coordination=coordination,
        memory=memory,
        registry=registry,
        workers=workers,
        key_refusals=key_refusals,
        catalog=build_catalog(settings, registry),
        admission=admission,
        health=health,
        bus=bus,
        lease=lease,
        limits=LimitDivider(stores.database.limits, lease, admission, clock, scheduler.start_steps),
        breakers=BreakerMessages(health, clock, coordination, scheduler.dispatcher.follow_breaker),
        runner=runner,
        scheduler=scheduler,
        expressions=expressions,
    )


def _open_workers(settings: Settings, stack: contextlib.AsyncExitStack) -> "WorkerQueues | None":
    """Return the way to the workers; None if in-process work is done here."""
    if settings.executor != "celery":
        return None
    # Imported here, because Celery is an extra.
    from stepwell.providers.celery.worker_queues import WorkerQueues  # noqa: PLC0415

    assert settings.celery_broker_url is not None
    assert settings.result_backend is not None
    workers = WorkerQueues(settings.celery_broker_url, settings.result_backend, settings.celery_queues)
    stack.push_async_callback(workers.close)
    return workers


def _with_workers(
    providers: Iterable[Provider], workers: "WorkerQueues | None", store_id: str | None
) -> Iterable[Provider]:
    """Return the providers. With *workers*, those that work in-process are replaced by remote ones."""
    if workers is None:
        return providers
    from stepwell.providers.celery.provider import CeleryProvider  # noqa: PLC0415 - see above

    return [CeleryProvider(each, workers, store_id) if is_in_process(each) else each for each in providers]


def _build_runner(
    process: ProcessInfo,
    stores: Stores,
    clients: HttpClients,
    registry: Registry,
    memory: MemoryGovernor,
    expressions: ExpressionEvaluator,
    local: LocalAdmission,
    lease: Lease,
) -> AttemptRunner:
    settings, clock, store, files = process.settings, process.clock, stores.database.workflow_store, stores.files
    public, max_bytes = settings.public_url is not None, settings.input_max_bytes
    urls = SignedArtifactUrls(stores.task_files, files, process.signed_urls, clock, public=public)
    inputs = HttpInputFetcher(
        files.artifacts, urls.size_of, client=clients.inputs, max_bytes=max_bytes, timeout_s=settings.input_timeout_s
    )
    downloads = HttpOutputDownloader(
        clients.outputs, max_bytes=settings.output_max_bytes, timeout_s=settings.output_timeout_s
    )
    access = FileAccess(files.artifacts, inputs, urls, downloads)
    callbacks, prices = process.callback_urls if public else None, build_prices(settings)
    jobs = RemoteJobs(store, clock, build_poll_intervals(settings), prices, settings.provider_timeout_s, lease)
    return AttemptRunner(registry, access, callbacks, jobs, memory, expressions, store, local)


def _build_coordination(process: ProcessInfo, database: Database) -> Coordination:
    if process.exclusive:
        return ExclusiveCoordination(process.owner, database.leases)
    others = OtherProcesses(database.presence, database.notifications)
    return SharedCoordination(process.owner, process.settings.lease_s, database.leases, others)


def _build_expressions(clock: Clock, stack: contextlib.AsyncExitStack) -> ExpressionEvaluator:
    # A heavy evaluation has a lower priority, and so it may take long on a busy machine.
    light, heavy = WorkerPool(), WorkerPool(WorkerLimits(nice=5, wall_s=300))
    for pool in (light, heavy):
        stack.push_async_callback(pool.aclose)
    return ExpressionEvaluator(light, heavy, clock.monotonic)


def build_webhooks(process: ProcessInfo, stores: Stores, engine: Engine, stack: contextlib.AsyncExitStack) -> Webhooks:
    """Build the sender of webhooks, and the recovery, which claims deliveries as well as workflows."""
    settings, clock, database = process.settings, process.clock, stores.database
    sender = webhook_sender(
        settings.allowed_cidrs, clock, https_only=settings.https_only, timeout_s=settings.webhook_timeout_s
    )
    stack.push_async_callback(sender.aclose)
    payloads, secrets = Payloads(database.reader, settings.base_url, process.decision_links), settings.signing_secrets
    deliverer = WebhookDeliverer(database.outbox, sender, payloads, secrets, clock, engine.lease, engine.bus)
    recovery = Recovery(
        database.workflow_store,
        engine.scheduler,
        engine.lease,
        clock,
        engine.registry.works_here,
        engine.coordination,
        [deliverer],
        limits=engine.limits,
        statement_s=settings.database_timeout_s,
    )
    # Recovery learns when there may be something to claim, and when the lease needs to be kept.
    engine.scheduler.listen(recovery)
    engine.lease.on_needed = recovery.wake_if_idle
    recovery.on_subscribed = engine.breakers.ask
    recovery.message_listeners[BREAKERS] = engine.breakers.received
    admission = _build_admission(process, stores, engine, recovery)
    service = WebhookService(database.reader, database.deliveries, deliverer, secrets, recovery, process.owner)
    return Webhooks(deliverer, recovery, admission, service)


def _build_admission(process: ProcessInfo, stores: Stores, engine: Engine, recovery: Recovery) -> WorkflowAdmission:
    settings, clock, database = process.settings, process.clock, stores.database
    admission = WorkflowAdmission(
        WorkflowPlaces(build_workflow_limits(settings), clock.now),
        database.workflow_store,
        engine.scheduler,
        recovery,
        clock,
        engine.coordination,
        partial(engine.scheduler.checkpointer.is_slow, settings.database_slow_s),
    )
    engine.scheduler.listen(admission)
    engine.scheduler.timers.is_crowded = lambda: admission.is_crowded
    recovery.claimers.append(admission)
    recovery.change_listeners.append(admission.others_changed)
    return admission
