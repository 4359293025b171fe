"""Builds the services that the API calls, and the background, which works without requests."""

import contextlib
from functools import partial

from stepwell.api.openapi.webhook_payloads import Payloads
from stepwell.api.routes.events import feed_frame, workflow_frame
from stepwell.app.attempts import build_prices
from stepwell.app.construction import Engine, ProcessInfo, Stores, child_processes
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.events.completion import CompletionWaiter
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.engine.execution.children.child_checker import ChildChecker
from stepwell.engine.execution.command_receiver import CommandReceiver
from stepwell.engine.execution.command_sender import CommandSender
from stepwell.engine.execution.due_waits import DueWaits
from stepwell.engine.execution.idempotency import IdempotentRequests
from stepwell.engine.execution.peer_messages import PeerMessages
from stepwell.engine.execution.workflow_access import VerbApplier, WorkflowAccess
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.explain.availability import Availability
from stepwell.engine.explain.budget_use import BudgetReader
from stepwell.engine.explain.dry_run import DryRunner, outcome_of_request
from stepwell.engine.explain.explainer import Explainer
from stepwell.engine.explain.limit_use import ProviderStatusReader, TenantLimitsReader
from stepwell.engine.explain.nested_dry_runs import NestedDryRuns
from stepwell.engine.explain.owner_requests import OwnerRequests
from stepwell.engine.explain.planner import Planner
from stepwell.engine.explain.reuse_forecast import ReuseForecaster
from stepwell.engine.files.cleanup_runner import CleanupRunner
from stepwell.engine.files.definition_files import DefinitionFiles
from stepwell.engine.files.ends_by_hand import EndsByHand
from stepwell.engine.files.previews import Previews
from stepwell.engine.files.retention import CostRetention, Retention
from stepwell.engine.files.uploads import Presigner, UploadService, UploadSweeper
from stepwell.engine.reads.read_service import ReadService
from stepwell.engine.reads.shared_reads import SharedReads, WorkflowCounts
from stepwell.engine.service import Services, WorkflowService
from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from stepwell.engine.webhooks.service import WebhookService
from stepwell.outbound.webhook_sender import webhook_sender
from stepwell.persistence.clock import uuid7
from stepwell.providers.local.preview import LocalPreviews
from stepwell.providers.local.provider import local_memory
from stepwell.rules.access.cursors import FeedCursors
from stepwell.rules.stored_definitions import DefinitionLimits
from stepwell.rules.uploads import UploadLimits
from stepwell.runtime.child_processes import ChildProcessLimits
from stepwell.runtime.fair_turns import FairTurns
from stepwell.settings import Settings

# Bytes of definitions that are created at once for one tenant: some hundred small ones, or two of 200 steps. Requests
# of other tenants are handled in between.
_CREATES_IN_PROGRESS = 64 * 1024
_INSPECTION_BYTES = 384 * 1024 * 1024  # of a child process's memory, besides the file


class Background:
    """The parts that work without a request: for other processes, for sub-workflows, and when time has passed."""

    def __init__(self, process: ProcessInfo, stores: Stores, engine: Engine, services: Services) -> None:
        settings, clock, database, workflows = process.settings, process.clock, stores.database, services.workflows
        self.command_receiver = CommandReceiver(
            database.commands,
            engine.coordination,
            workflows.applier,
            services.cleanups,
            partial(outcome_of_request, services.explainer, services.dry_runner),
        )
        listeners = (services.commands, engine.open_children, self.command_receiver)
        self.peer_messages = PeerMessages(
            engine.coordination, engine.claims, engine.limits, engine.workflow_queue, engine.breakers, listeners
        )
        self.child_checker = ChildChecker(engine.scheduler, engine.open_children, engine.children, engine.runner)
        self.due_waits = DueWaits(workflows.access, engine.workflow_queue, clock)
        self.retention = Retention(database.purges, services.cleanups, engine.lease, clock, settings.retention_days)
        self.cost_retention = CostRetention(database.daily_costs, clock, settings.costs_retention_days)
        # In the order in which they take over work of dead processes, after a claim
        self.claimers = (
            engine.budgets,
            services.webhooks.deliverer,
            services.admission,
            services.uploads.sweeper,
            services.cleanups,
            self.command_receiver,
        )


