"""What a provider would refuse when a step runs is refused at create, and by plan, before anything is paid for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from stepwell.basics.setting_values import Secrets
from support.database.postgres import TestServer, database
from support.emulators.google import service_account
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDIT: dict[str, Any] = {
    "id": "a",
    "task_type": "EDITING",
    "config": {"base_image_url": "https://example.com/x.png", "prompt": "x"},
}
DRAW = {"id": "a", "task_type": "GENERATION", "config": {"prompt": "x"}}
FILM = {"id": "a", "task_type": "VIDEO_GENERATION", "config": {"base_image_url": "https://example.com/x.png"}}
NOWHERE = "http://127.0.0.1:9"
INPUTS_SAY = "the step's inputs or the provider set it"
SETTINGS_SAY = "the service's settings decide where videos are stored"
NO_GRAPH = "COMFYUI needs one: a workflow in API format (in ComfyUI: Export (API))"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def every(server: TestServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service with every provider there is; none of them responds."""
    keys = dict.fromkeys(("fal", "replicate", "openai", "gemini"), "a key") | {"vertex": service_account(NOWHERE)}
    urls: dict[str, Any] = {
        f"{name}_url": NOWHERE for name in ("fal", "replicate", "gemini", "vertex", "comfyui", "custom")
    }
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(server, template))
        folder = tmp_path_factory.mktemp("every")
        yield await stack.enter_async_context(running_service(dsn, folder, credentials=Secrets(keys), **urls))


async def refusals_of(service: Service, *steps: dict[str, Any], **members: Any) -> list[tuple[list[str | int], str]]:
    """Return the faults that both create and plan report."""
    body = {"name": "n", "origin_instance": "o", "steps": list(steps)} | members
    responses = [await service.client.post(WORKFLOWS + path, json=body) for path in ("", "plan")]
    assert [response.status_code for response in responses] == [422, 422], responses[0].text
    first, second = (response.json()["detail"] for response in responses)
    assert first == second
    assert (await service.client.get(WORKFLOWS)).json()["total"] == 0
    return [(fault["loc"][1:], fault["msg"]) for fault in first]


@pytest.mark.parametrize(
    ("step", "provider", "config", "place", "words"),
    [
        (DRAW, "OPENAI", {"parameters": {"prompt": "x"}}, ["parameters", "prompt"], INPUTS_SAY),
        (DRAW, "OPENAI", {"parameters": "x"}, ["parameters"], "expected an object"),
        (DRAW, "OPENAI", {"model": 5}, ["model"], "expected a name of 1 to 200 characters"),
        (DRAW, "OPENAI", {"loras": {"style": "x"}}, ["loras"], "OPENAI takes no LoRAs"),
        (DRAW, "REPLICATE", {"model": 7}, ["model"], "expected a string"),
        (
            *(DRAW, "REPLICATE", {"model": "nonsense model!"}, ["model"]),
            "expected owner/name, owner/name:version or a version of 64 hex digits",
        ),
        (
            *(DRAW, "REPLICATE", {"model": "a/b", "deployment": "a/b"}, ["deployment"]),
            "a step names a model or a deployment, not both",
        ),
        (DRAW, "GEMINI", {"model": "gpt"}, ["model"], "expected the name of a Gemini, Imagen or Veo model"),
        (FILM, "VERTEX", {"parameters": {"storageUri": "gs://x/"}}, ["parameters", "storageUri"], SETTINGS_SAY),
        (DRAW, "CUSTOM", {"model": 5}, ["model"], "must be a string"),
        (DRAW, "COMFYUI", {}, ["graph"], NO_GRAPH),
    ],
)
async def test_a_provider_refuses_a_config_also_as_a_fallback(
    every: Service, step: dict[str, Any], provider: str, config: dict[str, Any], place: list[str], words: str
) -> None:
    main = step | {"provider_config": {"provider_type": provider} | config}
    assert await refusals_of(every, main) == [(["steps", 0, "provider_config", *place], words)]
    fallback = step | {"fallback_provider_type": provider, "fallback_provider_config": config}
    found = await refusals_of(every, passthrough_step("before"), fallback)
    assert found == [(["steps", 1, "fallback_provider_config", *place], words)]


async def test_a_provider_refuses_inputs_at_their_place(every: Service) -> None:
    words = "OPENAI can't position or crop exactly"
    cut = EDIT | {"config": EDIT["config"] | {"crop": [0, 0, 1, 1]}}
    at = ["steps", 0, "config", "crop"]
    assert await refusals_of(every, cut | {"provider_config": {"provider_type": "OPENAI"}}) == [(at, words)]
    assert await refusals_of(every, cut | {"fallback_provider_type": "OPENAI"}) == [(at, words)]
    defaults = {"step_defaults": {"EDITING": {"crop": [0, 0, 1, 1]}}}
    assert await refusals_of(every, EDIT | {"provider_config": {"provider_type": "OPENAI"}}, config=defaults) == [
        (at, words)
    ]


async def test_mapped_inputs_are_checked_by_the_run_only(every: Service) -> None:
    mapping = {"from_step": "box", "from_field": "box", "to_field": "crop"}
    edit = EDIT | {"depends_on": ["box"], "input_mappings": [mapping], "provider_config": {"provider_type": "OPENAI"}}
    body = {"name": "n", "origin_instance": "o", "steps": [passthrough_step("box", box=[0, 0, 1, 1]), edit]}
    response = await every.client.post(WORKFLOWS + "plan", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["steps"][1]["model"] == "gpt-image-2.6-sunburst"
