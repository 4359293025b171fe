"""As `test_canary`, for the providers that answer with the work itself, and for ComfyUI behind a proxy with a key: they
say back all that they were sent, and it shows nowhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.test_secrets_never_leak import Watch, echo
from stepwell.contract.enums import ProviderType
from stepwell.settings import Secrets
from support.emulators import google, openai
from support.emulators.base import Fault, Reply
from support.providers.emulated import World, world_of
from support.service.live_service import running_service

TOKEN = "canary-of-the-proxy-81d2"
KINDS = (ProviderType.OPENAI, ProviderType.GEMINI, ProviderType.VERTEX, ProviderType.COMFYUI)


def secrets_of(world: World) -> list[str]:
    """What must not show: whole, and in parts that tell as much."""
    match world.kind:
        case ProviderType.OPENAI:
            return [openai.KEY]
        case ProviderType.GEMINI:
            return [google.KEY]
        case ProviderType.VERTEX:
            return ["BEGIN PRIVATE KEY", *world.emulator.issued]
        case _:
            return [TOKEN]


def loud(world: World, secret: str) -> Callable[..., Reply]:
    usual = world.emulator.error

    def error(status: int, message: str, *rest: Any, **more: Any) -> Reply:
        calls = world.emulator.calls
        made: Reply = usual(status, f"{message}: {echo(calls[-1], secret)}" if calls else message, *rest, **more)
        return made

    return error


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> ProviderType:
    found: ProviderType = request.param
    return found


@pytest.mark.usefixtures("debug_logging")
async def test_no_failure_shows_a_secret(
    kind: ProviderType, dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with world_of(kind, tmp_path / "emulator") as world:
        settings = world.settings
        if kind is ProviderType.COMFYUI:
            world.emulator.token = TOKEN
            settings["credentials"] = Secrets({"comfyui": TOKEN})
        (secret,) = settings["credentials"].values()
        world.emulator.error = loud(world, secret)
        async with running_service(dsn, tmp_path / "data", log_level="debug", **settings) as service:
            watch = Watch(service, {kind: world.emulator}, tmp_path / "data")
            hooks = service.client.event_hooks
            service.client.event_hooks = {**hooks, "response": [*hooks["response"], watch.note]}
            await watch.run(kind)
            for fault in (Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN):
                world.emulator.plan("submit", fault)
                await watch.run(kind)
            world.emulator.plan("submit", Fault.REFUSED)
            await watch.run(kind, fails="this can't be done")
            world.emulator.always("submit", Fault.BROKEN)
            await watch.run(kind, fails="something broke", max_retries=1)
            await watch.asked()
            rows = await watch.rows()
            logs = capfd.readouterr().err
            for part in secrets_of(world):
                assert part not in logs
                assert [table for table, text in rows.items() if part in text] == []
                assert [answer for answer in watch.answers if part in answer] == []
