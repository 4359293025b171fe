"""What the tests of COMFYUI use: attempts, and a provider at an emulator."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from stepwell.contract.enums import TaskType
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import Attempt, AttemptIO, Blob, Job, JobState, JobStatus
from stepwell.providers.comfyui.progress_socket import ProgressSocket
from stepwell.providers.comfyui.provider import ComfyUiProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.comfyui import ComfyUiEmulator, graph_for, picture
from support.providers.attempt_io import TASK, MemoryIO

TOKEN = "a token of the proxy"
SHOE = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/shoe.png"
HAT = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/hat.jpg"
INPUTS: dict[TaskType, dict[str, Any]] = {
    TaskType.GENERATION: {"prompt": "a shoe", "width": 24, "height": 16},
    TaskType.EDITING: {"prompt": "in red", "base_image_url": SHOE, "reference_image_urls": [HAT]},
    TaskType.LLM_INTERACTION: {"prompt": "what is it?"},
}


def task(number: int) -> UUID:
    return UUID(int=TASK.int + number)


def attempt(
    task_type: TaskType = TaskType.GENERATION, config: dict[str, Any] | None = None, *, number: int = 0, **inputs: Any
) -> Attempt:
    """At the emulator's own graph for the type, unless *config* has another."""
    return Attempt(
        task_id=task(number),
        workflow_id=UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0c"),
        tenant=None,
        step_id="step",
        task_type=task_type,
        number=1,
        inputs=inputs or INPUTS.get(task_type, {"base_image_url": SHOE}),
        provider_config=graph_for(task_type) | (config or {}),
        seed=7,
    )


def files() -> MemoryIO:
    jpeg = Blob(picture((4, 4), "JPEG"), "image/jpeg")
    return MemoryIO(inputs={SHOE: Blob(picture((6, 6)), "image/png"), HAT: jpeg})


def provider_at(emulator: ComfyUiEmulator, client: httpx.AsyncClient, **options: Any) -> ComfyUiProvider:
    secrets = {"comfyui_b": "another token"} | ({"ComfyUI": TOKEN} if emulator.token else {})
    return ComfyUiProvider(client, Credentials(secrets), **{"url": emulator.url, "timeout_s": 5.0, **options})


def socket_of(provider: ComfyUiProvider) -> ProgressSocket:
    return provider.server(attempt()).progress_socket


async def submit(provider: ComfyUiProvider, work: Attempt | None = None, io: AttemptIO | None = None) -> Job:
    work, io = work or attempt(), io or files()
    return await provider.submit(work, await provider.prepare(work, io), io)


async def poll_until_ended(provider: ComfyUiProvider, job: Job, work: Attempt | None = None) -> JobState:
    """The state that it ends with."""
    for _ in range(1_000):
        state = await provider.poll(work or attempt(), job)
        if state.status is not JobStatus.RUNNING:
            return state
    raise AssertionError("it goes on and on")


SENT = Sent("graph", "", datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC))
