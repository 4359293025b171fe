"""`running`: the whole service in the running event loop, for tests."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from uuid import UUID, uuid4

from msgspec import Struct, json

from stepwell.api.auth.authentication import sign_token
from stepwell.app import DatabaseSource, Service, running_app
from stepwell.basics.setting_values import Networks, Secrets
from stepwell.client import AsyncStepwell, NotFound
from stepwell.contract.enums import TERMINAL_STATUSES, DeliveryStatus, ProviderType, StepStatus, WorkflowStatus
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.scopes import DEFAULT_PERMISSIONS, READ_PERMISSIONS
from stepwell.contract.workflows import WorkflowPublic
from stepwell.definition.provider_descriptors import ConfiguredBy, InstalledProviders
from stepwell.persistence.clock import DatabaseClock
from stepwell.ports.clock import Clock
from stepwell.providers.installed_providers import installed_providers
from stepwell.rules.webhook_secrets import SigningSecrets
from stepwell.settings import LOCAL_INSTANCE, Settings, make_settings
from stepwell.testing.asgi_transport import (
    AsgiApp,
    Message,
    Receive,
    Scope,
    Send,
    StreamingAsgiTransport,
    open_transport,
)
from stepwell.testing.clocks import ManualClock, RunningClock
from stepwell.testing.databases import PostgresServer, open_database
from stepwell.testing.folders import fresh_folder
from stepwell.testing.provider_scripts import ProviderScripts
from stepwell.testing.scripted_providers import NEVER, ScriptedProviders
from stepwell.testing.webhook_receiver import WEBHOOK_SECRET, failure_lookups

T = TypeVar("T")

SECRET = "the secret of a service that runs in a test"  # noqa: S105 - it protects nothing
URL = "http://stepwell.test"
_TOKEN_S = 86_400
_POLL_S = 0.005
_CREATE: Final = "/api/v1/workflows"


class _CreateResponse(Struct):
    warnings: Sequence[DefinitionWarning] = ()


class _WarningRecorder:
    """An ASGI app that passes requests on to *app*, and adds the warnings of each create to `warnings`."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self.warnings: list[DefinitionWarning] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_create = scope.get("method") == "POST" and scope["path"].rstrip("/") == _CREATE
        await self._app(scope, receive, self._recording(send) if is_create else send)

    def _recording(self, send: Send) -> Send:
        body = bytearray()
        created = False

        async def record(message: Message) -> None:
            nonlocal created
            if message["type"] == "http.response.start":
                created = message["status"] == HTTPStatus.CREATED
            elif created:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    self.warnings += json.decode(body, type=_CreateResponse).warnings
            await send(message)

        return record


