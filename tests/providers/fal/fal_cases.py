"""FAL and its emulator side by side, and attempts for it: what its tests use."""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from providers.image_files import TASK
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.basics.strict_json.canonical import digest
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Output
from stepwell.lifecycle.model import Sent
from stepwell.outbound.http_client import plain_client
from stepwell.ports.providers import Attempt, Blob, Finished, Job, JobStatus, Request
from stepwell.providers.fal.provider import FalProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Emulator, Fault, Reply
from support.emulators.fal import KEY, FalEmulator
from support.providers.no_child_processes import NoChildProcesses
from support.providers.outputs import check_outputs

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
FLUX = "fal-ai/flux-lora"
PICTURE = "https://pictures.example/a.png"
NO_ANSWER = [
    Fault.LOSE_BEFORE,
    Fault.LOSE_AFTER,
    Fault.HANG_AFTER,
    Fault.DRIP_AFTER,
    Fault.GARBAGE_AFTER,
    Fault.TRUNCATE_AFTER,
    Fault.HUGE_AFTER,
    Fault.BUSY,
    Fault.UNAVAILABLE,
    Fault.BROKEN,
    Fault.GATEWAY_BEFORE,
    Fault.GATEWAY_AFTER,
]


class FilesIO(NoChildProcesses):
    """An `AttemptIO` that downloads from the emulator; artifacts are linked if *links*, else they have bytes."""

    def __init__(self, client: httpx.AsyncClient | None = None, *, links: bool = False) -> None:
        self.stored: dict[str, bytes] = {}
        self.downloads: list[tuple[str, str, tuple[str, ...]]] = []
        self._client, self._links = client, links

    async def fetch(self, reference: str, field: str) -> Blob:
        if reference.startswith("data:"):
            return Blob(base64.b64decode(reference.partition(",")[2]), "image/png")
        if not reference.startswith("media/"):
            raise AttemptError(f"{field}: refused", retryable=False, provider_fault=False)
        return Blob(reference.encode(), "" if reference.endswith(".bin") else "image/png")

    async def link(self, path: str, field: str) -> str | None:  # noqa: ARG002 - the port's
        return f"https://stepwell.example/{path}?signed" if self._links else None

    async def store(self, name: str, data: bytes) -> Output:
        self.stored[name] = data
        return Output(f"media/{TASK}/{name}", len(data), "0" * 64)

    async def download(self, url: str, name: str, media_types: Sequence[str] = (), **_: Any) -> Output:
        assert self._client is not None
        self.downloads.append((url, name, tuple(media_types)))
        try:
            response = await self._client.get(url)
        except httpx.InvalidURL as error:
            raise AttemptError("no such address", retryable=False) from error
        except httpx.HTTPError as error:
            raise CallFailed(f"no file ({type(error).__name__})") from error
        if response.is_server_error or response.status_code == 429:
            raise CallFailed(f"the file was answered {response.status_code}")
        if response.is_error or not response.headers.get("content-type", "").startswith(tuple(media_types)):
            raise AttemptError("no such file", retryable=False)
        return await self.store(name, response.content)


def attempt(
    task_type: TaskType = TaskType.GENERATION,
    provider_config: dict[str, Any] | None = None,
    callback_url: str | None = None,
    **inputs: Any,
) -> Attempt:
    return Attempt(
        task_id=TASK,
        workflow_id=uuid4(),
        tenant=None,
        step_id="step",
        task_type=task_type,
        number=1,
        inputs=inputs,
        provider_config=provider_config or {},
        seed=5,
        callback_url=callback_url,
    )


class Bench:
    def __init__(self, fal: FalEmulator, client: httpx.AsyncClient) -> None:
        self.fal, self.client = fal, client
        self.io = FilesIO(client)
        self.work = attempt(prompt="a shoe", width=40, height=30)

    def provider(self, *, key: str = KEY, **settings: Any) -> FalProvider:
        usual: dict[str, Any] = {"url": self.fal.url, "api_url": self.fal.url, "timeout_s": 10.0}
        return FalProvider(self.client, Credentials({"FAL": key}), **usual | settings)

    async def submitted(self, work: Attempt | None = None) -> Job:
        work = work or self.work
        request = await self.provider().prepare(work, self.io)
        job = await self.provider().submit(work, request, self.io)
        assert isinstance(job, Job)
        return job

    async def ended(self, work: Attempt | None = None) -> Finished:
        work = work or self.work
        job = await self.submitted(work)
        assert (await self.provider().poll(work, job)).status is JobStatus.SUCCEEDED
        finished = await self.provider().fetch(work, job, self.io)
        check_outputs(ProviderType.FAL, work.task_type, finished.result)
        return finished

    def sent(self, body: Mapping[str, Any], model: str = FLUX, at: datetime | None = None) -> Sent:
        return Sent(model, digest(body), at or NOW)


@asynccontextmanager
async def fal_bench(folder: Path) -> AsyncIterator[Bench]:
    async with FalEmulator(folder, now=lambda: NOW) as fal, plain_client() as client:
        yield Bench(fal, client)


async def prepare(work: Attempt, *, links: bool = False) -> Request:
    async with plain_client() as client:
        return await FalProvider(client, Credentials({"fal": KEY})).prepare(work, FilesIO(links=links))


def answer_with(monkeypatch: pytest.MonkeyPatch, body: Any, status: int = 200, **headers: str) -> None:
    """Whatever is asked, the emulator gives this; an underscore in the name of a header is a dash."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(self: Emulator, call: Any) -> Any:
        return Reply(status, body, dict(named))

    monkeypatch.setattr(FalEmulator, "answer", answer)
