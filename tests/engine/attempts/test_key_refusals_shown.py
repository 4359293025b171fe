"""A key that its provider refuses is shown to those who run the service, until the provider accepts it."""

from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from structlog.testing import capture_logs

from stepwell.basics.setting_values import Secrets
from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.emulators.fal import KEY
from support.providers.emulated import world_of
from support.service.live_service import Service, running_service

HINT = "FAL: the key was refused (set STEPWELL_CREDENTIALS__FAL): the submit was answered 401: "


async def fal(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/api/v1/providers")
    assert response.status_code == 200
    [found] = [each for each in response.json()["providers"] if each["provider_type"] == "FAL"]
    return dict(found)


async def run_to_end(service: Service, *steps: dict[str, Any]) -> dict[str, Any]:
    return await service.until_ended((await service.create(*steps))["id"])


async def test_a_refused_key_is_shown_until_a_call_succeeds(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with world_of(ProviderType.FAL, tmp_path / "emulator") as world:
        world.emulator.key = "another key"
        settings = world.settings | {"credentials": Secrets({"fal": KEY, "fal_team_b": "canary-b"})}
        async with running_service(memory, tmp_path / "data", **settings) as service:
            held = [{"name": "fal", "refused_since": None}, {"name": "fal_team_b", "refused_since": None}]
            entry = await fal(service.client)
            assert (entry["credentials"], entry["detail"], world.emulator.calls) == (held, None, [])
            with capture_logs() as logs:
                first = await run_to_end(service, world.step(max_retries=0))
                await run_to_end(service, world.step(max_retries=0))
                await run_to_end(service, world.step(max_retries=0, provider_config={"credential": "FAL_TEAM_B"}))
            assert (first["status"], first["error_message"][: len(HINT) + 6]) == ("FAILED", f"draw: {HINT}")

            entry = await fal(service.client)
            own, team = entry["credentials"]
            assert (own["name"], team["name"]) == ("fal", "fal_team_b")
            assert datetime.fromisoformat(own["refused_since"]) < datetime.fromisoformat(team["refused_since"])
            said = [
                f"key refused since {key['refused_since'][:19]}Z: set STEPWELL_CREDENTIALS__{key['name'].upper()}"
                for key in (own, team)
            ]
            assert entry["detail"] == "; ".join(said)
            assert "canary" not in str(entry)
            assert KEY not in str(entry)
            lines = [line for line in logs if line["event"] == "provider.key_refused"]
            assert [(line["credential"], line["log_level"]) for line in lines] == [
                ("fal", "warning"),
                ("fal_team_b", "warning"),
            ]
            assert "canary" not in str(lines)

            tenants = await fal(service.as_tenant("acme"))
            assert tenants["credentials"] == [own], "names of credentials are for those who may act for all tenants"
            assert tenants["detail"] == said[0]

            world.emulator.key = KEY
            with capture_logs() as logs:
                assert (await run_to_end(service, world.step()))["status"] == "COMPLETED"
                assert (await run_to_end(service, world.step()))["status"] == "COMPLETED"
            entry = await fal(service.client)
            assert entry["credentials"] == [held[0], team]
            assert entry["detail"] == said[1]
            accepted = [line for line in logs if line["event"] == "provider.key_accepted"]
            assert [(line["credential"], line["log_level"]) for line in accepted] == [("fal", "info")]
