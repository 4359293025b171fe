"""`running_app`: the whole service, from its first claim to its last write.

`run_engine` starts the tasks of the engine together, and `stop_engine` stops them in order.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import structlog
from litestar import Litestar
from msgspec import Struct

from stepwell.api.auth.authentication import TokenVerifier
from stepwell.api.auth.claims import ClaimRules
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.api.auth.token_keys import FetchedKeys, FixedKey, TokenKeys
from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.api.routes.all_routes import build_api, build_cross_origin
from stepwell.app.construction import Engine, ProcessInfo, Stores, Webhooks, build_engine, build_webhooks, open_stores
from stepwell.app.database import DatabaseSource
from stepwell.app.metrics import build_metrics
from stepwell.app.services import build_services
from stepwell.basics.errors import Unavailable
from stepwell.basics.strict_json.normalise import Handling
from stepwell.engine.service import Services
from stepwell.outbound.key_set_client import KeySetClient
from stepwell.persistence.clock import uuid7
from stepwell.ports.clock import Clock
from stepwell.ports.providers import Provider
from stepwell.providers.installed_providers import installed_providers
from stepwell.rules.access.cursors import PageCursors
from stepwell.rules.access.stream_tickets import StreamTickets
from stepwell.runtime.freed_memory import return_freed_memory
from stepwell.runtime.telemetry import Metrics
from stepwell.settings import Settings
from stepwell.web.pages import build_pages
from stepwell.web.sign_in_service import SignInService

log = structlog.get_logger()

_LAST_WRITES_S = 2.0
_HAND_OVER_S = 0.1


async def run_engine(stores: Stores, engine: Engine, webhooks: Webhooks, services: Services, keys: TokenKeys) -> None:
    """Run all tasks of the engine, and the one that fetches *keys*.

    If one fails, or this call is cancelled, all are cancelled.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.scheduler.run(), name="scheduler")
        if engine.workers is not None:
            group.create_task(engine.workers.run(engine.scheduler.handle_callback), name="workers")
        group.create_task(webhooks.recovery.run(), name="recovery")
        group.create_task(webhooks.recovery.watch(), name="other processes")
        group.create_task(engine.limits.run(), name="limits")
        group.create_task(engine.breakers.run(), name="breakers")
        group.create_task(webhooks.admission.run(), name="admission")
        group.create_task(webhooks.admission.announce(), name="announcements")
        group.create_task(webhooks.deliverer.run(), name="webhooks")
        group.create_task(services.cleanups.run(), name="cleanups")
        group.create_task(services.due_waits.run(), name="due waits")
        group.create_task(services.retention.run(), name="retention")
        group.create_task(services.cost_retention.run(), name="retention of costs")
        group.create_task(services.upload_sweeper.run(services.uploads), name="upload expiry")
        group.create_task(services.subscriptions.run(), name="streams")
        group.create_task(services.idempotency.run(), name="keys")
        group.create_task(services.commands.run(), name="commands to peers")
        group.create_task(services.command_receiver.run(), name="commands of peers")
        group.create_task(stores.writes.run(stores.probes), name="write probes")
        group.create_task(keys.run(), name="key set")
        group.create_task(return_freed_memory(engine.memory.large_release), name="freed memory")


async def stop_engine(
    running: asyncio.Task[None], stores: Stores, engine: Engine, webhooks: Webhooks, services: Services, grace_s: float
) -> None:
    """Stop *running*, the task of `run_engine`, within about *grace_s* seconds.

    Running attempts get most of the time to end. Meanwhile, commands of other processes are carried out, and workflows
    without an attempt are handed over to other processes. Then the last transitions are written, and the lease is
    released.
    Raises the error of *running* if one of the engine's tasks failed.
    """
    if engine.workers is not None:
        engine.workers.stop()
    if not running.done():
        attempts_s = max(grace_s - _LAST_WRITES_S - 1, grace_s / 4)
        engine.limits.begin_stop()
        async with asyncio.TaskGroup() as group:
            handing_over = group.create_task(_hand_over(stores, engine), name="hand over workflows")
            async with asyncio.TaskGroup() as stopping:
                stopping.create_task(services.commands.stop(attempts_s), name="stop commands")
                stopping.create_task(engine.scheduler.stop(attempts_s), name="stop scheduler")
                stopping.create_task(webhooks.deliverer.stop(attempts_s), name="stop webhooks")
                stopping.create_task(services.cleanups.stop(attempts_s), name="stop cleanups")
            handing_over.cancel()
        services.command_receiver.closed = True
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_WRITES_S):
                await engine.scheduler.wait_until_written()
                await engine.limits.leave()
                await engine.lease.release()
    running.cancel()
    await asyncio.wait({running}, timeout=_LAST_WRITES_S)
    if not running.done():
        # An attempt doesn't react to its cancellation. It ends with the process.
        log.error("engine.stuck", action="stop")
    elif not running.cancelled() and (error := running.exception()) is not None:
        log.error("engine.broke", action="stop", exc_info=error)
        raise error


