"""A worker of CUSTOM's emulator, providers for it, and the files of an attempt."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from providers.image_files import TASK, FakeIO
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import TaskType
from stepwell.contract.tasks import Output
from stepwell.lifecycle.model import Sent
from stepwell.outbound.http_client import plain_client
from stepwell.ports.providers import Attempt, Finished, Job
from stepwell.providers.custom.provider import CustomProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.custom import CustomEmulator

SECRET = "a secret that stands nowhere"
SENT = Sent("GENERATION", "0" * 64, datetime(2026, 11, 25, tzinfo=UTC))
PATH = f"media/{TASK}/result.png"
# What may be called again, and the kind of call that the worker sees.
CALLS = {"poll": "poll", "fetch": "poll", "cancel": "cancel", "reconcile": "list"}


class WebIO(FakeIO):
    """With addresses for artifacts, if `links`, and downloads; `kinds` are the media types that were asked for."""

    def __init__(self, inputs: dict[str, bytes] | None = None, *, links: bool = True) -> None:
        super().__init__(inputs)
        self.links = links
        self.kinds: list[tuple[str, ...]] = []
        self.full, self.failures = False, 0

    async def link(self, path: str, field: str) -> str | None:  # noqa: ARG002 - the port's name
        return f"https://stepwell.example.com/{path}?signature=1" if self.links else None

    async def store(self, name: str, data: bytes) -> Output:
        self.failures -= 1
        if self.full or self.failures >= 0:
            raise AttemptError("no space", retryable=True, provider_fault=False)
        return await super().store(name, data)

    async def download(self, url: str, name: str, media_types: Sequence[str] = (), **_: Any) -> Output:
        self.kinds.append(tuple(media_types))
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(url)
        except httpx.HTTPError as error:
            raise CallFailed("lost") from error
        assert not {name for name in answer.request.headers if name.startswith("stepwell-")}
        self.stored[name] = answer.content
        return Output(f"media/{TASK}/{name}", len(answer.content), hashlib.sha256(answer.content).hexdigest())


def attempt(task_id: UUID = TASK, **members: Any) -> Attempt:
    usual: dict[str, Any] = {
        "task_id": task_id,
        "workflow_id": UUID(int=7),
        "tenant": None,
        "step_id": "step 1",
        "task_type": TaskType.GENERATION,
        "number": 2,
        "inputs": {"prompt": "shoe", "width": 64},
        "provider_config": {},
        "seed": 5,
    }
    return Attempt(**usual | members)


class World:
    """A worker, and providers for it. `io` holds what was stored."""

    def __init__(self, worker: CustomEmulator, client: httpx.AsyncClient) -> None:
        self.worker, self.client, self.io = worker, client, WebIO()
        self.provider = self.provider_with()

    def provider_with(self, timeout_s: float = 15.0, url: str | None = None, **secrets: str) -> CustomProvider:
        held = secrets or ({} if self.worker.secret is None else {"custom": self.worker.secret})
        return CustomProvider(self.client, Credentials(held), url=url or self.worker.url, timeout_s=timeout_s)

    async def submit(self, work: Attempt | None = None, provider: CustomProvider | None = None) -> Job | Finished:
        provider, work = provider or self.provider, work or attempt()
        return await provider.submit(work, await provider.prepare(work, self.io), self.io)

    async def job(self, work: Attempt | None = None) -> Job:
        job = await self.submit(work)
        assert isinstance(job, Job)
        return job

    async def call(self, kind: str, job: Job, provider: CustomProvider | None = None) -> object:
        """One of the calls that may be made again."""
        provider, work = provider or self.provider, attempt()
        match kind:
            case "poll":
                return await provider.poll(work, job)
            case "fetch":
                return await provider.fetch(work, job, self.io)
            case "cancel":
                return await provider.cancel(work, job)
            case _:
                return await provider.reconcile(work, SENT)


@asynccontextmanager
async def running_world(folder: Path, secret: str | None) -> AsyncIterator[World]:
    async with CustomEmulator(folder, secret=secret) as worker, plain_client() as client:
        yield World(worker, client)
