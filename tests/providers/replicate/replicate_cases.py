"""What the tests of REPLICATE use: attempts, an `AttemptIO` that really downloads, a provider at an emulator."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx
from msgspec import structs

from providers.attempts import attempt
from stepwell.basics.errors import AttemptError
from stepwell.contract.tasks import Output
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.ports.providers import Attempt, Blob, Job, JobState
from stepwell.providers.replicate.provider import ReplicateProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.replicate import TOKEN, ReplicateEmulator
from support.providers.no_child_processes import NoChildProcesses

TASK = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")
VERSION = "a1" * 32
PICTURE_URL = "https://example.com/shoe.png"


class FilesIO(NoChildProcesses):
    """`public`: artifacts have addresses. `stored` are the files by name, `asked` what was said of their types."""

    def __init__(
        self, client: httpx.AsyncClient | None = None, *, public: bool = True, timeout_s: float = 20.0
    ) -> None:
        self._client, self._public, self._timeout_s = client, public, timeout_s
        self.stored: dict[str, bytes] = {}
        self.asked: list[Sequence[str]] = []

    async def fetch(self, reference: str, field: str) -> Blob:
        if not reference.startswith("media/"):
            raise AttemptError(f"{field}: not a reference", retryable=False, provider_fault=False)
        return Blob(b"bytes", "image/png")

    async def link(self, path: str, field: str) -> str | None:
        if "/theirs/" in path:
            raise AttemptError(f"{field}: not found", retryable=False, provider_fault=False)
        return f"https://stepwell.example/{path}?sig=1" if self._public else None

    async def store(self, name: str, data: bytes) -> Output:
        self.stored[name] = data
        return Output(f"media/{TASK}/{name}", len(data), "")

    async def download(self, url: str, name: str, media_types: Sequence[str] = (), **_: Any) -> Output:
        assert self._client is not None
        self.asked.append(media_types)
        downloads = HttpOutputDownloader(self._client, max_bytes=1_000_000, timeout_s=self._timeout_s)
        async with downloads.stream(url, media_types) as chunks:
            return await self.store(name, b"".join([chunk async for chunk in chunks]))


def provider_at(
    emulator: ReplicateEmulator, client: httpx.AsyncClient, *, timeout_s: float = 20.0, **options: Any
) -> ReplicateProvider:
    keys = Credentials({"Replicate": TOKEN, "replicate_b": "r8_other"})
    return ReplicateProvider(client, keys, url=emulator.url, timeout_s=timeout_s, **options)


GENERATED = attempt(config={"model": "me/mine"}, prompt="a shoe", seed=9)


async def submit(provider: ReplicateProvider, work: Attempt = GENERATED) -> Job:
    return await provider.submit(work, await provider.prepare(work, FilesIO()), FilesIO())


async def state_after_polls(provider: ReplicateProvider, job: Job, times: int = 1) -> JobState:
    """The state after that many polls."""
    for _ in range(times - 1):
        await provider.poll(GENERATED, job)
    return await provider.poll(GENERATED, job)


def called_back(work: Attempt, url: str) -> Attempt:
    """The same, with somewhere to tell of the end."""
    return structs.replace(work, callback_url=url)