class RunningStepwell:
    """The service of a test. It is also the ASGI app, to be called by clients of the test's own.

    - `url` and `token` are for other clients; the token may do everything.
    - `client` may do everything; `tenant_client` returns one with a new tenant.
    - `providers` are the scripts and the ledger of all providers.
    - `webhook_secret` is the secret that signs webhooks.
    - `warnings` are those of all creates. The pytest plugin empties the list before each test.
    """

    client: AsyncStepwell

    def __init__(
        self,
        app: Service,
        recorder: _WarningRecorder,
        settings: Settings,
        providers: ScriptedProviders,
        clock: Clock,
        transport: StreamingAsgiTransport,
        stack: AsyncExitStack,
    ) -> None:
        self._recorder, self._settings, self._clock, self._stack = recorder, settings, clock, stack
        self._loop = asyncio.get_running_loop()
        self.warnings = recorder.warnings
        self._scripted, self._scheduler = providers, app.engine.scheduler
        self.transport = transport
        self.providers = providers.scripts
        self.url = settings.base_url
        self.token = self.token_for(None)
        self.webhook_secret = settings.webhook_secret[0]
        if isinstance(clock, ManualClock):
            clock.on_advance(self._shorten_deadlines)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._recorder(scope, receive, send)

    @property
    def clock(self) -> ManualClock:
        """The clock of the service, to be moved. Raises RuntimeError on PostgreSQL, which has the real time."""
        if not isinstance(self._clock, ManualClock):
            message = "the clock of PostgreSQL can't be moved: use the database in memory"
            raise RuntimeError(message)  # noqa: TRY004 - it isn't about a type
        return self._clock

    def token_for(self, tenant: str | None, *, read_only: bool = False) -> str:
        """Return a token of *tenant*; None stands for every tenant."""
        permissions = READ_PERMISSIONS if read_only else DEFAULT_PERMISSIONS
        return sign_token(
            SECRET,
            self._settings.jwt_algorithm,
            self._settings.jwt_issuer,
            self._settings.jwt_audience,
            subject="test",
            tenant=tenant,
            every=tenant is None,
            permissions=permissions,
            expires_s=_TOKEN_S,
            now=DatabaseClock().now(),  # tokens are checked by the real time
        )

    async def client_for(self, token: str) -> AsyncStepwell:
        """Return a client with *token*, which is closed with the service."""
        return await self._stack.enter_async_context(AsyncStepwell(self.url, token=token, transport=self.transport))

    async def tenant_client(self, tenant: str | None = None) -> AsyncStepwell:
        """Return a client of *tenant*; without one, of a new tenant, for which there is nothing in the service."""
        return await self.client_for(self.token_for(tenant or f"tenant-{uuid4().hex}"))

    async def finish(self, workflow_id: UUID | str, *, within_s: float = 30.0) -> WorkflowPublic:
        """Return the workflow once it has ended. Retries and scripted answers take no time, nor does the `timeout_s` of
        a step that waits for one.

        The clock moves whenever everything that runs in the workflow waits for it. On PostgreSQL the clock can't be
        moved: there only the delays of answers take no time. Raises TimeoutError after *within_s* seconds of real time.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    workflow = await self.client.get(workflow_id)
                    if workflow.status in TERMINAL_STATUSES:
                        return workflow
                    if not isinstance(self._clock, ManualClock):
                        self._scripted.end_delays(workflow.id)
                    elif (due := self._next_due(workflow)) is not None:
                        self._clock.advance(max((due - self._clock.now()).total_seconds(), 0.0))
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            workflow = await self.client.get(workflow_id)
            steps = ", ".join(f"{step.step_id} {step.status}" for step in workflow.steps or ())
            raise TimeoutError(f"the workflow is {workflow.status} after {within_s:g} s: {steps}") from None

    async def failure_of(self, workflow_id: UUID | None, url: str) -> str | None:
        """Return the error of a workflow that has FAILED, if none of its webhooks is still to come; None otherwise.

        Without *workflow_id*, it is about all workflows whose webhooks go to *url*: all have ended, and one has FAILED.
        The event loop of another thread may call this, too.
        """
        asked = self._failure_of(workflow_id, url)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, self._loop))

    async def _failure_of(self, workflow_id: UUID | None, url: str) -> str | None:
        if workflow_id is None:
            every = self.client.list(include_steps=False, include_results=False)
            found = [each async for each in every if (each.webhook_url or "").startswith(url)]
        else:
            found = []
            with suppress(NotFound):  # it may be one of another service
                found = [await self.client.get(workflow_id, include_steps=False)]
        failed = [each for each in found if each.status is WorkflowStatus.FAILED]
        if not failed or any(each.status not in TERMINAL_STATUSES for each in found):
            return None
        for workflow in found:
            async for delivery in self.client.deliveries(workflow.id):
                if delivery.status is DeliveryStatus.PENDING:
                    return None
        return f"workflow {failed[0].id} has FAILED: {failed[0].error_message}"

    def _next_due(self, workflow: WorkflowPublic) -> datetime | None:
        """Return when the clock continues the workflow; None if something of it runs without the clock."""
        answers, due = self._scripted.due_times(workflow.id), NEVER
        for step in workflow.steps or ():
            if step.status is StepStatus.RUNNING:
                at = step.next_attempt_at or answers.get(step.step_id)
                if at is None:
                    return None
                due = min(due, at, self._deadline(workflow.id, step.task_id))
        return None if due == NEVER else due

    def _deadline(self, workflow_id: UUID, task_id: str | None) -> datetime:
        """Return when the time of the attempt is up."""
        attempt = None if task_id is None else self._scheduler.leaving.attempts_of(workflow_id).get(UUID(task_id))
        if attempt is None or attempt.control is None or attempt.control.seconds_left == math.inf:
            return NEVER
        return self._clock.now() + timedelta(seconds=attempt.control.seconds_left)

    def _shorten_deadlines(self, seconds: float) -> None:
        """Let the times of the attempts that run now pass with the clock."""
        for workflow in self._scheduler.workflows.values():
            for attempt in workflow.attempts.values():
                if attempt.control is not None:
                    attempt.control.shorten_deadlines(seconds)


@asynccontextmanager
async def running(
    *, database: str | DatabaseSource = "memory", clock: ManualClock | None = None, **settings: Any
) -> AsyncIterator[RunningStepwell]:
    """Run the whole service in the running event loop. It starts with nothing stored and nothing scripted.

    *database* is "memory", the URL of a PostgreSQL database, or a `DatabaseSource`. *clock* is for a clock that stands
    still, `ManualClock`; the default runs, and can be moved as well. *settings* are fields of
    `all_settings.Settings`. Settings of the environment have no effect.

    LOCAL does its real work, and so does what packages bring that works in-process. All other providers are scripted,
    and a step whose answer isn't scripted fails. Files are in a temporary folder, which is deleted at the end.

    Enter and leave the context in one asyncio task.
    """
    async with AsyncExitStack() as stack:
        source, manual_clock = await open_database(database, clock)
        if isinstance(manual_clock, RunningClock):
            stack.callback(manual_clock.stop)
        folder = stack.enter_context(fresh_folder())
        installed = installed_providers()
        chosen = make_settings(installed, **(_defaults(installed) | {"data_dir": folder} | settings))
        providers = ScriptedProviders(ProviderScripts(installed), source.clock)
        app = await stack.enter_async_context(
            running_app(
                chosen, source=source, url_secret=SECRET.encode(), exclusive=True, adapt_provider=providers.adapt
            )
        )
        recorder = _WarningRecorder(cast("AsgiApp", app.api))
        transport = await stack.enter_async_context(open_transport(recorder))
        clients = await stack.enter_async_context(AsyncExitStack())
        service = RunningStepwell(app, recorder, chosen, providers, source.clock, transport, clients)
        service.client = await service.client_for(service.token)
        failure_lookups.append(service.failure_of)
        stack.callback(failure_lookups.remove, service.failure_of)
        yield service


@asynccontextmanager
async def running_on(postgres: PostgresServer | None, settings: Mapping[str, Any]) -> AsyncIterator[RunningStepwell]:
    """Run the service on a new database of the server *postgres*; None is the database in memory."""
    async with AsyncExitStack() as stack:
        database: str | DatabaseSource = "memory"
        if postgres is not None:
            database = await stack.enter_async_context(postgres.fresh_database())
        yield await stack.enter_async_context(running(database=database, **settings))


@asynccontextmanager
async def in_one_task(context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave *context* in one asyncio task, so that the caller may enter and leave it in two.

    pytest-asyncio runs the two halves of a fixture in two of them, and cancel scopes and task groups don't allow that.
    """
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def host() -> None:
        async with context as value:
            entered.set_result(value)
            await leave.wait()

    asyncio_task = asyncio.create_task(host(), name="stepwell")  # noqa: TID251 - a task group would be entered in one, too
    try:
        either: set[asyncio.Future[Any]] = {asyncio_task, entered}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not entered.done():
            await asyncio_task  # raises its error
        yield entered.result()
    finally:
        leave.set()
        await asyncio_task


def _defaults(installed: InstalledProviders) -> dict[str, Any]:
    by_url = [each.name.lower() for each in installed.values() if each.configured_by is ConfiguredBy.URL]
    # No request is sent with them.
    others = [name.lower() for name in installed if name != ProviderType.LOCAL and name.lower() not in by_url]
    credentials = dict.fromkeys(others, "a key of a test")
    return {f"{name}_url": f"http://{name}.test" for name in by_url} | {
        "jwt_secret": SECRET,
        "public_url": URL,
        "default_provider": ProviderType.LOCAL,
        "origin_instance": LOCAL_INSTANCE,
        "webhook_secret": SigningSecrets((WEBHOOK_SECRET,)),
        "credentials": Secrets(credentials),
        # Receivers of webhooks and the files of a test are on this machine.
        "allowed_cidrs": Networks.read("127.0.0.0/8 ::1/128"),
        # Attempts that still run when the test ends are cancelled.
        "grace_s": 0.2,
        "database_pool": 4,
    }