def build_services(process: ProcessInfo, stores: Stores, engine: Engine, stack: contextlib.AsyncExitStack) -> Services:
    settings, clock, database, store = process.settings, process.clock, stores.database, stores.database.workflow_store
    scheduler, ownership, statement_s = engine.scheduler, engine.ownership, settings.database_timeout_s
    reads, artifacts = ReadService(database.reader, stores.task_files), stores.files.artifacts
    access = WorkflowAccess(store, scheduler, ownership, engine.lease, engine.bus)
    availability = Availability(scheduler.checkpointer, stores.writes, database.reader, ownership)
    idempotency = IdempotentRequests(database.keys, engine.lease, clock, uuid7, statement_s=statement_s)
    peers, slow_s = engine.coordination, settings.database_slow_s
    admission = WorkflowAdmission(engine.workflow_queue, store, scheduler, ownership, clock, peers, slow_s)
    uploads, webhooks = _build_uploads(process, stores, stack), _build_webhooks(process, stores, engine, stack)
    cleanups = CleanupRunner(database.cleanups, database.purges, artifacts, uploads, access, engine.bus, clock)
    sender = CommandSender(database.commands, peers, idempotency, clock, uuid7)
    explainer, dry_runner = _build_explainer(process, stores, engine, sender)
    workflows = WorkflowService(
        access=access,
        admission=admission,
        reads=reads,
        availability=availability,
        cleanups=cleanups,
        purges=database.purges,
        webhooks=webhooks,
        applier=VerbApplier(access, admission, idempotency),
        sender=sender,
        definition_files=DefinitionFiles(uploads),
        by_hand=EndsByHand(store, stores.task_files, engine.catalog),
        callbacks=process.callback_urls,
        catalog=engine.catalog,
        clock=clock,
        make_id=uuid7,
    )
    engine.children.use(partial(workflows.change, EVERY_TENANT))  # verbs need the scheduler, which runs the children
    return Services(
        workflows=workflows,
        reads=reads,
        providers=ProviderStatusReader(engine.catalog, engine.step_queue, engine.health, engine.key_refusals.since),
        counts=WorkflowCounts(database.reader, clock),
        shared_pages=SharedReads(),
        cleanups=cleanups,
        webhooks=webhooks,
        idempotency=idempotency,
        commands=sender,
        completion=CompletionWaiter(engine.bus, database.reader),
        explainer=explainer,
        planner=_build_planner(process, engine),
        dry_runner=dry_runner,
        subscriptions=_build_subscriptions(process, stores, engine),
        previews=Previews(artifacts, uploads, LocalPreviews(local_memory(settings)), engine.step_queue.local),
        catalog=engine.catalog,
        clock=clock,
        expressions=engine.expressions,
        inputs_checker=engine.inputs_checker,
        availability=availability,
        memory=engine.memory,
        admission=admission,
        create_turns=FairTurns(per_tenant=_CREATES_IN_PROGRESS),
        limits=_build_limits(process, stores, engine, admission),
        uploads=uploads,
        definitions=database.definitions,
        origin_instance=settings.origin_instance,
    )


def _build_planner(process: ProcessInfo, engine: Engine) -> Planner:
    reuse = ReuseForecaster(engine.runner, engine.reuse, engine.memory, process.clock, uuid7)
    return Planner(engine.registry, build_prices(process.settings), engine.health, engine.catalog, reuse)


def _build_webhooks(
    process: ProcessInfo, stores: Stores, engine: Engine, stack: contextlib.AsyncExitStack
) -> WebhookService:
    settings, clock, database = process.settings, process.clock, stores.database
    sender = webhook_sender(
        settings.allowed_cidrs, clock, https_only=settings.https_only, timeout_s=settings.webhook_timeout_s
    )
    stack.push_async_callback(sender.aclose)
    payloads, secrets = Payloads(database.reader, settings.base_url, process.decision_links), settings.signing_secrets
    deliverer = WebhookDeliverer(database.outbox, sender, payloads, secrets, clock, engine.lease, engine.bus)
    return WebhookService(database.reader, database.deliveries, deliverer, secrets, engine.claims, process.owner)


def _build_limits(
    process: ProcessInfo, stores: Stores, engine: Engine, admission: WorkflowAdmission
) -> TenantLimitsReader:
    settings = process.settings
    names, versions = settings.max_definitions_per_tenant, settings.max_versions_per_definition
    return TenantLimitsReader(
        admission,
        engine.step_queue,
        stores.database.uploads,
        _upload_limits(settings),
        stores.database.definitions,
        DefinitionLimits(names, versions, settings.definition_quota_bytes),
        _budget_reader(process, stores),
    )


def _budget_reader(process: ProcessInfo, stores: Stores) -> BudgetReader:
    budgets, reader = stores.database.budgets, stores.database.reader
    return BudgetReader(budgets, reader, process.settings.tenant_budgets, process.clock)


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(settings.upload_quota_bytes, settings.max_uploads_per_tenant, settings.upload_ttl_s)


def _build_uploads(process: ProcessInfo, stores: Stores, stack: contextlib.AsyncExitStack) -> UploadService:
    settings, clock, store = process.settings, process.clock, stores.database.uploads
    # A child process maps a file of text into its memory.
    memory_bytes = _INSPECTION_BYTES + settings.upload_max_bytes
    pool = child_processes(stack, ChildProcessLimits(memory_bytes=memory_bytes, wall_s=120))
    limits = _upload_limits(settings)
    sign = stores.files.presign_put
    presigner = None if sign is None else Presigner(sign, settings.signed_url_ttl_s)
    sweeper, max_bytes = UploadSweeper(store, clock), settings.upload_max_bytes
    return UploadService(
        store, stores.files.artifacts, pool, limits, max_bytes, clock, uuid7, sweeper=sweeper, presigner=presigner
    )


def _build_subscriptions(process: ProcessInfo, stores: Stores, engine: Engine) -> EventSubscriptions:
    cursors = FeedCursors(process.url_secret)
    return EventSubscriptions(
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


def _build_explainer(
    process: ProcessInfo, stores: Stores, engine: Engine, sender: CommandSender
) -> tuple[Explainer, DryRunner]:
    clock, owner, owner_requests = process.clock, process.owner, OwnerRequests(sender)
    reader, workflow_store = stores.database.reader, stores.database.workflow_store
    explainer = Explainer(
        store=reader,
        workflow_store=workflow_store,
        scheduler=engine.scheduler,
        step_queue=engine.step_queue,
        health=engine.health,
        clock=clock,
        in_process=engine.registry.in_process_types(),
        writes=stores.writes,
        owner_requests=owner_requests,
        budgets=_budget_reader(process, stores),
    )
    dry_runner = DryRunner(
        store=reader,
        workflow_store=workflow_store,
        scheduler=engine.scheduler,
        nested=NestedDryRuns(reader, workflow_store, stores.task_files, engine.catalog, clock, owner, uuid7),
        clock=clock,
        owner=owner,
        new_id=uuid7,
        owner_requests=owner_requests,
    )
    return explainer, dry_runner
