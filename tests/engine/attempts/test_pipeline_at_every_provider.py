"""One pipeline, from words to a film, at every provider that does all of it, and with each step at another."""

from pathlib import Path
from typing import Any

import pytest

from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.providers.emulated import ANSWERING, REMOTE, provider_config, worlds_of
from support.service.live_service import running_service

EVERYWHERE = (*REMOTE, *ANSWERING)
STEPS = {
    "words": ("LLM_INTERACTION", {"prompt": "describe a red shoe"}, None),
    "draw": ("GENERATION", {"width": 64, "height": 64}, ("words", "result_text", "prompt")),
    "refine": ("REFINE", {"upscale_factor": 2.0}, ("draw", "result_image_path", "base_image_url")),
    "cut": ("BACKGROUND_REMOVE", {}, ("refine", "result_image_path", "base_image_url")),
    "place": ("BACKGROUND_FIX", {"prompt": "a beach"}, ("cut", "result_image_path", "base_image_url")),
    "film": ("VIDEO_GENERATION", {"prompt": "it turns"}, ("place", "result_image_path", "base_image_url")),
}
MIXED = dict(
    zip(
        STEPS,
        (
            ProviderType.OPENAI,
            ProviderType.FAL,
            ProviderType.REPLICATE,
            ProviderType.GEMINI,
            ProviderType.COMFYUI,
            ProviderType.VERTEX,
        ),
        strict=True,
    )
)


def pipeline(at: dict[str, ProviderType]) -> list[dict[str, Any]]:
    made = []
    for step_id, (task_type, config, source) in STEPS.items():
        step = {
            "id": step_id,
            "task_type": task_type,
            "config": config,
            "provider_config": provider_config(at[step_id], task_type),
        }
        if source is not None:
            before, field, to_field = source
            step["depends_on"] = [before]
            step["input_mappings"] = [{"from_step": before, "from_field": field, "to_field": to_field}]
        made.append(step)
    return made


@pytest.mark.parametrize("where", [*EVERYWHERE, "mixed"])
async def test_from_words_to_a_film(where: str, memory: MemoryDatabase, tmp_path: Path) -> None:
    at = MIXED if where == "mixed" else dict.fromkeys(STEPS, ProviderType(where))
    async with worlds_of(tuple(dict.fromkeys(at.values())), tmp_path / "emulators") as worlds:
        settings: dict[str, Any] = {}
        credentials: dict[str, str] = {}
        for world in worlds:
            credentials |= world.settings["credentials"]
            settings |= world.settings
        settings["credentials"] = credentials
        async with running_service(memory, tmp_path / "data", **settings) as service:
            created = await service.create(*pipeline(at))
            done = await service.until_ended(created["id"])
            assert done["status"] == "COMPLETED", done["errors"]
            results = {step["step_id"]: step["result"] for step in done["steps"]}
            assert results["words"]["result_text"]
            for step_id in ("draw", "refine", "cut", "place"):
                picture = await service.client.get(f"/api/v1/artifacts/{results[step_id]['result_image_path']}")
                assert (picture.status_code, picture.headers["content-type"][:6]) == (200, "image/")
            film = await service.client.get(f"/api/v1/artifacts/{results['film']['result_video_path']}")
            assert (film.status_code, len(film.content) > 0) == (200, True)
        accepted = [key for world in worlds for key in world.accepted()]
        assert sum(accepted) == len(STEPS)
