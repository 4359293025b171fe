"""The steps in which the service is put together. Each step returns what the later ones need.

`open_stores` -> `build_engine` -> `build_webhooks` -> `build_services`. The exit stack closes what a
step opens, in reverse order.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from stepwell.api.events import feed_frame, workflow_frame
from stepwell.api.webhook_payloads import Payloads
from stepwell.app.attempts import (
    SignedArtifactUrls,
    build_catalog,
    build_limits,
    build_outcomes,
    build_prices,
    build_runner,
    build_workflow_limits,
    open_clients,
)
from stepwell.app.coordination import ExclusiveCoordination, SharedCoordination
from stepwell.app.database import Database, DatabaseSource
from stepwell.app.metrics import StatementCounter
from stepwell.artifacts.store_setup import Storage, bind_storage, open_storage
from stepwell.domain.access.decision_links import DecisionLinks
from stepwell.domain.access.feed_cursors import FeedCursors
from stepwell.domain.access.signed_urls import CallbackUrls, SignedUrls
from stepwell.domain.circuit_breaker import BreakerPolicy
from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.domain.uploads import UploadLimits
from stepwell.domain.validation.provider_rules import ProviderCatalog
from stepwell.engine.admission.controller import AdmissionController
from stepwell.engine.admission.limit_shares import LimitShares
from stepwell.engine.admission.model_health import ModelHealth
from stepwell.engine.admission.workflow_places import WorkflowPlaces
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.flow_evaluator import FlowEvaluator
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.availability import Availability
from stepwell.engine.cleanups.retention import Retention
from stepwell.engine.cleanups.runner import CleanupRunner
from stepwell.engine.diagnostics.dry_run import DryRunner
from stepwell.engine.diagnostics.explainer import Explainer
from stepwell.engine.diagnostics.nested_dry_runs import NestedDryRuns
from stepwell.engine.diagnostics.owner_questions import OwnerQuestions
from stepwell.engine.diagnostics.planner import Planner
from stepwell.engine.diagnostics.provider_status import ProviderStatusReader
from stepwell.engine.diagnostics.service import Diagnostics
from stepwell.engine.diagnostics.tenant_limits import TenantLimitsReader
from stepwell.engine.events.bus import EventBus
from stepwell.engine.events.completion import CompletionWaiter
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.engine.execution.breaker_messages import BREAKERS, BreakerMessages
from stepwell.engine.execution.command_notifications import CommandNotifications
from stepwell.engine.execution.command_receiver import CommandReceiver
from stepwell.engine.execution.command_sender import CommandSender
from stepwell.engine.execution.due_waits import DueWaits
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.limit_divider import LimitDivider
from stepwell.engine.execution.recovery import Recovery
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.verb_applier import VerbApplier
from stepwell.engine.execution.workflow_access import WorkflowAccess
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.idempotency import IdempotentRequests
from stepwell.engine.inputs_checker import LIMITS as INPUTS_CHECK_LIMITS
from stepwell.engine.inputs_checker import InputsChecker
from stepwell.engine.monitoring.write_monitor import WriteMonitor, WriteTarget
from stepwell.engine.previews import Previews
from stepwell.engine.read_service import ReadService
from stepwell.engine.service import Services, WorkflowService
from stepwell.engine.shared_reads import SharedReads
from stepwell.engine.sub_workflows.child_attempts import ChildAttempts
from stepwell.engine.sub_workflows.child_builder import ChildBuilder
from stepwell.engine.sub_workflows.child_ends import ChildEnds
from stepwell.engine.sub_workflows.child_follower import ChildFollower
from stepwell.engine.sub_workflows.child_inserter import ChildInserter
from stepwell.engine.sub_workflows.child_validator import ChildValidator
from stepwell.engine.sub_workflows.stored_children import StoredChildren
from stepwell.engine.task_files import TaskFiles
from stepwell.engine.uploads.definition_files import DefinitionFiles
from stepwell.engine.uploads.service import Presigner, UploadService
from stepwell.engine.uploads.sweeper import UploadSweeper
from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from stepwell.engine.webhooks.service import WebhookService
from stepwell.engine.workflow_counts import WorkflowCounts
from stepwell.fair_turns import FairTurns
from stepwell.memory import MemoryGovernor, default_max_bytes
from stepwell.outbound.webhook_sender import webhook_sender
from stepwell.persistence.clock import uuid7
from stepwell.ports.clock import Clock
from stepwell.ports.coordination import Coordination, OtherProcesses
from stepwell.ports.providers import Provider
from stepwell.providers.factory import build_providers, local_memory
from stepwell.providers.local.preview import LocalPreviews
from stepwell.providers.registry import Registry, is_in_process
from stepwell.providers.shared.credentials import KeyRefusals
from stepwell.settings import Settings
from stepwell.worker_processes import WorkerLimits, WorkerPool

if TYPE_CHECKING:
    from stepwell.providers.celery.worker_queues import WorkerQueues

# Bytes of definitions that are created at once for one tenant: some hundred small ones, or two of 200 steps. Requests
# of other tenants are handled in between.
_CREATES_IN_PROGRESS = 64 * 1024
_INSPECTION_BYTES = 384 * 1024 * 1024  # of a worker's memory, besides the file


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
    """The database and the artifact store. `writes` watches both for full disks; `statements` counts SQL statements.

    `may_sweep`: no other process and no worker uses the store, and this version knows all files that its database
    refers to. `store_id`: the id in the artifact store; None if it has none.
    """

    database: Database
    files: Storage
    task_files: TaskFiles
    writes: WriteMonitor
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
    writes.add_probe(WriteTarget.ARTIFACTS, files.try_to_write)
    database = await source.open(settings, process.owner, statements.add, writes, stack)
    may_sweep, store_id = process.exclusive and not files.shared and settings.executor != "celery", None
    if database.installation is not None:
        record = await bind_storage(files, database.installation, exclusive=process.exclusive)
        may_sweep, store_id = may_sweep and not record.is_newer, str(record.id)
    task_files = TaskFiles(database.reader, database.uploads, files.artifacts)
    return Stores(database, files, task_files, writes, statements, may_sweep, store_id)


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
    urls = SignedArtifactUrls(
        stores.task_files, stores.files, process.signed_urls, clock, public=settings.public_url is not None
    )
    memory, expressions = _build_memory(settings), _build_expressions(clock, stack)
    lease = Lease(coordination := _build_coordination(process, stores.database), clock)
    admission = _build_step_admission(process, lease)
    runner = build_runner(
        settings,
        registry,
        stores.files,
        urls,
        process.callback_urls,
        clients,
        workflow_store,
        clock,
        memory,
        expressions,
        admission.local,
        lease,
    )
    evaluator = FlowEvaluator(expressions, workflow_store, memory, clock, uuid7)
    health, bus = ModelHealth(BreakerPolicy(settings.breaker_failures, settings.breaker_reset_s), clock), EventBus()
    outcomes, max_bytes = build_outcomes(settings, runner), settings.results_max_bytes
    scheduler = Scheduler(
        workflow_store, runner, admission, health, clock, uuid7, bus, outcomes, evaluator, results_max_bytes=max_bytes
    )
    if workers is not None:
        workers.listen(partial(scheduler.handle_callback, body=b""))
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


def _build_memory(settings: Settings) -> MemoryGovernor:
    return MemoryGovernor(settings.memory_max_bytes or default_max_bytes())


def _build_step_admission(process: ProcessInfo, lease: Lease) -> AdmissionController:
    shares = LimitShares(None if process.exclusive else lease, process.clock.monotonic)
    return AdmissionController(build_limits(process.settings), process.clock.monotonic, shares)


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


def _build_inputs_checker(stack: contextlib.AsyncExitStack) -> InputsChecker:
    workers = WorkerPool(INPUTS_CHECK_LIMITS)
    stack.push_async_callback(workers.aclose)
    return InputsChecker(workers)


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
    engine.lease.listen(recovery.wake_if_idle)
    recovery.on_subscribed = engine.breakers.ask
    recovery.listen_to(BREAKERS, engine.breakers.received)
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
    engine.scheduler.parking.is_crowded = lambda: admission.is_crowded
    recovery.add_claimer(admission)
    recovery.listen(admission.others_changed)
    return admission


def build_services(
    process: ProcessInfo, stores: Stores, engine: Engine, webhooks: Webhooks, stack: contextlib.AsyncExitStack
) -> Services:
    """Build the services that the API calls."""
    settings, clock, database = process.settings, process.clock, stores.database
    provider_status = ProviderStatusReader(engine.catalog, engine.admission, engine.health, engine.key_refusals.since)
    reads = ReadService(database.reader, stores.task_files, provider_status)
    access = WorkflowAccess(database.workflow_store, engine.scheduler, webhooks.recovery, engine.lease, engine.bus)
    availability = Availability(engine.scheduler.checkpointer, stores.writes, database.reader, webhooks.recovery)
    statement_s = settings.database_timeout_s
    idempotency = IdempotentRequests(database.keys, engine.lease.ensure, clock, uuid7, statement_s=statement_s)
    uploads, sweeper = _build_uploads(process, stores, webhooks.recovery, stack)
    cleanups = _build_cleanups(stores, engine, webhooks.recovery, access, uploads, clock)
    webhooks.admission.on_due_paused = (due_waits := DueWaits(access, clock)).add
    applier = VerbApplier(access, webhooks.admission, idempotency)
    sender = CommandSender(database.commands, engine.coordination, idempotency, clock, uuid7)
    diagnostics = _build_diagnostics(process, stores, engine, sender)
    receiver = _build_command_receiver(stores, engine, webhooks.recovery, applier, cleanups, diagnostics)
    files = DefinitionFiles(uploads)
    build_workflows = partial(WorkflowService, access, webhooks.admission, reads, availability, cleanups)
    workflows = build_workflows(
        database.purges, webhooks.service, applier, sender, files, process.callback_urls, clock, uuid7
    )
    inputs_checker = _build_inputs_checker(stack)
    follower = _build_sub_workflows(stores, engine, webhooks, workflows, inputs_checker, clock)
    webhooks.recovery.listen_to_commands(CommandNotifications(sender, receiver, follower))
    return Services(
        workflows=workflows,
        reads=reads,
        counts=WorkflowCounts(database.reader, clock),
        list_answers=SharedReads(),
        cleanups=cleanups,
        due_waits=due_waits,
        retention=Retention(database.purges, cleanups, engine.lease, clock, settings.retention_days),
        webhooks=webhooks.service,
        idempotency=idempotency,
        commands=sender,
        command_receiver=receiver,
        completion=CompletionWaiter(engine.bus, database.reader),
        diagnostics=diagnostics,
        subscriptions=_build_subscriptions(process, stores, engine),
        previews=_build_previews(stores, engine, uploads, settings),
        catalog=engine.catalog,
        clock=clock,
        expressions=engine.expressions,
        inputs_checker=inputs_checker,
        availability=availability,
        memory=engine.memory,
        admission=webhooks.admission,
        create_turns=FairTurns(per_tenant=_CREATES_IN_PROGRESS),
        limits=TenantLimitsReader(webhooks.admission, engine.admission, database.uploads, _upload_limits(settings)),
        uploads=uploads,
        upload_sweeper=sweeper,
    )


def _build_sub_workflows(
    stores: Stores,
    engine: Engine,
    webhooks: Webhooks,
    workflows: WorkflowService,
    inputs: InputsChecker,
    clock: Clock,
) -> ChildFollower:
    database, admission, new_id = stores.database, webhooks.admission, uuid7
    change = partial(workflows.change, EVERY_TENANT)
    children = StoredChildren(database.workflow_store, database.reader, change, clock, new_id)
    validator = ChildValidator(engine.catalog, inputs, engine.expressions, webhooks.service.check_url, clock)
    inserter = ChildInserter(database.workflow_store, admission, engine.bus, engine.lease)
    builder = ChildBuilder(children, validator, clock, new_id)
    follower = ChildFollower(engine.scheduler, admission, children, ChildEnds(children, engine.runner.child_completed))
    engine.runner.use(ChildAttempts(engine.scheduler, children, builder, inserter, follower, clock))
    engine.scheduler.use(follower)
    engine.scheduler.listen(follower)
    return follower


def _build_previews(stores: Stores, engine: Engine, uploads: UploadService, settings: Settings) -> Previews:
    images = LocalPreviews(local_memory(settings))
    return Previews(stores.files.artifacts, uploads, images, engine.admission.local)


def _build_cleanups(
    stores: Stores, engine: Engine, recovery: Recovery, access: WorkflowAccess, uploads: UploadService, clock: Clock
) -> CleanupRunner:
    database, artifacts = stores.database, stores.files.artifacts
    cleanups = CleanupRunner(
        database.cleanups, database.purges, artifacts, uploads.delete_with_workflow, access, engine.bus, clock
    )
    recovery.add_claimer(cleanups)
    return cleanups


def _build_command_receiver(
    stores: Stores,
    engine: Engine,
    recovery: Recovery,
    applier: VerbApplier,
    cleanups: CleanupRunner,
    diagnostics: Diagnostics,
) -> CommandReceiver:
    receiver = CommandReceiver(stores.database.commands, engine.coordination, applier, cleanups, diagnostics.answer)
    recovery.add_claimer(receiver)
    return receiver


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(settings.upload_quota_bytes, settings.max_uploads_per_tenant, settings.upload_ttl_s)


def _build_uploads(
    process: ProcessInfo, stores: Stores, recovery: Recovery, stack: contextlib.AsyncExitStack
) -> tuple[UploadService, UploadSweeper]:
    settings, clock, store = process.settings, process.clock, stores.database.uploads
    # A worker maps a file of text into its memory.
    workers = WorkerPool(WorkerLimits(memory_bytes=_INSPECTION_BYTES + settings.upload_max_bytes, wall_s=120))
    stack.push_async_callback(workers.aclose)
    limits = _upload_limits(settings)
    sign = stores.files.presign_put
    presigner = None if sign is None else Presigner(sign, settings.signed_url_ttl_s)
    uploads = UploadService(
        store, stores.files.artifacts, workers, limits, settings.upload_max_bytes, clock, uuid7, presigner
    )
    sweeper = UploadSweeper(store, uploads, clock)
    recovery.add_claimer(sweeper)
    return uploads, sweeper


def _build_subscriptions(process: ProcessInfo, stores: Stores, engine: Engine) -> EventSubscriptions:
    cursors = FeedCursors(process.url_secret)
    subscriptions = EventSubscriptions(
        stores.database.feed,
        engine.bus,
        workflow_frame,
        partial(feed_frame, cursors),
        cursors,
        engine.coordination,
        engine.scheduler.workflows,
        heartbeat_s=process.settings.heartbeat_s,
        max_streams=process.settings.max_streams_per_tenant,
    )
    subscriptions.listen()
    return subscriptions


def _build_diagnostics(process: ProcessInfo, stores: Stores, engine: Engine, sender: CommandSender) -> Diagnostics:
    owner_questions = OwnerQuestions(sender)
    reader, workflow_store = stores.database.reader, stores.database.workflow_store
    return Diagnostics(
        Explainer(
            reader,
            workflow_store,
            engine.scheduler,
            engine.admission,
            engine.health,
            process.clock,
            engine.registry.in_process_types(),
            stores.writes,
            owner_questions,
        ),
        Planner(engine.registry, build_prices(process.settings), engine.health, engine.catalog),
        DryRunner(
            reader,
            workflow_store,
            engine.scheduler,
            NestedDryRuns(
                reader, workflow_store, stores.task_files, engine.catalog, process.clock, process.owner, uuid7
            ),
            process.clock,
            process.owner,
            uuid7,
            owner_questions,
        ),
    )
