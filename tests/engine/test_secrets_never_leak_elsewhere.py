"""Secrets never appear anywhere, with providers that answer synchronously, and with ComfyUI behind a proxy with a key.

Their errors quote all that they were sent.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.test_secrets_never_leak import Watch, echo
from stepwell.basics.setting_values import Secrets
from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.emulators import google, openai
from support.emulators.base import Fault, Reply
from support.providers.emulated import World, world_of
from support.service.live_service import running_service

TOKEN = "canary-of-the-proxy-81d2"
KINDS = (ProviderType.OPENAI, ProviderType.GEMINI, ProviderType.VERTEX, ProviderType.COMFYUI)


def secrets_of(world: World) -> list[str]:
    """Return the secrets, or parts of them, that must not appear."""
    match world.kind:
        case ProviderType.OPENAI:
            return [openai.KEY]
        case ProviderType.GEMINI:
            return [google.KEY]
        case ProviderType.VERTEX:
            return ["BEGIN PRIVATE KEY", *world.emulator.issued]
        case _:
            return [TOKEN]


def echoing(world: World, secret: str) -> Callable[..., Reply]:
    original = world.emulator.error

    def error(status: int, message: str, *rest: Any, **more: Any) -> Reply:
        calls = world.emulator.calls
        reply: Reply = original(status, f"{message}: {echo(calls[-1], secret)}" if calls else message, *rest, **more)
        return reply

    return error


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> ProviderType:
    found: ProviderType = request.param
    return found


@pytest.mark.usefixtures("debug_logging")
async def test_no_failed_call_leaks_a_secret(
    kind: ProviderType, memory: MemoryDatabase, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with world_of(kind, tmp_path / "emulator") as world:
        settings = world.settings
        if kind is ProviderType.COMFYUI:
            world.emulator.token = TOKEN
            settings["credentials"] = Secrets({"comfyui": TOKEN})
        (secret,) = settings["credentials"].values()
        world.emulator.error = echoing(world, secret)
        async with running_service(memory, tmp_path / "data", log_level="debug", **settings) as service:
            watch = Watch(service, memory, {kind: world.emulator}, tmp_path / "data")
            hooks = service.client.event_hooks
            service.client.event_hooks = {**hooks, "response": [*hooks["response"], watch.record]}
            await watch.run(kind)
            for fault in (Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN):
                world.emulator.plan("submit", fault)
                await watch.run(kind)
            world.emulator.plan("submit", Fault.REFUSED)
            await watch.run(kind, fails="this can't be done")
            world.emulator.always("submit", Fault.BROKEN)
            await watch.run(kind, fails="something broke", max_retries=1)
            await watch.request_everything()
            rows = watch.rows()
            logs = capfd.readouterr().err
            for part in secrets_of(world):
                assert part not in logs
                assert [table for table, text in rows.items() if part in text] == []
                assert [response for response in watch.responses if part in response] == []
