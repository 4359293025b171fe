"""Each provider with its emulator: what a test needs to have the service work with it over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, fields

from stepwell.contract.enums import ProviderType
from stepwell.settings import Settings
from support.emulators import fal, google, openai, replicate
from support.emulators.base import Emulator
from support.emulators.comfyui import ComfyUiEmulator
from support.emulators.comfyui_graphs import graph_for
from support.emulators.custom import CustomEmulator, CustomJob
from support.service.installed_settings import read_settings

LOOPBACK = "127.0.0.0/8"
SECRET = "a secret of the custom worker"
# What these have taken can be found again.
REMOTE = (ProviderType.FAL, ProviderType.REPLICATE, ProviderType.CUSTOM, ProviderType.COMFYUI)
# These answer with the work itself, and keep no list: what is lost on its way stays lost.
ANSWERING = (ProviderType.OPENAI, ProviderType.GEMINI, ProviderType.VERTEX)
_EMULATORS: Mapping[ProviderType, Callable[[Path], Emulator]] = {
    ProviderType.FAL: fal.FalEmulator,
    ProviderType.REPLICATE: replicate.ReplicateEmulator,
    ProviderType.CUSTOM: lambda folder: CustomEmulator(folder, secret=SECRET),
    ProviderType.COMFYUI: ComfyUiEmulator,
    ProviderType.OPENAI: openai.OpenAiEmulator,
    ProviderType.GEMINI: google.GeminiEmulator,
    ProviderType.VERTEX: google.VertexEmulator,
}
_KEYS = {
    ProviderType.FAL: fal.KEY,
    ProviderType.REPLICATE: replicate.TOKEN,
    ProviderType.CUSTOM: SECRET,
    ProviderType.OPENAI: openai.KEY,
    ProviderType.GEMINI: google.KEY,
}


class World:
    """An emulator, and the settings with which the service uses it."""

    def __init__(self, kind: ProviderType, emulator: Any) -> None:
        self.kind, self.emulator = kind, emulator
        self._loop = asyncio.get_running_loop()

    @property
    def environment(self) -> dict[str, str]:
        """For a service in a process of its own."""
        kind, url = self.kind, self.emulator.url
        made = {
            f"STEPWELL_{kind}_URL": self.emulator.base if kind is ProviderType.OPENAI else url,
            "STEPWELL_ALLOWED_CIDRS": LOOPBACK,
            "STEPWELL_POLL_INTERVAL_S": "0.02",
            "STEPWELL_RECONCILE_S": "0",
        }
        key = google.service_account(url) if kind is ProviderType.VERTEX else _KEYS.get(kind)
        return made if key is None else made | {f"STEPWELL_CREDENTIALS__{kind}": key}

    @property
    def settings(self) -> dict[str, Any]:
        """For a service in the test's own loop."""
        return settings_of(self.environment)

    async def cut(self) -> None:
        """All connections that wait for an answer are cut off."""
        for asyncio_task in list(self.emulator.open_requests):
            asyncio_task.cancel()
        await asyncio.sleep(0)

    def hold(self, *, held: bool = True) -> None:
        """While held nothing ends at the provider."""
        self.emulator.held = held

    def finish_all(self) -> None:
        """All jobs end now, and their callbacks are sent. From another thread than the emulator's."""
        for job_id, _, _ in self.emulator.ledger.jobs():
            asyncio.run_coroutine_threadsafe(self.emulator.finish(job_id), self._loop)

    def end_job(self, job: CustomJob, status: str) -> None:
        """A job of CUSTOM ends now with *status*, and its callback is sent. From another thread than the emulator's."""
        if not job.is_ended:
            job.status = status
        asyncio.run_coroutine_threadsafe(self.emulator.finish(job.id), self._loop)

    def step(self, step_id: str = "draw", **members: Any) -> dict[str, Any]:
        return remote_step(self.kind, step_id, **members)

    def accepted(self) -> list[int]:
        """How many jobs were taken for each thing that was asked for."""
        return sorted(self.emulator.ledger.keys().values())


def settings_of(environment: Mapping[str, str]) -> dict[str, Any]:
    read = read_settings(environment)
    named = {f.name for f in fields(Settings) if f"STEPWELL_{f.name.upper()}" in environment} | {"credentials"}
    own = {
        f"{provider.lower()}_{field}": value
        for provider, settings in read.providers.items()
        for field, value in asdict(settings).items()
        if value is not None
    }
    return {name: getattr(read, name) for name in named} | own


def provider_config(kind: ProviderType, task_type: str) -> dict[str, Any]:
    """What a step of that type must say to the provider at the least."""
    graph = graph_for(task_type) if kind is ProviderType.COMFYUI else {}
    return {"provider_type": kind} | graph


def remote_step(kind: ProviderType, step_id: str = "draw", **members: Any) -> dict[str, Any]:
    config = {"prompt": f"a picture for {step_id}", "width": 32, "height": 32} | members.pop("config", {})
    provider = provider_config(kind, "GENERATION") | members.pop("provider_config", {})
    return {"id": step_id, "task_type": "GENERATION", "config": config, "provider_config": provider} | members


@asynccontextmanager
async def world_of(kind: ProviderType, folder: Path) -> AsyncIterator[World]:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - in a test
    emulator = _EMULATORS[kind](folder)
    if isinstance(emulator, replicate.ReplicateEmulator):
        emulator.page = 100
    async with emulator:
        yield World(kind, emulator)


@asynccontextmanager
async def worlds_of(kinds: tuple[ProviderType, ...], folder: Path) -> AsyncIterator[list[World]]:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - in a test
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(world_of(kind, folder / kind)) for kind in kinds]
