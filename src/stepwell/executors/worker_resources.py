"""What attempts need on a worker: the artifact store, the providers, the result backend, and HTTP clients.

A worker has no database. What belongs to a tenant is in the message of the attempt.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from msgspec import Struct
from redis.asyncio import Redis

from stepwell.app.attempts import open_clients
from stepwell.artifacts.store_setup import Storage, open_storage
from stepwell.domain.errors import AttemptError
from stepwell.executors.machine_memory import MachineMemory
from stepwell.memory import MemoryGovernor, default_max_bytes
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.ports.providers import WorkWeight
from stepwell.providers.celery.job_records import JobRecords
from stepwell.providers.factory import build_providers, local_memory
from stepwell.providers.registry import Registry
from stepwell.settings import Settings

_ANSWER_S = 5.0


class WorkerResources(Struct, frozen=True):
    """The open resources of one worker process. `max_memory` is in bytes, for LOCAL's work."""

    settings: Settings
    storage: Storage
    registry: Registry
    records: JobRecords
    memory: MemoryGovernor
    max_memory: int
    inputs_client: httpx.AsyncClient
    downloads: HttpOutputDownloader


class MessageArtifacts:
    """Implements `attempt_io.ArtifactUrls` with the *sizes* of the tenant's artifacts in the message of an attempt."""

    def __init__(self, sizes: Mapping[str, int], storage: Storage) -> None:
        self._sizes, self._sign_at_bucket = sizes, storage.sign_url
        self.public = storage.sign_url is not None

    async def size_of(self, path: str, _tenant: str | None) -> int | None:
        return self._sizes.get(path)

    async def url(self, path: str) -> str:
        if self._sign_at_bucket is None:
            raise AttemptError("a worker makes URLs of artifacts only if they are in a bucket", retryable=False)
        return await self._sign_at_bucket(path)


class WorkerMemory:
    """Implements `attempt_io.WorkerTurns` with the memory of this machine."""

    def __init__(self, max_memory: int) -> None:
        self._max_memory, self._machine = max_memory, MachineMemory(max_memory)

    @asynccontextmanager
    async def worker(self, weight: WorkWeight) -> AsyncIterator[None]:
        weight.check_fits(self._max_memory)
        async with self._machine.reserved(weight.memory):
            yield

    def charge(self, cost: float) -> None:
        """Nobody is charged: the order of the attempts is that of the queue."""


async def open_resources(settings: Settings, stack: AsyncExitStack) -> WorkerResources:
    """Open the resources. *stack* closes them. Raises `StorageRefused` and OSError."""
    storage = await open_storage(settings)
    clients = open_clients(settings, stack)
    registry = Registry(build_providers(settings, clients.trusted))
    stack.callback(registry.close)
    assert settings.result_backend is not None
    redis = Redis.from_url(settings.result_backend, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S)
    stack.push_async_callback(redis.aclose)
    return WorkerResources(
        settings=settings,
        storage=storage,
        registry=registry,
        records=JobRecords(redis),
        memory=MemoryGovernor(settings.memory_max_bytes or default_max_bytes()),
        max_memory=local_memory(settings),
        inputs_client=clients.inputs,
        downloads=HttpOutputDownloader(
            clients.outputs, max_bytes=settings.output_max_bytes, timeout_s=settings.output_timeout_s
        ),
    )
