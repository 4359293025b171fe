"""Each remote provider with its emulator: what a test needs to have the service work with it over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stepwell.domain.model import ProviderType
from stepwell.settings import Networks, Secrets
from support.custom_emulator import CustomEmulator
from support.emulator import Emulator
from support.fal_emulator import KEY, FalEmulator
from support.replicate_emulator import TOKEN, ReplicateEmulator

LOOPBACK = "127.0.0.0/8"
SECRET = "a secret of the custom worker"
REMOTE = (ProviderType.FAL, ProviderType.REPLICATE, ProviderType.CUSTOM)


class World:
    """An emulator, and the settings with which the service uses it."""

    def __init__(self, kind: ProviderType, emulator: Any) -> None:
        self.kind, self.emulator = kind, emulator
        self._loop = asyncio.get_running_loop()

    @property
    def environment(self) -> dict[str, str]:
        """For a service in a process of its own."""
        secret = {ProviderType.FAL: KEY, ProviderType.REPLICATE: TOKEN, ProviderType.CUSTOM: SECRET}[self.kind]
        return {
            f"STEPWELL_{self.kind}_URL": self.emulator.url,
            f"STEPWELL_CREDENTIALS__{self.kind}": secret,
            "STEPWELL_ALLOWED_CIDRS": LOOPBACK,
            "STEPWELL_POLL_INTERVAL_S": "0.02",
            "STEPWELL_RECONCILE_S": "0",
        }

    @property
    def settings(self) -> dict[str, Any]:
        """For a service in the test's own loop."""
        (credential,) = [name for name in self.environment if "CREDENTIALS" in name]
        return {
            f"{self.kind.lower()}_url": self.emulator.url,
            "credentials": Secrets({self.kind.lower(): self.environment[credential]}),
            "allowed_cidrs": Networks.read(LOOPBACK),
            "poll_interval_s": 0.02,
            "reconcile_s": 0.0,
        }

    async def cut(self) -> None:
        """All connections that wait for an answer are cut off."""
        for task in list(self.emulator._open):
            task.cancel()
        await asyncio.sleep(0)

    def hold(self, *, held: bool = True) -> None:
        """While held nothing ends at the provider."""
        self.emulator.held = held

    def finish_all(self) -> None:
        """All jobs end now, and their callbacks are sent. From another thread than the emulator's."""
        for job_id, _, _ in self.emulator.ledger.jobs():
            asyncio.run_coroutine_threadsafe(self.emulator.finish(job_id), self._loop)

    def step(self, step_id: str = "draw", **members: Any) -> dict[str, Any]:
        return remote_step(self.kind, step_id, **members)

    def accepted(self) -> list[int]:
        """How many jobs were taken for each thing that was asked for."""
        return sorted(self.emulator.ledger.keys().values())


def remote_step(kind: ProviderType, step_id: str = "draw", **members: Any) -> dict[str, Any]:
    config = {"prompt": f"a picture for {step_id}", "width": 32, "height": 32} | members.pop("config", {})
    provider = {"provider_type": kind} | members.pop("provider_config", {})
    return {"id": step_id, "task_type": "GENERATION", "config": config, "provider_config": provider} | members


@asynccontextmanager
async def world_of(kind: ProviderType, folder: Path) -> AsyncIterator[World]:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - in a test
    emulator: Emulator
    match kind:
        case ProviderType.FAL:
            emulator = FalEmulator(folder)
        case ProviderType.REPLICATE:
            emulator = ReplicateEmulator(folder)
            emulator.page = 100
        case _:
            emulator = CustomEmulator(folder, secret=SECRET)
    async with emulator:
        yield World(kind, emulator)
