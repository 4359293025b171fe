"""What the tests of GEMINI and VERTEX use: attempts, pictures to work on, and either provider at its emulator."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from providers.attempts import attempt
from stepwell.contract.enums import TaskType
from stepwell.lifecycle.model import Sent
from stepwell.outbound.http_client import plain_client
from stepwell.ports.providers import Attempt, Blob, Finished, Job, Request
from stepwell.providers.google.gemini import GeminiProvider
from stepwell.providers.google.provider import GoogleProvider
from stepwell.providers.google.vertex import VertexProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Fault
from support.emulators.google import KEY, GeminiEmulator, VertexEmulator, picture, service_account
from support.providers.attempt_io import MemoryIO
from support.providers.outputs import check_outputs

WIDE, TALL = picture(64, 36), picture(36, 64)
INPUTS = {
    "media/t/wide.png": Blob(WIDE, "image/png"),
    "media/t/tall.png": Blob(TALL, ""),
    "media/t/words.txt": Blob(b"words", "text/plain"),
    "media/t/noise.bin": Blob(b"noise", "application/octet-stream"),
}
BASE = "media/t/wide.png"
SENT = Sent("gemini-3.8-flash", "0" * 64, datetime(2026, 1, 1, tzinfo=UTC))
UNKNOWN = [
    Fault.LOSE_BEFORE,
    Fault.LOSE_AFTER,
    Fault.GARBAGE_AFTER,
    Fault.TRUNCATE_AFTER,
    Fault.HUGE_AFTER,
    Fault.GATEWAY_BEFORE,
    Fault.GATEWAY_AFTER,
]
PASSING = [Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN]


DRAWING = attempt(prompt="a shoe")
TALK = attempt(TaskType.LLM_INTERACTION, prompt="say it")
VIDEO = attempt(TaskType.VIDEO_GENERATION, prompt="it turns", base_image_url=BASE)
VEO = attempt(TaskType.VIDEO_GENERATION, {"model": "veo-3.1-generate-001"}, prompt="it turns", base_image_url=BASE)


class Bench:
    """A provider, `at` its emulator."""

    def __init__(self, at: GeminiEmulator | VertexEmulator, client: httpx.AsyncClient) -> None:
        self.at, self.client = at, client
        self.io = MemoryIO(client, inputs=dict(INPUTS))
        self.secret = KEY if isinstance(at, GeminiEmulator) else service_account(at.url)
        self._usual: GoogleProvider | None = None

    def provider(self, **options: Any) -> GoogleProvider:
        """The same each time, but for one with *options*."""
        if options:
            return self._made(**options)
        self._usual = self._usual or self._made()
        return self._usual

    def _made(self, secret: str | None = None, **options: Any) -> GoogleProvider:
        credentials = Credentials({"gemini": secret or self.secret, "vertex": secret or self.secret})
        usual: dict[str, Any] = {"url": self.at.url, "timeout_s": 5.0, "work_s": 5.0, "max_answer": 1_000_000}
        if isinstance(self.at, GeminiEmulator):
            return GeminiProvider(self.client, credentials, **usual | options)
        return VertexProvider(self.client, credentials, **usual | {"storage_url": self.at.url} | options)

    async def prepared(self, work: Attempt) -> Request:
        return await self.provider().prepare(work, self.io)

    async def answered(self, work: Attempt, **options: Any) -> Job | Finished:
        return await self.provider(**options).submit(work, await self.prepared(work), self.io)

    async def finished(self, work: Attempt, **options: Any) -> dict[str, Any]:
        answer = await self.answered(work, **options)
        assert isinstance(answer, Finished)
        check_outputs(self.provider().type, work.task_type, answer.result)
        return answer.result

    async def job(self, work: Attempt, **options: Any) -> Job:
        answer = await self.answered(work, **options)
        assert isinstance(answer, Job)
        return answer

    def sent(self) -> Any:
        """The body of the last submit."""
        return [call for call in self.at.calls if call.kind == "submit"][-1].json()


@asynccontextmanager
async def gemini_bench(folder: Path) -> AsyncIterator[Bench]:
    async with GeminiEmulator(folder) as at, plain_client() as client:
        yield Bench(at, client)


@asynccontextmanager
async def vertex_bench(folder: Path) -> AsyncIterator[Bench]:
    async with VertexEmulator(folder) as at, plain_client() as client:
        yield Bench(at, client)


def bytes_of(part: Mapping[str, Any]) -> bytes:
    """What a part has inline."""
    return base64.b64decode(part["inlineData"]["data"])
