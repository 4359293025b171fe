"""The composition root: one function puts the whole service together, and takes it apart again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import httpx
import structlog
from litestar import Litestar
from msgspec import Struct

from stepwell.api.auth import TokenVerifier
from stepwell.api.routes import build_api
from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.domain.breaker import BreakerPolicy
from stepwell.domain.errors import Unavailable
from stepwell.domain.model import ProviderType
from stepwell.domain.prices import PriceList
from stepwell.domain.records import TenantScope
from stepwell.domain.signing import CallbackUrls, SignedUrls
from stepwell.domain.validation import Catalog
from stepwell.engine.admission import Admission, Limits
from stepwell.engine.cleanup import Cleaner
from stepwell.engine.health import ModelHealth
from stepwell.engine.providers import ProviderDesk
from stepwell.engine.recovery import Recovery
from stepwell.engine.remote import Pace, Paces, Remote
from stepwell.engine.runner import Runner
from stepwell.engine.scheduler import Scheduler
from stepwell.engine.service import WorkflowService
from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.database import assert_durable, create_api_engine, create_journal_pool, journal_connect
from stepwell.persistence.ids import uuid7
from stepwell.persistence.journal import PostgresJournal
from stepwell.persistence.kept import Kept
from stepwell.persistence.single import CONNECTIONS
from stepwell.persistence.store import PostgresStore
from stepwell.ports import Clock
from stepwell.ports.providers import Provider
from stepwell.providers.configured import configured_providers
from stepwell.providers.guard import AddressPolicy, guarded_client
from stepwell.providers.inputs import Inputs
from stepwell.providers.output_download import Downloads
from stepwell.providers.registry import Registry
from stepwell.providers.web import plain_client
from stepwell.settings import Settings
from stepwell.telemetry import Metrics

log = structlog.get_logger()

_LAST_WRITES_S = 2.0
_ASK_AGAIN_S = 0.5
_SLOWEST_LOOK_S = 10.0


class Application(Struct):
    """The running service. `engine` ends, with what went wrong, only if the engine breaks: then the process must go.

    `stop` refuses writes and ends the engine in order, while the API still answers; leaving `running_app` does it too.
    """

    api: Litestar
    service: WorkflowService
    metrics: Metrics
    engine: asyncio.Task[None]
    stop: Callable[[], Awaitable[None]]


class _Statements:
    """How many statements have been sent to the database."""

    def __init__(self) -> None:
        self.sent = 0

    def add(self) -> None:
        self.sent += 1


class _Links:
    """`runner.Links`: signed addresses of artifacts, for those whose they are."""

    def __init__(self, cleaner: Cleaner, signed_urls: SignedUrls, clock: Clock, *, public: bool) -> None:
        self._cleaner, self._signed_urls, self._clock, self.public = cleaner, signed_urls, clock, public

    async def owns(self, path: str, tenant: str | None) -> bool:
        # Asked in an attempt, which an outage must not fail: it waits, for no longer than its own time.
        while True:
            try:
                return await self._cleaner.find(TenantScope(tenant), path) is not None
            except Unavailable:
                await asyncio.sleep(_ASK_AGAIN_S)

    def url(self, path: str) -> str:
        return self._signed_urls.url(path, self._clock.now())


class _Callbacks:
    """`runner.Callbacks`: none where nobody outside could reach us."""

    def __init__(self, urls: CallbackUrls, *, public: bool) -> None:
        self._urls, self._public = urls, public

    def url(self, workflow_id: UUID, task_id: UUID) -> str | None:
        return self._urls.url(workflow_id, task_id) if self._public else None


@asynccontextmanager
async def running_app(
    settings: Settings,
    *,
    dsn: str,
    url_secret: bytes,
    exclusive: bool,
    durable: bool = True,
    extra_providers: Iterable[Provider] = (),
) -> AsyncIterator[Application]:
    """The service on a migrated database, from its first claim to its last write.

    *exclusive*: no other process can be alive on this database, so everything is claimed at once. *durable* false
    skips the check that commits are on disk: for tests on a throw-away database only. *url_secret* signs addresses
    of artifacts. Raises `Unavailable`, `database.NotDurable`, or ValueError for a key that can't be used.
    """
    clock = DatabaseClock()
    owner = uuid7(clock.now())
    verifier = TokenVerifier(
        settings.jwt_public_key or settings.jwt_secret or "",
        settings.jwt_algorithm,
        settings.jwt_issuer,
        settings.jwt_audience,
    )
    statements = _Statements()
    async with contextlib.AsyncExitStack() as stack:
        connect = journal_connect(dsn, timeout_s=settings.database_timeout_s, on_statement=statements.add)
        pool = await create_journal_pool(connect)
        stack.push_async_callback(_close_pool, pool)
        engine = create_api_engine(
            dsn, pool=settings.database_pool, timeout_s=settings.database_timeout_s, on_statement=statements.add
        )
        stack.push_async_callback(engine.dispose)
        readers = Kept(connect, size=CONNECTIONS, timeout_s=settings.database_timeout_s)
        stack.callback(readers.close)
        store, journal = PostgresStore(engine, readers), PostgresJournal(pool, connect, clock)
        stack.callback(journal.end_writing)
        artifacts = ObstoreArtifacts.local(settings.artifacts)
        cleaner = Cleaner(store, artifacts)
        signed_urls = SignedUrls(url_secret, settings.base_url, settings.signed_url_ttl_s)
        links = _Links(cleaner, signed_urls, clock, public=settings.public_url is not None)
        guarded, trusted = _clients(settings, stack)
        inputs = Inputs(
            artifacts,
            links.owns,
            client=guarded,
            max_bytes=settings.input_max_bytes,
            timeout_s=settings.input_timeout_s,
        )
        downloads = Downloads(guarded, max_bytes=settings.output_max_bytes, timeout_s=settings.output_timeout_s)
        registry = Registry([*configured_providers(settings, trusted), *extra_providers])
        callbacks = CallbackUrls(url_secret, settings.base_url)
        runner = Runner(
            registry,
            artifacts,
            inputs,
            links,
            downloads,
            _Callbacks(callbacks, public=links.public),
            Remote(
                journal,
                clock,
                _paces(settings),
                PriceList(settings.prices, settings.currency),
                settings.provider_timeout_s,
            ),
        )
        admission = Admission(_limits(settings))
        health = ModelHealth(BreakerPolicy(settings.breaker_failures, settings.breaker_reset_s), clock)
        scheduler = Scheduler(journal, runner, admission, health, clock, uuid7)
        recovery = Recovery(
            journal,
            scheduler,
            clock,
            owner,
            None if exclusive else settings.lease_s,
            statement_s=settings.database_timeout_s,
        )
        catalog = Catalog(
            registry.offers(), settings.default_provider, frozenset(settings.credentials), registry.keyed()
        )
        service = WorkflowService(
            store=store,
            journal=journal,
            scheduler=scheduler,
            recovery=recovery,
            cleaner=cleaner,
            clock=clock,
            callbacks=callbacks,
            catalog=catalog,
            providers=ProviderDesk(catalog, admission, health),
            owner=owner,
            new_id=uuid7,
        )
        if durable:
            await assert_durable(pool)
        if exclusive:
            await cleaner.sweep()
        running = asyncio.create_task(_run_engine(scheduler, recovery), name="engine")  # noqa: TID251 - the root task

        async def stop() -> None:
            service.draining = True
            await _stop_engine(running, scheduler, recovery, settings.grace_s)

        try:
            await scheduler.started.wait()
            await recovery.boot()
            service.booted = True
            metrics = _metrics(scheduler, admission, statements)
            api = build_api(
                service=service,
                artifacts=artifacts,
                verifier=verifier,
                signed_urls=signed_urls,
                clock=clock,
                metrics=metrics,
            )
            yield Application(api, service, metrics, running, stop)
        finally:
            await stop()


def _clients(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
    """One for addresses that users or providers name, one for those that the operator has set."""
    guarded = guarded_client(AddressPolicy(settings.allowed_cidrs), https_only=settings.https_only)
    trusted = plain_client()
    stack.push_async_callback(guarded.aclose)
    stack.push_async_callback(trusted.aclose)
    return guarded, trusted


async def _close_pool(pool: asyncpg.Pool) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WRITES_S):
            await pool.close()
            return
    pool.terminate()


def _paces(settings: Settings) -> Paces:
    own = {
        ProviderType.FAL: settings.fal_poll_interval_s,
        ProviderType.REPLICATE: settings.replicate_poll_interval_s,
        ProviderType.OPENAI: settings.openai_poll_interval_s,
        ProviderType.GEMINI: settings.gemini_poll_interval_s,
        ProviderType.VERTEX: settings.vertex_poll_interval_s,
        ProviderType.COMFYUI: settings.comfyui_poll_interval_s,
        ProviderType.CUSTOM: settings.custom_poll_interval_s,
    }
    return Paces(
        _pace(settings.poll_interval_s),
        {kind: _pace(first_s) for kind, first_s in own.items() if first_s is not None},
    )


def _pace(first_s: float) -> Pace:
    return Pace(first_s, max(first_s, _SLOWEST_LOOK_S))


def _limits(settings: Settings) -> Limits:
    return Limits(
        total=settings.max_running_steps,
        local=settings.max_local_steps,
        per_provider=settings.max_steps_per_provider,
        per_tenant=settings.max_steps_per_tenant,
        models=settings.limits,
    )


def _metrics(scheduler: Scheduler, admission: Admission, statements: _Statements) -> Metrics:
    metrics, checkpointer = Metrics(), scheduler.checkpointer
    metrics.watch("stepwell_workflows_in_memory", "Workflows that run here.", lambda: len(scheduler.handles))
    metrics.watch("stepwell_steps_running", "Steps that have a slot.", lambda: admission.used)
    metrics.watch("stepwell_steps_waiting", "Steps that are ready and wait for a slot.", lambda: admission.waiting)
    metrics.count("stepwell_checkpoint_batches", "Batches written.", lambda: checkpointer.batches)
    metrics.count("stepwell_checkpoint_events", "Transitions written.", lambda: checkpointer.rows)
    metrics.count("stepwell_database_statements", "Statements sent to the database.", lambda: statements.sent)
    metrics.watch("stepwell_database_away", "1 while transitions can't be written.", lambda: checkpointer.outage)
    return metrics


async def _run_engine(scheduler: Scheduler, recovery: Recovery) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run(), name="scheduler")
        group.create_task(recovery.run(), name="recovery")


async def _stop_engine(running: asyncio.Task[None], scheduler: Scheduler, recovery: Recovery, grace_s: float) -> None:
    if not running.done():
        await scheduler.stop(max(grace_s - _LAST_WRITES_S - 1, grace_s / 4))
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_WRITES_S):
                await scheduler.written()
                await recovery.release()
    running.cancel()
    await asyncio.wait({running}, timeout=_LAST_WRITES_S)
    if not running.done():
        log.error("engine.stuck", action="stop")  # in an attempt that heeds no cancellation; it ends with the process
    elif not running.cancelled() and (error := running.exception()) is not None:
        log.error("engine.broke", action="stop", exc_info=error)
        raise error
