"""`Service`: builds, runs and stops everything. `running_app` is the whole life of one.

    settings ──► ProcessInfo ──► open_stores ──► Engine ──► build_services ──► Background ──► API
                                 the database    runs        what the API       works without
                                 and the files   workflows   calls              requests

Each part gets in its constructor what it calls. `construction.Engine` says what the parts share that call each other.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import structlog
from litestar import Litestar

from stepwell.api.auth.authentication import TokenVerifier
from stepwell.api.auth.claims import ClaimRules
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.api.auth.token_keys import FetchedKeys, FixedKey, TokenKeys
from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.api.routes.all_routes import build_api, build_cross_origin
from stepwell.app.construction import Engine, ProcessInfo, Stores, open_stores
from stepwell.app.database import DatabaseSource
from stepwell.app.metrics import build_metrics
from stepwell.app.services import Background, build_services
from stepwell.basics.errors import Unavailable
from stepwell.basics.strict_json.normalise import Handling
from stepwell.outbound.key_set_client import KeySetClient
from stepwell.persistence.clock import uuid7
from stepwell.ports.clock import Clock
from stepwell.ports.providers import Provider
from stepwell.providers.installed_providers import installed_providers
from stepwell.rules.access.cursors import PageCursors
from stepwell.rules.access.stream_tickets import StreamTickets
from stepwell.runtime.freed_memory import return_freed_memory
from stepwell.settings import Settings
from stepwell.web.pages import build_pages
from stepwell.web.sign_in_service import SignInService

log = structlog.get_logger()

_LAST_WRITES_S = 2.0
_HAND_OVER_S = 0.1


class Service:
    """The service of one process: its parts, its tasks, and the order in which they stop.

    - A server of `api` keeps its connections within `connections`. `sign_in` makes one-time URLs.
    - `running` is the root task. If it ends before `stop` is called, the engine has failed: the task raises the cause,
      and the process must end.
    """

    def __init__(
        self,
        process: ProcessInfo,
        stores: Stores,
        keys: TokenKeys,
        extra_providers: Iterable[Provider],
        adapt_provider: Callable[[Provider], Provider],
        stack: contextlib.AsyncExitStack,
    ) -> None:
        self.process, self.stores, self._keys = process, stores, keys
        self.engine = engine = Engine(process, stores, extra_providers, adapt_provider, stack)
        self.services = build_services(process, stores, engine, stack)
        self.background = Background(process, stores, engine, self.services)
        self.connections = ConnectionLimits(process.settings.max_connections_per_client)
        self.metrics = build_metrics(stores, engine, self.services, self.connections)
        self.sign_in = _build_sign_in(process, stores, keys)
        self.api = self._build_api()
        self.running: asyncio.Task[None]

    def start(self) -> None:
        self.running = asyncio.create_task(self._run(), name="engine")  # noqa: TID251 - the root task

    async def boot(self) -> None:
        """Wait until everything has started and this process has its first lease. Raises `Unavailable`."""
        await self.engine.scheduler.started.wait()
        await self.engine.ownership.boot()
        self.services.availability.booted = True

    async def _run(self) -> None:
        """Run all tasks. If one fails, or this call is cancelled, all are cancelled."""
        stores, engine, services, background = self.stores, self.engine, self.services, self.background
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.scheduler.run(), name="scheduler")
            if engine.workers is not None:
                group.create_task(engine.workers.run(engine.scheduler.handle_callback), name="workers")
            group.create_task(engine.ownership.run(background.claimers), name="ownership")
            group.create_task(background.peer_messages.run(), name="other processes")
            group.create_task(engine.limits.run(), name="limits")
            group.create_task(engine.breakers.run(), name="breakers")
            group.create_task(services.admission.run(), name="admission")
            group.create_task(services.admission.announce(), name="announcements")
            group.create_task(services.webhooks.deliverer.run(), name="webhooks")
            group.create_task(services.cleanups.run(), name="cleanups")
            group.create_task(background.child_checker.run(), name="sub-workflows")
            group.create_task(background.due_waits.run(), name="due waits")
            group.create_task(background.retention.run(), name="retention")
            group.create_task(background.cost_retention.run(), name="retention of costs")
            group.create_task(services.uploads.sweeper.run(services.uploads), name="upload expiry")
            group.create_task(services.subscriptions.run(), name="streams")
            group.create_task(services.idempotency.run(), name="keys")
            group.create_task(services.commands.run(), name="commands to peers")
            group.create_task(background.command_receiver.run(), name="commands of peers")
            group.create_task(stores.writes.run(stores.probes), name="write probes")
            group.create_task(self._keys.run(), name="key set")
            group.create_task(return_freed_memory(engine.memory.large_release), name="freed memory")

    async def stop(self) -> None:
        """Refuse writes, and end the engine in order within about `grace_s`, while the API still serves reads.

        Raises the error of `running` if one of the engine's tasks failed.
        """
        engine, running = self.engine, self.running
        self.services.availability.draining = self.connections.is_stopping = True
        self.services.subscriptions.close()
        if engine.workers is not None:
            engine.workers.stop()
        try:
            if not running.done():
                await self._drain()
                with contextlib.suppress(TimeoutError, Unavailable):
                    async with asyncio.timeout(_LAST_WRITES_S):
                        await engine.scheduler.wait_until_written()
                        await engine.limits.leave()
                        await engine.lease.release()
        finally:
            running.cancel()
            await asyncio.wait({running}, timeout=_LAST_WRITES_S)
        if not running.done():
            # An attempt doesn't react to its cancellation. It ends with the process.
            log.error("engine.stuck", action="stop")
        elif not running.cancelled() and (error := running.exception()) is not None:
            log.error("engine.broke", action="stop", exc_info=error)
            raise error

    async def _drain(self) -> None:
        """Give running attempts most of the time to end.

        Meanwhile, commands of other processes are carried out, and workflows without an attempt are handed over.
        """
        grace_s = self.process.settings.grace_s
        attempts_s = max(grace_s - _LAST_WRITES_S - 1, grace_s / 4)
        self.engine.limits.begin_stop()
        async with asyncio.TaskGroup() as group:
            handing_over = group.create_task(self._hand_over(), name="hand over workflows")
            async with asyncio.TaskGroup() as stopping:
                stopping.create_task(self.services.commands.stop(attempts_s), name="stop commands")
                stopping.create_task(self.engine.scheduler.stop(attempts_s), name="stop scheduler")
                stopping.create_task(self.services.webhooks.deliverer.stop(attempts_s), name="stop webhooks")
                stopping.create_task(self.services.cleanups.stop(attempts_s), name="stop cleanups")
            handing_over.cancel()
        self.background.command_receiver.closed = True

    async def _hand_over(self) -> None:
        """Hand over each workflow that has no attempt left, so that it doesn't wait for the attempts of others.

        Runs until cancelled. What it doesn't hand over is released with the lease.
        """
        scheduler, lease = self.engine.scheduler, self.engine.lease
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
                    await self.stores.database.workflow_store.hand_over(lease.owner, quiet)

    def _build_api(self) -> Litestar:
        process, settings = self.process, self.process.settings
        return build_api(
            services=self.services,
            artifacts=self.stores.files.artifacts,
            verifier=self.sign_in.verifier,
            signed_urls=process.signed_urls,
            providers=tuple(installed_providers()),
            tickets=StreamTickets(process.url_secret, process.clock.now),
            cookies=self.sign_in.cookies,
            cursors=PageCursors(process.url_secret),
            decision_links=process.decision_links,
            clock=process.clock,
            metrics=self.metrics,
            connections=self.connections,
            body_timeout_s=settings.body_timeout_s,
            handling=Handling.LENIENT if settings.unknown_fields == "ignore" else Handling.STRICT,
            cross_origin=build_cross_origin(settings.cors_origins),
            pages=build_pages(self.sign_in, process.clock, self.services.catalog.offers),
        )


@asynccontextmanager
async def running_app(
    settings: Settings,
    *,
    source: DatabaseSource,
    url_secret: bytes,
    exclusive: bool,
    extra_providers: Iterable[Provider] = (),
    adapt_provider: Callable[[Provider], Provider] = lambda provider: provider,
) -> AsyncIterator[Service]:
    """Run the service on the database of *source*. Leaving the context stops it.

    *exclusive*: no other process can be alive on this database, so the service claims all workflows at once.
    *url_secret* signs URLs of artifacts. Each provider is replaced by what *adapt_provider* returns for it. Raises
    `Unavailable`, `StorageRefused`, whatever else *source* raises, and ValueError for a key that can't be used.
    """
    process = ProcessInfo(settings, source.clock, uuid7(source.clock.now()), url_secret, exclusive)
    async with contextlib.AsyncExitStack() as stack:
        keys = _build_keys(settings, source.clock, stack)
        stores = await open_stores(process, source, stack)
        service = Service(process, stores, keys, extra_providers, adapt_provider, stack)
        if stores.may_sweep:
            await stores.task_files.sweep()
        service.start()
        try:
            await service.boot()
            yield service
        finally:
            await service.stop()


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
