"""Builds the stores and the engine, the first steps that `service` lists. The exit stack closes what they open."""

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from stepwell.app import attempts
from stepwell.app.database import Database, DatabaseSource, ExclusiveCoordination, SharedCoordination, StatementCounter
from stepwell.artifacts.store_setup import Storage, bind_storage, open_storage
from stepwell.engine.attempts.attempt_io import FileAccess
from stepwell.engine.attempts.budget_keeper import BudgetKeeper
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.fingerprints import Fingerprints
from stepwell.engine.attempts.flow_evaluator import FlowEvaluator
from stepwell.engine.attempts.inputs_checker import LIMITS as INPUTS_CHECK_LIMITS
from stepwell.engine.attempts.inputs_checker import InputsChecker
from stepwell.engine.attempts.remote_jobs import RemoteJobs
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.dispatch.limit_shares import LimitShares
from stepwell.engine.dispatch.model_health import ModelHealth
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.breaker_messages import BreakerMessages
from stepwell.engine.execution.children.child_attempts import ChildAttempts
from stepwell.engine.execution.children.child_builder import ChildBuilder
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.engine.execution.claim_requests import ClaimRequests
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.limit_divider import LimitDivider
from stepwell.engine.execution.open_children import OpenChildren
from stepwell.engine.execution.ownership import Ownership
from stepwell.engine.execution.reuse_checks import ReuseFinder
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.engine.execution.workflow_slots import WorkflowSlots
from stepwell.engine.explain.availability import Probe, WriteMonitor, WriteTarget
from stepwell.engine.files.task_files import TaskFiles
from stepwell.persistence.clock import uuid7
from stepwell.ports.clock import Clock
from stepwell.ports.processes import Coordination, OtherProcesses
from stepwell.ports.providers import Provider
from stepwell.ports.storage import WorkflowStore
from stepwell.providers.factory import build_providers
from stepwell.providers.installed_providers import installed_providers
from stepwell.providers.registry import Registry, is_in_process
from stepwell.providers.shared.credentials import KeyRefusals
from stepwell.rules.access.signed_urls import CallbackUrls, DecisionLinks, SignedUrls
from stepwell.rules.circuit_breaker import BreakerPolicy
from stepwell.runtime.child_processes import ChildProcessLimits, ChildProcessPool
from stepwell.runtime.memory import MemoryGovernor, default_max_bytes
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


