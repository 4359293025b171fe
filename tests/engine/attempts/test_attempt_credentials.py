"""Keys of one provider never reach another, whoever asks for it."""

from pathlib import Path

from stepwell.basics.setting_values import Secrets
from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.providers.emulated import worlds_of
from support.service.live_service import running_service

KEYS = {"openai": "sk-canary", "vertex": "canary of the account", "comfyui_b": "our proxy's"}


async def test_no_step_sends_a_key_to_another_party(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with worlds_of((ProviderType.COMFYUI, ProviderType.OPENAI), tmp_path / "emulators") as (comfy, openai):
        settings = comfy.settings | openai.settings | {"credentials": Secrets(KEYS)}
        async with running_service(memory, tmp_path / "data", **settings) as service:
            for name in ("openai", "OPENAI", "vertex", "openai_gone"):
                config = comfy.step()["provider_config"] | {"credential": name}
                for place, step in (
                    ("provider_config", comfy.step(provider_config={"credential": name})),
                    (
                        "fallback_provider_config",
                        openai.step(fallback_provider_type="COMFYUI", fallback_provider_config=config),
                    ),
                ):
                    body = {"name": "w", "origin_instance": "tests", "steps": [step]}
                    response = await service.client.post("/api/v1/workflows/", json=body)
                    assert response.status_code == 422
                    [fault] = response.json()["detail"]
                    assert fault["loc"] == ["body", "steps", 0, place, "credential"]
                    assert fault["type"] == "credential_of_another_provider"
                    assert "comfyui_" in fault["msg"]
            assert (comfy.emulator.calls, openai.emulator.calls) == ([], [])
            created = await service.create(comfy.step(provider_config={"credential": "ComfyUI_B"}))
            assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
            sent = {call.headers.get("authorization") for call in comfy.emulator.calls}
            assert sent == {"Bearer our proxy's"}
