"""`running_app`: the whole service, from its first claim to its last write."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

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
from stepwell.app.engine_tasks import run_engine, stop_engine
from stepwell.app.metrics import build_metrics
from stepwell.app.services import build_services
from stepwell.basics.strict_json.normalise import Handling
from stepwell.engine.service import Services
from stepwell.outbound.key_set_client import KeySetClient
from stepwell.persistence.clock import uuid7
from stepwell.ports.clock import Clock
from stepwell.ports.providers import Provider
from stepwell.providers.installed_providers import installed_providers
from stepwell.rules.access.cursors import PageCursors
from stepwell.rules.access.stream_tickets import StreamTickets
from stepwell.runtime.telemetry import Metrics
from stepwell.settings import Settings
from stepwell.web.pages import build_pages
from stepwell.web.sign_in_service import SignInService


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
            metrics = _build_metrics(stores, engine, webhooks, services, connections)
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


def _build_metrics(
    stores: Stores, engine: Engine, webhooks: Webhooks, services: Services, connections: ConnectionLimits
) -> Metrics:
    return build_metrics(
        engine.scheduler,
        webhooks.admission,
        engine.admission,
        engine.health,
        webhooks.deliverer,
        services.subscriptions,
        stores.statements,
        stores.writes,
        connections,
        engine.memory,
        services.previews,
    )


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
