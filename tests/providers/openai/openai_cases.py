"""What the tests of OPENAI use: attempts, pictures, a provider at an emulator."""

from datetime import UTC, datetime
from typing import Any

import httpx
from PIL import Image

from providers.attempts import attempt
from providers.image_files import file_of
from stepwell.contract.enums import TaskType
from stepwell.outbound.http_client import plain_client
from stepwell.ports.providers import Attempt, Blob, Finished, Job, JobState
from stepwell.providers.openai.provider import OpenAiProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.openai import KEY, OpenAiEmulator, multipart
from support.providers.attempt_io import MemoryIO
from support.providers.outputs import check_outputs

BASE, REFERENCE, MASK = "media/x/base.jpg", "media/x/reference.webp", "media/x/mask.png"
PUBLIC, OTHER = "https://api.openai.com/v1", "http://gpu.example:8000/v1"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def mask_file() -> bytes:
    """White on the left, black on the right."""
    picture = Image.new("L", (20, 10), 0)
    picture.paste(255, (0, 0, 10, 10))
    return file_of(picture)


def files() -> dict[str, Blob]:
    """Artifacts by path: pictures, and something that isn't one. Their types are stated wrongly, or not at all."""
    return {
        BASE: Blob(file_of(Image.new("RGB", (40, 20), (9, 9, 9)), "JPEG"), "image/png"),
        REFERENCE: Blob(file_of(Image.new("RGB", (8, 8), (200, 0, 0)), "WEBP"), ""),
        MASK: Blob(mask_file(), "image/png"),
        "media/x/film.mp4": Blob(b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
    }


def io_of(client: httpx.AsyncClient | None = None, *, public: bool = False) -> MemoryIO:
    return MemoryIO(client, inputs=files(), public=public)


def online() -> httpx.AsyncClient:
    """A client for emulators: it doesn't read the certificates of the world."""
    return plain_client(httpx.AsyncHTTPTransport(verify=False))


def offline() -> httpx.AsyncClient:
    """A client for what mustn't call anybody."""
    return httpx.AsyncClient(transport=httpx.MockTransport(nobody))


def nobody(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.method} {request.url}")


def provider_at(emulator: OpenAiEmulator, client: httpx.AsyncClient, **options: Any) -> OpenAiProvider:
    usual: dict[str, Any] = {"url": emulator.base, "timeout_s": 10.0}
    return OpenAiProvider(client, Credentials({"OpenAI": KEY, "openai_b": "sk-other"}), **usual | options)


CHAT = attempt(TaskType.LLM_INTERACTION, prompt="why?")
DRAWING = attempt(prompt="a shoe")
EDIT = attempt(TaskType.EDITING, prompt="make it red", base_image_url=BASE)
VIDEO = attempt(TaskType.VIDEO_GENERATION, prompt="it turns", base_image_url=BASE)


async def submit(provider: OpenAiProvider, work: Attempt, io: MemoryIO | None = None) -> Job | Finished:
    files = io or io_of()
    return await provider.submit(work, await provider.prepare(work, files), files)


async def run_to_end(provider: OpenAiProvider, work: Attempt, io: MemoryIO | None = None) -> dict[str, Any]:
    answer = await submit(provider, work, io)
    assert isinstance(answer, Finished)
    assert answer.cost is None
    check_outputs(provider.type, work.task_type, answer.result)
    return answer.result


async def video_job(provider: OpenAiProvider, work: Attempt = VIDEO) -> Job:
    job = await submit(provider, work)
    assert isinstance(job, Job)
    return job


async def state_after_polls(provider: OpenAiProvider, job: Job, times: int = 1) -> JobState:
    """The state after that many polls."""
    for _ in range(times - 1):
        await provider.poll(VIDEO, job)
    return await provider.poll(VIDEO, job)


async def body(work: Attempt, *, url: str = PUBLIC, public: bool = False) -> dict[str, Any]:
    """What is sent to OpenAI itself, or to another; *public*: our artifacts have addresses."""
    async with offline() as client:
        provider = OpenAiProvider(client, Credentials({"openai": "sk-x"}), url=url)
        request = await provider.prepare(work, io_of(public=public))
    assert request.model == request.body["model"] == provider.model(work.task_type, work.provider_config)
    return dict(request.body)


async def parts_of(provider: OpenAiProvider, emulator: OpenAiEmulator, work: Attempt) -> dict[str, Any]:
    """The form that is sent: its fields as text, its files by name."""
    await submit(provider, work)
    parts = multipart(emulator.calls[-1])
    assert parts is not None
    fields = {part.name: part.data.decode() for part in parts if part.filename is None}
    return fields | {"files": [part for part in parts if part.filename is not None]}