async def _hand_over(stores: Stores, engine: Engine) -> None:
    """Hand over each workflow that has no attempt left, so that it doesn't wait for the attempts of others.

    Runs until cancelled. What it doesn't hand over is released with the lease.
    """
    scheduler, lease = engine.scheduler, engine.lease
    if math.isinf(lease.seconds):
        return  # there is no other process
    while True:
        await asyncio.sleep(_HAND_OVER_S)
        if not scheduler.stopping:
            continue
        quiet = [
            workflow_id
            for workflow_id, each in scheduler.workflows.items()
            if not (each.attempts or each.pins or scheduler.checkpointer.holds(workflow_id))
        ]
        for workflow_id in quiet:
            scheduler.drop(workflow_id)
        if quiet:
            with contextlib.suppress(Unavailable):
                await stores.database.workflow_store.hand_over(lease.owner, quiet)


class Components(Struct, frozen=True):
    """The parts of a running service, for code that observes it from inside."""

    process: ProcessInfo
    stores: Stores
    engine: Engine
    webhooks: Webhooks


class Application(Struct):
    """The running service.

    If the task `engine` ends before `stop` is called, the engine has failed: the task raises the cause, and the process
    must end. A server of `api` keeps its connections within `connections`. `stop` refuses writes and ends the engine in
    order, while the API still answers reads. Leaving `running_app` does the same. `sign_in` makes one-time URLs.
    """

    api: Litestar
    services: Services
    metrics: Metrics
    connections: ConnectionLimits
    engine: asyncio.Task[None]
    stop: Callable[[], Awaitable[None]]
    sign_in: SignInService
    components: Components


@asynccontextmanager
async def running_app(
    settings: Settings,
    *,
    source: DatabaseSource,
    url_secret: bytes,
    exclusive: bool,
    extra_providers: Iterable[Provider] = (),
    adapt_provider: Callable[[Provider], Provider] = lambda provider: provider,
) -> AsyncIterator[Application]:
    """Run the service on the database of *source*.

    *exclusive*: no other process can be alive on this database, so the service claims all workflows at once.
    *url_secret* signs URLs of artifacts. Each provider is replaced by what *adapt_provider* returns for it. Raises
    `Unavailable`, `StorageRefused`, whatever else *source* raises, and ValueError for a key that can't be used.
    """
    process = ProcessInfo(settings, source.clock, uuid7(source.clock.now()), url_secret, exclusive)
    async with contextlib.AsyncExitStack() as stack:
        keys = _build_keys(settings, source.clock, stack)
        stores = await open_stores(process, source, stack)
        engine = build_engine(process, stores, extra_providers, adapt_provider, stack)
        webhooks = build_webhooks(process, stores, engine, stack)
        services = build_services(process, stores, engine, webhooks, stack)
        if stores.may_sweep:
            await stores.task_files.sweep()
        connections = ConnectionLimits(settings.max_connections_per_client)
        work = run_engine(stores, engine, webhooks, services, keys)
        running = asyncio.create_task(work, name="engine")  # noqa: TID251 - the root task

        async def stop() -> None:
            services.availability.draining = connections.is_stopping = True
            services.subscriptions.close()
            await stop_engine(running, stores, engine, webhooks, services, settings.grace_s)

        try:
            await engine.scheduler.started.wait()
            await webhooks.recovery.boot()
            services.availability.booted = True
            metrics = build_metrics(stores, engine, webhooks, services, connections)
            sign_in = _build_sign_in(process, stores, keys)
            api = _build_api(process, stores, services, sign_in, metrics, connections)
            components = Components(process, stores, engine, webhooks)
            yield Application(api, services, metrics, connections, running, stop, sign_in, components)
        finally:
            await stop()


def _build_keys(settings: Settings, clock: Clock, stack: contextlib.AsyncExitStack) -> TokenKeys:
    key = settings.jwt_public_key or settings.jwt_secret
    if settings.jwt_jwks_url is None:
        return FixedKey(key or "", settings.jwt_algorithm)
    client = KeySetClient(settings.jwt_jwks_url)
    stack.push_async_callback(client.aclose)
    return FetchedKeys(client.fetch, clock, None if key is None else FixedKey(key, settings.jwt_algorithm))


def _build_sign_in(process: ProcessInfo, stores: Stores, keys: TokenKeys) -> SignInService:
    settings, sign_ins = process.settings, stores.database.sign_ins
    rules = ClaimRules(
        settings.jwt_issuer, settings.jwt_audience, settings.jwt_max_lifetime_s, settings.jwt_default_scope
    )
    cookies = SessionCookies(
        process.url_secret, settings.base_url, sign_ins, process.clock, public=settings.public_url is not None
    )
    return SignInService(TokenVerifier(keys, rules), cookies, process.url_secret, sign_ins, process.clock)


def _build_api(
    process: ProcessInfo,
    stores: Stores,
    services: Services,
    sign_in: SignInService,
    metrics: Metrics,
    connections: ConnectionLimits,
) -> Litestar:
    return build_api(
        services=services,
        artifacts=stores.files.artifacts,
        verifier=sign_in.verifier,
        signed_urls=process.signed_urls,
        providers=tuple(installed_providers()),
        tickets=StreamTickets(process.url_secret, process.clock.now),
        cookies=sign_in.cookies,
        cursors=PageCursors(process.url_secret),
        decision_links=process.decision_links,
        clock=process.clock,
        metrics=metrics,
        connections=connections,
        body_timeout_s=process.settings.body_timeout_s,
        handling=Handling.LENIENT if process.settings.unknown_fields == "ignore" else Handling.STRICT,
        cross_origin=build_cross_origin(process.settings.cors_origins),
        pages=build_pages(sign_in, process.clock, services.catalog.offers),
    )
