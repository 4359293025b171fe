"""The service on a real socket, in a thread beside the test's."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import uvicorn

from stepwell.client import Stepwell
from stepwell.contract.workflows import WorkflowPublic
from stepwell.testing.databases import PostgresServer
from stepwell.testing.running_service import RunningStepwell, running_on

T = TypeVar("T")
Started = Future[tuple[RunningStepwell, asyncio.AbstractEventLoop, asyncio.Event]]

_HOST = "127.0.0.1"
_START_S = 60.0
_CALL_S = 120.0


class StepwellServer:
    """A listening service, for any thread and any event loop.

    `token` may do everything; `token_for` and `tenant_client` are for single tenants. `client` is a sync `Stepwell`.
    `providers` are the scripts of the providers. All tests of the session have the same ones: `reset` forgets them.
    `warnings` are those of creates since the test began.
    """

    def __init__(self, service: RunningStepwell, loop: asyncio.AbstractEventLoop, stack: ExitStack) -> None:
        self._service, self._loop, self._stack = service, loop, stack
        self.providers = service.providers
        self.url, self.token, self.webhook_secret = service.url, service.token, service.webhook_secret
        self.warnings = service.warnings
        self.client = self._client_for(self.token)

    def token_for(self, tenant: str | None, *, read_only: bool = False) -> str:
        """Return a token of *tenant*; None stands for every tenant."""
        return self._service.token_for(tenant, read_only=read_only)

    def tenant_client(self, tenant: str | None = None) -> Stepwell:
        """Return a client of *tenant*; without one, of a new tenant."""
        return self._client_for(self.token_for(tenant or f"tenant-{uuid4().hex}"))

    def advance(self, seconds: float) -> None:
        """Move the clock of the service ahead, for all tests."""

        async def advance() -> None:
            self._service.clock.advance(seconds)

        self._call(advance())

    def finish(self, workflow_id: UUID | str, *, within_s: float = 30.0) -> WorkflowPublic:
        """Return the workflow once it has ended, as `RunningStepwell.finish` does."""
        return self._call(self._service.finish(workflow_id, within_s=within_s))

    def _client_for(self, token: str) -> Stepwell:
        return self._stack.enter_context(Stepwell(self.url, token=token))

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_S)


@contextmanager
def running_server(postgres: PostgresServer | None, settings: Mapping[str, Any]) -> Iterator[StepwellServer]:
    """Run the service in a thread, on a free port, on PostgreSQL or in memory."""
    started: Started = Future()
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind((_HOST, 0))
        url = f"http://{_HOST}:{listener.getsockname()[1]}"
        # All tests have the same circuit breakers, and one test's failures aren't another's.
        chosen = {"public_url": url, "breaker_failures": 0} | dict(settings)
        arguments = (postgres, chosen, listener, started)
        thread = threading.Thread(target=_run, args=arguments, name="stepwell", daemon=True)
        thread.start()
        try:
            service, loop, leave = started.result(_START_S)
            try:
                yield StepwellServer(service, loop, stack)
            finally:
                stack.close()
                loop.call_soon_threadsafe(leave.set)
        finally:
            thread.join(_START_S)


def _run(
    postgres: PostgresServer | None, settings: Mapping[str, Any], listener: socket.socket, started: Started
) -> None:
    """Run the service until the event of *started* is set. A failure to start becomes the error of *started*."""

    async def main() -> None:
        leave = asyncio.Event()
        async with running_on(postgres, settings) as service, _listening(service, listener):
            started.set_result((service, asyncio.get_running_loop(), leave))
            await leave.wait()

    try:
        asyncio.run(main())
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.opened = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to pytest."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.opened.set()


@asynccontextmanager
async def _listening(service: RunningStepwell, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        cast("Any", service),
        lifespan="off",
        log_config=None,
        access_log=False,
        http="httptools",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]), name="http")
        await server.opened.wait()
        try:
            yield
        finally:
            server.should_exit = True
