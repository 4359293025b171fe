"""Builds the services that the API calls, from the parts that `construction` has built."""

import contextlib
from functools import partial

from stepwell.api.routes.events import feed_frame, workflow_frame
from stepwell.app.attempts import build_prices
from stepwell.app.construction import Engine, ProcessInfo, Stores, Webhooks
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.attempts.inputs_checker import LIMITS as INPUTS_CHECK_LIMITS
from stepwell.engine.attempts.inputs_checker import InputsChecker
from stepwell.engine.events.completion import CompletionWaiter
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.engine.execution.children.child_attempts import ChildAttempts
from stepwell.engine.execution.children.child_builder import ChildBuilder
from stepwell.engine.execution.children.child_follower import ChildFollower
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.engine.execution.command_receiver import CommandReceiver
from stepwell.engine.execution.command_sender import CommandSender
from stepwell.engine.execution.due_waits import DueWaits
from stepwell.engine.execution.idempotency import IdempotentRequests
from stepwell.engine.execution.recovery import Recovery
from stepwell.engine.execution.workflow_access import VerbApplier, WorkflowAccess
from stepwell.engine.explain.availability import Availability
from stepwell.engine.explain.dry_run import DryRunner
from stepwell.engine.explain.explainer import Explainer
from stepwell.engine.explain.limit_use import ProviderStatusReader, TenantLimitsReader
from stepwell.engine.explain.nested_dry_runs import NestedDryRuns
from stepwell.engine.explain.owner_questions import OwnerQuestions
from stepwell.engine.explain.planner import Planner
from stepwell.engine.explain.question_answers import answer_question
from stepwell.engine.files.cleanup_runner import CleanupRunner
from stepwell.engine.files.definition_files import DefinitionFiles
from stepwell.engine.files.previews import Previews
from stepwell.engine.files.retention import CostRetention, Retention
from stepwell.engine.files.uploads import Presigner, UploadService, UploadSweeper
from stepwell.engine.reads.read_service import ReadService
from stepwell.engine.reads.shared_reads import SharedReads, WorkflowCounts
from stepwell.engine.service import Services, WorkflowService
from stepwell.persistence.clock import uuid7
from stepwell.ports.clock import Clock
from stepwell.providers.local.preview import LocalPreviews
from stepwell.providers.local.provider import local_memory
from stepwell.rules.access.cursors import FeedCursors
from stepwell.rules.stored_definitions import DefinitionLimits
from stepwell.rules.uploads import UploadLimits
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.worker_processes import WorkerLimits, WorkerPool
from stepwell.settings import Settings

# Bytes of definitions that are created at once for one tenant: some hundred small ones, or two of 200 steps. Requests
# of other tenants are handled in between.
_CREATES_IN_PROGRESS = 64 * 1024
_INSPECTION_BYTES = 384 * 1024 * 1024  # of a worker's memory, besides the file


def build_services(
    process: ProcessInfo, stores: Stores, engine: Engine, webhooks: Webhooks, stack: contextlib.AsyncExitStack
) -> Services:
    settings, clock, database = process.settings, process.clock, stores.database
    reads = ReadService(database.reader, stores.task_files)
    access = WorkflowAccess(database.workflow_store, engine.scheduler, webhooks.recovery, engine.lease, engine.bus)
    availability = Availability(engine.scheduler.checkpointer, stores.writes, database.reader, webhooks.recovery)
    statement_s = settings.database_timeout_s
    idempotency = IdempotentRequests(database.keys, engine.lease.ensure, clock, uuid7, statement_s=statement_s)
    uploads, sweeper = _build_uploads(process, stores, webhooks.recovery, stack)
    cleanups = _build_cleanups(stores, engine, webhooks.recovery, access, uploads, clock)
    webhooks.admission.on_due_paused = (due_waits := DueWaits(access, clock)).add
    applier = VerbApplier(access, webhooks.admission, idempotency)
    sender = CommandSender(database.commands, engine.coordination, idempotency, clock, uuid7)
    explainer, dry_runner = _build_explainer(process, stores, engine, sender)
    answer = partial(answer_question, explainer, dry_runner)
    receiver = CommandReceiver(database.commands, engine.coordination, applier, cleanups, answer)
    webhooks.recovery.claimers.append(receiver)
    files, images = DefinitionFiles(uploads), LocalPreviews(local_memory(settings))
    build_workflows = partial(WorkflowService, access, webhooks.admission, reads, availability, cleanups)
    workflows = build_workflows(
        database.purges, webhooks.service, applier, sender, files, process.callback_urls, clock, uuid7
    )
    inputs_checker = _build_inputs_checker(stack)
    follower = _build_sub_workflows(stores, engine, webhooks, workflows, inputs_checker, clock)
    webhooks.recovery.command_listeners = (sender, follower, receiver)
    return Services(
        workflows=workflows,
        reads=reads,
        providers=ProviderStatusReader(engine.catalog, engine.admission, engine.health, engine.key_refusals.since),
        counts=WorkflowCounts(database.reader, clock),
        list_answers=SharedReads(),
        cleanups=cleanups,
        due_waits=due_waits,
        retention=Retention(database.purges, cleanups, engine.lease, clock, settings.retention_days),
        cost_retention=CostRetention(database.daily_costs, clock, settings.costs_retention_days),
        webhooks=webhooks.service,
        idempotency=idempotency,
        commands=sender,
        command_receiver=receiver,
        completion=CompletionWaiter(engine.bus, database.reader),
        explainer=explainer,
        planner=Planner(engine.registry, build_prices(settings), engine.health, engine.catalog),
        dry_runner=dry_runner,
        subscriptions=_build_subscriptions(process, stores, engine),
        previews=Previews(stores.files.artifacts, uploads, images, engine.admission.local),
        catalog=engine.catalog,
        clock=clock,
        expressions=engine.expressions,
        inputs_checker=inputs_checker,
        availability=availability,
        memory=engine.memory,
        admission=webhooks.admission,
        create_turns=FairTurns(per_tenant=_CREATES_IN_PROGRESS),
        limits=_build_limits(settings, stores, engine, webhooks),
        uploads=uploads,
        upload_sweeper=sweeper,
        definitions=database.definitions,
        origin_instance=settings.origin_instance,
    )


