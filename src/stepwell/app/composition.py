"""One function puts the whole service together, and takes it apart again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from litestar import Litestar
from msgspec import Struct

from stepwell.api.auth import TokenVerifier
from stepwell.api.claims import ClaimRules
from stepwell.api.events import feed_frame, workflow_frame
from stepwell.api.routes import build_api
from stepwell.api.webhook_payloads import Payloads
from stepwell.app.attempts import (
    SignedArtifactUrls,
    create_outcomes,
    limits,
    made_catalog,
    made_clients,
    made_runner,
    prices,
)
from stepwell.app.database import DatabaseSource
from stepwell.app.engine_tasks import run_engine, stop_engine
from stepwell.app.metrics import Statements, create_metrics
from stepwell.artifacts.store_setup import Storage, open_storage
from stepwell.domain.access.signed_urls import CallbackUrls, SignedUrls
from stepwell.domain.access.stream_tickets import StreamTickets
from stepwell.domain.circuit_breaker import BreakerPolicy
from stepwell.engine.admission.controller import AdmissionController
from stepwell.engine.admission.model_health import ModelHealth
from stepwell.engine.artifact_cleanup import ArtifactCleaner
from stepwell.engine.diagnostics.facade import Diagnostics
from stepwell.engine.diagnostics.provider_status import ProviderStatusReader
from stepwell.engine.events.bus import EventBus
from stepwell.engine.events.completion import CompletionWaiter
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.recovery import Recovery
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.idempotency import IdempotentRequests
from stepwell.engine.monitoring.write_monitor import WriteMonitor, WriteTarget
from stepwell.engine.service import WorkflowService
from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from stepwell.engine.webhooks.service import WebhookService
from stepwell.outbound.webhook_sender import webhook_sender
from stepwell.persistence.clock import uuid7
from stepwell.ports.providers import Provider
from stepwell.providers.factory import build_providers
from stepwell.providers.registry import Registry
from stepwell.providers.shared.credentials import KeyRefusals
from stepwell.settings import Settings
from stepwell.telemetry import Metrics


class Application(Struct):
    """The running service. `engine` ends, with what went wrong, only if the engine breaks: then the process must go.

    `stop` refuses writes and ends the engine in order, while the API still answers; leaving `running_app` does it too.
    """

    api: Litestar
    service: WorkflowService
    metrics: Metrics
    engine: asyncio.Task[None]
    stop: Callable[[], Awaitable[None]]


@asynccontextmanager
async def running_app(
    settings: Settings,
    *,
    source: DatabaseSource,
    url_secret: bytes,
    exclusive: bool,
    extra_providers: Iterable[Provider] = (),
) -> AsyncIterator[Application]:
    """The service on the database of *source*, from its first claim to its last write.

    *exclusive*: no other process can be alive on this database, so everything is claimed at once. *url_secret* signs
    addresses of artifacts. Raises `Unavailable`, `StorageRefused`, whatever else *source* raises, or ValueError for a
    key that can't be used.
    """
    clock = source.clock
    owner = uuid7(clock.now())
    verifier = TokenVerifier(
        settings.jwt_public_key or settings.jwt_secret or "",
        settings.jwt_algorithm,
        ClaimRules(settings.jwt_issuer, settings.jwt_audience, settings.jwt_max_lifetime_s),
    )
    statements, writes = Statements(), WriteMonitor(clock)
    async with contextlib.AsyncExitStack() as stack:
        database = await source.open(settings, owner, statements.add, writes, stack)
        store, journal = database.store, database.journal
        storage = await _open_monitored_storage(settings, writes)
        cleaner = ArtifactCleaner(store, storage.artifacts)
        signed_urls = SignedUrls(url_secret, settings.base_url, settings.signed_url_ttl_s)
        links = SignedArtifactUrls(cleaner, storage, signed_urls, clock, public=settings.public_url is not None)
        clients = made_clients(settings, stack)
        refusals = KeyRefusals(clock)
        registry = Registry([*build_providers(settings, clients.trusted, refusals), *extra_providers])
        stack.callback(registry.close)
        callbacks = CallbackUrls(url_secret, settings.base_url)
        runner = made_runner(settings, registry, storage, links, callbacks, clients, journal, clock)
        admission = AdmissionController(limits(settings), clock.monotonic)
        health = ModelHealth(BreakerPolicy(settings.breaker_failures, settings.breaker_reset_s), clock)
        bus = EventBus()
        lease = Lease(journal, clock, owner, None if exclusive else settings.lease_s)
        scheduler = Scheduler(journal, runner, admission, health, clock, uuid7, bus, create_outcomes(settings, runner))
        catalog = made_catalog(settings, registry)
        sender = webhook_sender(
            settings.allowed_cidrs, clock, https_only=settings.https_only, timeout_s=settings.webhook_timeout_s
        )
        stack.push_async_callback(sender.aclose)
        payloads, secrets = Payloads(store, settings.base_url), settings.signing_secrets
        dispatcher = WebhookDeliverer(database.outbox, sender, payloads, secrets, clock, lease, bus)
        recovery = Recovery(
            journal,
            scheduler,
            lease,
            clock,
            None if exclusive else database.presence,
            [dispatcher],
            statement_s=settings.database_timeout_s,
        )
        _connect(scheduler, lease, recovery)
        streams = EventSubscriptions(
            database.feed,
            bus,
            workflow_frame,
            feed_frame,
            None if exclusive else database.hints,
            scheduler.handles,
            heartbeat_s=settings.heartbeat_s,
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
            providers=ProviderStatusReader(catalog, admission, health, refusals.since),
            lease=lease,
            new_id=uuid7,
            bus=bus,
            repeats=IdempotentRequests(
                database.keys, lease.ensure, clock, uuid7, statement_s=settings.database_timeout_s
            ),
            awaiting=CompletionWaiter(bus, store),
            webhooks=WebhookService(store, database.deliveries, dispatcher, secrets, recovery, owner),
            following=streams,
            insight=Diagnostics(
                store,
                journal,
                scheduler,
                admission,
                health,
                cleaner,
                clock,
                owner,
                uuid7,
                registry,
                prices(settings),
                writes,
            ),
            writes=writes,
        )
        if exclusive and not storage.shared:
            await cleaner.sweep()
        work = run_engine(scheduler, recovery, dispatcher, streams, service.repeats, storage, store, writes)
        running = asyncio.create_task(work, name="engine")  # noqa: TID251 - the root task

        async def stop() -> None:
            service.draining = True
            streams.close()
            await stop_engine(running, scheduler, lease, dispatcher, settings.grace_s)

        try:
            await scheduler.started.wait()
            await recovery.boot()
            service.booted = True
            metrics = create_metrics(scheduler, admission, health, dispatcher, streams, statements, writes)
            api = build_api(
                service=service,
                artifacts=storage.artifacts,
                verifier=verifier,
                signed_urls=signed_urls,
                tickets=StreamTickets(url_secret, clock.now),
                clock=clock,
                metrics=metrics,
            )
            yield Application(api, service, metrics, running, stop)
        finally:
            await stop()


def _connect(scheduler: Scheduler, lease: Lease, recovery: Recovery) -> None:
    """Let *recovery* know when there is a reason to claim, or to renew the lease."""
    scheduler.listen(recovery)
    lease.listen(recovery.wake_if_idle)


async def _open_monitored_storage(settings: Settings, writes: WriteMonitor) -> Storage:
    storage = await open_storage(settings, writes.artifact_failed)
    writes.add_probe(WriteTarget.ARTIFACTS, storage.try_to_write)
    return storage
