"""The resources of attempts on a worker: the artifact store, the providers, HTTP clients and the result backend.

A worker has no database. What belongs to a tenant is in the message of the attempt.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct
from redis.asyncio import Redis

from stepwell.app.attempts import HttpClients, open_clients
from stepwell.artifacts.store_setup import Storage, open_storage
from stepwell.basics.errors import AttemptError
from stepwell.basics.tenancy import FileScope
from stepwell.executors.machine_memory import MachineMemory
from stepwell.ports.providers import WorkWeight
from stepwell.providers.celery.job_records import JobRecords
from stepwell.providers.factory import build_providers
from stepwell.providers.local.provider import local_memory
from stepwell.providers.registry import Registry
from stepwell.runtime.memory import MemoryGovernor, default_max_bytes
from stepwell.settings import Settings

_OPEN_S = 60.0


class WorkerResources(Struct, frozen=True):
    """The open resources of one process of a worker. `max_memory` is in bytes, for LOCAL's work."""

    settings: Settings
    storage: Storage
    registry: Registry
    memory: MemoryGovernor
    max_memory: int
    clients: HttpClients


class MessageArtifacts:
    """Implements `attempt_io.ArtifactUrls` with the *sizes* of the tenant's artifacts in the message of an attempt."""

    def __init__(self, sizes: Mapping[str, int], storage: Storage) -> None:
        self._sizes, self._sign_at_bucket = sizes, storage.sign_url
        self.public = storage.sign_url is not None

    async def size_of(self, path: str, _scope: FileScope) -> int | None:
        return self._sizes.get(path)

    async def url(self, path: str) -> str:
        if self._sign_at_bucket is None:
            raise AttemptError("a worker makes URLs of artifacts only if they are in a bucket", retryable=False)
        return await self._sign_at_bucket(path)


class WorkerMemory:
    """Implements `attempt_io.ChildProcessAccess` with the memory of this machine."""

    def __init__(self, max_memory: int) -> None:
        self._max_memory, self._machine = max_memory, MachineMemory(max_memory)

    @asynccontextmanager
    async def child_process(self, weight: WorkWeight) -> AsyncIterator[None]:
        weight.check_fits(self._max_memory)
        async with self._machine.reserved(weight.memory):
            yield

    def charge(self, cost: float) -> None:
        """Nobody is charged: the order of the attempts is that of the queue."""


class SharedResources:
    """The resources of one process of a worker. The first attempt opens them; if that fails, the next tries again."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings, self._stack = settings, stack
        self._resources: WorkerResources | None = None
        self._opening = asyncio.Lock()

    async def get(self) -> WorkerResources:
        """Return the resources. The stack closes them. Raises `StorageRefused`, OSError and what plug-ins raise."""
        async with self._opening:
            if self._resources is None:
                async with _open_in_time(), AsyncExitStack() as own:
                    self._resources = await open_resources(self._settings, own)
                    self._stack.push_async_exit(own.pop_all())
            return self._resources


@asynccontextmanager
async def _open_in_time() -> AsyncIterator[None]:
    deadline = asyncio.timeout(_OPEN_S)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        text = f"the artifact store and the providers didn't open within {_OPEN_S:g} s"
        raise TimeoutError(text) from error


def open_records(settings: Settings, stack: AsyncExitStack) -> JobRecords:
    """Return a client of the result backend, which connects when it is used. *stack* closes it."""
    assert settings.result_backend is not None
    redis = Redis.from_url(
        settings.result_backend, socket_timeout=JobRecords.TIMEOUT_S, socket_connect_timeout=JobRecords.TIMEOUT_S
    )
    stack.push_async_callback(redis.aclose)
    return JobRecords(redis)


async def open_resources(settings: Settings, stack: AsyncExitStack) -> WorkerResources:
    """Open the resources. *stack* closes them. Raises `StorageRefused` and OSError."""
    storage = await open_storage(settings)
    clients = open_clients(settings, stack)
    registry = Registry(build_providers(settings, clients.trusted))
    stack.callback(registry.close)
    return WorkerResources(
        settings=settings,
        storage=storage,
        registry=registry,
        memory=MemoryGovernor(settings.memory_max_bytes or default_max_bytes()),
        max_memory=local_memory(settings),
        clients=clients,
    )