def _build_limits(settings: Settings, stores: Stores, engine: Engine, webhooks: Webhooks) -> TenantLimitsReader:
    names, versions = settings.max_definitions_per_tenant, settings.max_versions_per_definition
    return TenantLimitsReader(
        webhooks.admission,
        engine.admission,
        stores.database.uploads,
        _upload_limits(settings),
        stores.database.definitions,
        DefinitionLimits(names, versions, settings.definition_quota_bytes),
    )


def _build_inputs_checker(stack: contextlib.AsyncExitStack) -> InputsChecker:
    workers = WorkerPool(INPUTS_CHECK_LIMITS)
    stack.push_async_callback(workers.aclose)
    return InputsChecker(workers)


def _build_sub_workflows(
    stores: Stores, engine: Engine, webhooks: Webhooks, workflows: WorkflowService, inputs: InputsChecker, clock: Clock
) -> ChildFollower:
    database, admission, new_id = stores.database, webhooks.admission, uuid7
    change = partial(workflows.change, EVERY_TENANT)
    children = StoredChildren(database.workflow_store, database.reader, change, clock, new_id)
    check_url = webhooks.service.check_url
    builder = ChildBuilder(children, engine.catalog, inputs, engine.expressions, check_url, clock, new_id)
    scheduler, bus, lease = engine.scheduler, engine.bus, engine.lease
    follower = ChildFollower(scheduler, admission, children, engine.runner.child_completed)
    store = database.workflow_store
    engine.runner.use(ChildAttempts(scheduler, children, builder, follower, store, admission, bus, lease, clock))
    engine.scheduler.use(follower)
    engine.scheduler.listen(follower)
    return follower


def _build_cleanups(
    stores: Stores, engine: Engine, recovery: Recovery, access: WorkflowAccess, uploads: UploadService, clock: Clock
) -> CleanupRunner:
    database, artifacts = stores.database, stores.files.artifacts
    cleanups = CleanupRunner(
        database.cleanups, database.purges, artifacts, uploads.delete_with_workflow, access, engine.bus, clock
    )
    recovery.claimers.append(cleanups)
    return cleanups


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
    sweeper, max_bytes = UploadSweeper(store, clock), settings.upload_max_bytes
    uploads = UploadService(
        store, stores.files.artifacts, workers, limits, max_bytes, clock, uuid7, sweeper=sweeper, presigner=presigner
    )
    recovery.claimers.append(sweeper)
    return uploads, sweeper


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
    clock, owner, owner_questions = process.clock, process.owner, OwnerQuestions(sender)
    reader, workflow_store = stores.database.reader, stores.database.workflow_store
    explainer = Explainer(
        reader,
        workflow_store,
        engine.scheduler,
        engine.admission,
        engine.health,
        clock,
        engine.registry.in_process_types(),
        stores.writes,
        owner_questions,
    )
    nested = NestedDryRuns(reader, workflow_store, stores.task_files, engine.catalog, clock, owner, uuid7)
    dry_runner = DryRunner(reader, workflow_store, engine.scheduler, nested, clock, owner, uuid7, owner_questions)
    return explainer, dry_runner