class Engine:
    """The parts that run workflows. Nothing runs yet.

    `memory` bounds what they and the API hold. `workers`: None if work is done here. Parts that can't know each other,
    because each calls the other, share a third: `bus`, `claims`, `workflow_queue`, `open_children`, and
    `workflows`, those in memory.
    """

    def __init__(
        self,
        process: ProcessInfo,
        stores: Stores,
        extra_providers: Iterable[Provider],
        adapt_provider: Callable[[Provider], Provider],
        stack: contextlib.AsyncExitStack,
    ) -> None:
        settings, clock, database = process.settings, process.clock, stores.database
        store = database.workflow_store
        # What steps can use
        clients, self.key_refusals = attempts.open_clients(settings, stack), KeyRefusals(clock)
        self.workers = _open_workers(settings, stack)
        providers = [*build_providers(settings, clients.trusted, self.key_refusals), *extra_providers]
        self.registry = Registry(_with_workers(map(adapt_provider, providers), self.workers, stores.store_id))
        stack.callback(self.registry.close)
        self.catalog = attempts.build_catalog(settings, self.registry)
        self.memory = MemoryGovernor(settings.memory_max_bytes or default_max_bytes())
        # A heavy evaluation has a lower priority, and so it may take long on a busy machine.
        light, heavy = child_processes(stack), child_processes(stack, ChildProcessLimits(nice=5, wall_s=300))
        self.expressions = ExpressionEvaluator(light, heavy, clock.monotonic)
        self.inputs_checker = InputsChecker(child_processes(stack, INPUTS_CHECK_LIMITS))
        # What the parts below share
        self.coordination, self.bus = _build_coordination(process, database), EventBus()
        self.claims = ClaimRequests(clock, self.coordination.lease_s, settings.database_timeout_s)
        self.lease = Lease(self.coordination, clock, self.claims)
        shares = LimitShares(None if process.exclusive else self.lease, clock.monotonic)
        self.step_queue = StepQueue(attempts.build_limits(settings), clock.monotonic, shares)
        self.health = ModelHealth(BreakerPolicy(settings.breaker_failures, settings.breaker_reset_s), clock)
        self.workflow_queue = WorkflowQueue(WorkflowSlots(attempts.build_workflow_limits(settings), clock.now), clock)
        self.workflows: dict[UUID, ActiveWorkflow] = {}
        self.open_children = OpenChildren(self.workflows, self.workflow_queue)
        self.children = StoredChildren(store, database.reader, clock, uuid7)
        self.budgets = BudgetKeeper(database.budgets, clock, settings.tenant_budgets)
        # What runs workflows
        public = settings.public_url is not None
        urls = attempts.SignedArtifactUrls(stores.task_files, stores.files, process.signed_urls, clock, public=public)
        self.fingerprints = Fingerprints(self.registry, installed_providers(), urls)
        files = attempts.build_file_access(settings, clients, stores.files.artifacts, urls)
        self.runner = self._build_runner(process, stores, files)
        evaluator = FlowEvaluator(self.expressions, store, self.memory, clock, uuid7)
        self.reuse = ReuseFinder(evaluator, self.fingerprints, store, stores.files.artifacts, self.memory)
        self.scheduler = self._build_scheduler(process, store)
        self.limits = LimitDivider(database.limits, self.lease, self.step_queue, clock, self.scheduler)
        self.breakers = BreakerMessages(self.health, clock, self.coordination, self.scheduler.dispatcher)
        self.ownership = Ownership(
            store, self.scheduler, self.lease, self.claims, self.coordination, clock, self.runner, limits=self.limits
        )

    def _build_runner(self, process: ProcessInfo, stores: Stores, files: FileAccess) -> AttemptRunner:
        settings, clock, store = process.settings, process.clock, stores.database.workflow_store
        pace, prices = attempts.build_poll_intervals(settings), attempts.build_prices(settings)
        secrets, inputs = settings.signing_secrets, self.inputs_checker
        child_attempts = ChildAttempts(
            workflows=self.workflows,
            children=self.children,
            builder=ChildBuilder(self.children, self.catalog, inputs, self.expressions, secrets, clock, uuid7),
            open_children=self.open_children,
            store=store,
            queue=self.workflow_queue,
            bus=self.bus,
            owner=process.owner,
            clock=clock,
        )
        return AttemptRunner(
            self.registry,
            files,
            process.callback_urls if settings.public_url is not None else None,
            RemoteJobs(store, clock, pace, prices, settings.provider_timeout_s, self.lease, budgets=self.budgets),
            self.memory,
            self.expressions,
            store=store,
            local=self.step_queue.local,
            sub_workflows=child_attempts,
            fingerprints=self.fingerprints,
        )

    def _build_scheduler(self, process: ProcessInfo, store: WorkflowStore) -> Scheduler:
        return Scheduler(
            store,
            self.runner,
            self.step_queue,
            self.health,
            process.clock,
            uuid7,
            workflows=self.workflows,
            claims=self.claims,
            queue=self.workflow_queue,
            sub_workflows=self.open_children,
            bus=self.bus,
            outcomes=attempts.build_outcomes(process.settings, self.runner),
            reuse=self.reuse,
            memory=self.memory,
            results_max_bytes=process.settings.results_max_bytes,
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


def _build_coordination(process: ProcessInfo, database: Database) -> Coordination:
    if process.exclusive:
        return ExclusiveCoordination(process.owner, database.leases)
    others = OtherProcesses(database.presence, database.notifications)
    return SharedCoordination(process.owner, process.settings.lease_s, database.leases, others)


def child_processes(stack: contextlib.AsyncExitStack, limits: ChildProcessLimits | None = None) -> ChildProcessPool:
    pool = ChildProcessPool(limits)
    stack.push_async_callback(pool.aclose)
    return pool
