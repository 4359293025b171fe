"""google-genai, Google's own client, as a witness of what Stepwell and the emulators believe of both of its APIs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2 import service_account

from providers.attempts import attempt
from providers.clients.wire import Side, differences, drawing, side_of
from providers.google.google_cases import BASE, INPUTS, WIDE
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from support.emulators import google
from support.emulators.base import Fault

TALK = attempt(TaskType.LLM_INTERACTION, prompt="say it", system_prompt="be short", temperature=0.5, max_tokens=9)
EDIT = attempt(TaskType.EDITING, prompt="make it red", base_image_url=BASE)
VEO = attempt(TaskType.VIDEO_GENERATION, {"model": "veo-3.1-generate-001"}, prompt="it turns", base_image_url=BASE)
OMNI = attempt(TaskType.VIDEO_GENERATION, prompt="it turns", base_image_url=BASE)
PICTURE = types.Image(image_bytes=WIDE, mime_type="image/png")
# The client tells what it is, and its tokens are others.
_CLIENTS_OWN = ("x-goog-api-client", "authorization")


@asynccontextmanager
async def at(kind: ProviderType, folder: Path) -> AsyncIterator[Side]:
    async with side_of(kind, folder, INPUTS) as side:
        yield side


def gemini_client(side: Side, version: str | None = "v1beta") -> Any:
    options = types.HttpOptions(base_url=side.emulator.url, api_version=version)
    return genai.Client(api_key=google.KEY, http_options=options).aio


def vertex_client(side: Side, location: str, version: str | None = "v1") -> Any:
    info = json.loads(google.service_account(side.emulator.url))
    credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call] # google-auth has no types
        info, scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    return genai.Client(
        vertexai=True,
        project=info["project_id"],
        location=location,
        credentials=credentials,
        http_options=types.HttpOptions(base_url=side.emulator.url, api_version=version),
    ).aio


def compared(own: Any, clients: Any, *ids: str) -> dict[str, Any]:
    found = differences(own, clients, *ids)
    return {name: pair for name, pair in found.items() if name not in _CLIENTS_OWN}


async def test_a_text_an_image_and_an_edit_are_the_same_requests(tmp_path: Path) -> None:
    async with at(ProviderType.GEMINI, tmp_path) as side:
        found = []
        config = types.GenerateContentConfig(system_instruction="be short", temperature=0.5, max_output_tokens=9)
        for work, contents, settings in (
            (TALK, "say it", config),
            (drawing(), "a shoe", types.GenerateContentConfig(response_modalities=["IMAGE"], seed=7)),
            (
                EDIT,
                [types.Part.from_text(text="make it red"), types.Part.from_bytes(data=WIDE, mime_type="image/png")],
                types.GenerateContentConfig(response_modalities=["IMAGE"], seed=7),
            ),
        ):
            request, _ = await side.submit(work)
            own = side.last("submit")
            async with gemini_client(side) as client:
                answer = await client.models.generate_content(model=request.model, contents=contents, config=settings)
            assert answer.candidates[0].content.parts
            found.append(compared(own, side.last("submit")))
        # The role has no effect, says Google's reference.
        instruction = {"parts": [{"text": "be short"}]}
        assert found[0] == {"body.systemInstruction": (instruction, instruction | {"role": "user"})}
        assert found[1] == {}
        # Protobuf's JSON takes both spellings of the member.
        ((own_parts, other_parts),) = (pair for pair in found[2].values())
        assert json.dumps(other_parts).replace("mime_type", "mimeType") == json.dumps(own_parts)


async def test_the_client_makes_no_video_of_veo_with_the_key_of_gemini(tmp_path: Path) -> None:
    async with at(ProviderType.GEMINI, tmp_path) as side:
        source = types.GenerateVideosSource(prompt="it turns", image=PICTURE)
        async with gemini_client(side) as client:
            with pytest.raises(ValueError, match="only supported in Gemini Enterprise Agent Platform mode"):
                await client.models.generate_videos(model="veo-3.1-generate-001", source=source)


async def test_a_video_of_omni_is_made_polled_and_cancelled_by_the_same_requests(tmp_path: Path) -> None:
    async with at(ProviderType.GEMINI, tmp_path) as side:
        side.world.hold()
        request, job = await side.submit(OMNI)
        await side.provider.poll(OMNI, job)
        await side.provider.cancel(OMNI, job)
        own = {kind: side.last(kind) for kind in ("submit", "poll", "cancel")}
        async with gemini_client(side) as client:
            interaction = await client.interactions.create(**request.body)
            await client.interactions.get(interaction.id)
            await client.interactions.cancel(interaction.id)
        found = {kind: compared(call, side.last(kind), job.id, interaction.id) for kind, call in own.items()}
        # The client makes one step of a list of contents. Its types say that the API takes both.
        contents = request.body["input"]
        step = {"content": contents, "type": "user_input"}
        assert found.pop("submit") == {"body.input": (contents, [step])}
        assert found == {"poll": {"?stream": (None, "false"), "content-type": (None, "application/json")}, "cancel": {}}


async def test_vertex_gets_the_same_requests(tmp_path: Path) -> None:
    async with at(ProviderType.VERTEX, tmp_path) as side:
        request, _ = await side.submit(drawing())
        own = side.last("submit")
        config = types.GenerateContentConfig(response_modalities=["IMAGE"], seed=7)
        async with vertex_client(side, "global") as client:
            await client.models.generate_content(model=request.model, contents="a shoe", config=config)
        assert compared(own, side.last("submit")) == {}
        request, job = await side.submit(VEO)
        await side.until_done(VEO, job)
        started, polled = side.last("submit"), side.last("poll")
        source = types.GenerateVideosSource(prompt="it turns", image=PICTURE)
        settings = types.GenerateVideosConfig(aspect_ratio="16:9", duration_seconds=4, seed=7, number_of_videos=1)
        async with vertex_client(side, "us-central1") as client:
            operation = await client.models.generate_videos(model=request.model, source=source, config=settings)
            operation_id = operation.name.rpartition("/")[2]
            while not operation.done:
                operation = await client.operations.get(operation)
        assert compared(started, side.last("submit")) == {}
        found = compared(polled, side.last("poll"))
        (name,) = found.pop("body.operationName")[1:]
        assert (name.rpartition("/")[2], found) == (operation_id, {})


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        (ProviderType.GEMINI, ("/v1beta/", "/v1/")),
        (ProviderType.VERTEX, ("/v1/", "/v1beta1/")),
    ],
)
async def test_the_clients_own_choice_of_a_version_differs(
    tmp_path: Path, kind: ProviderType, paths: tuple[str, str]
) -> None:
    async with at(kind, tmp_path) as side:
        request, _ = await side.submit(drawing())
        own = side.last("submit").path
        usual = gemini_client(side, None) if kind is ProviderType.GEMINI else vertex_client(side, "global", None)
        async with usual as client:
            with pytest.raises(errors.ClientError, match="404"):
                await client.models.generate_content(model=request.model, contents="a shoe")
        assert own.replace(*paths, 1) == side.last("submit").path


async def test_a_wrong_key_and_a_busy_provider_mean_the_same_to_both(tmp_path: Path) -> None:
    async with at(ProviderType.GEMINI, tmp_path) as side, gemini_client(side) as client:
        side.emulator.plan("submit", Fault.BUSY, Fault.BUSY)
        with pytest.raises(AttemptError) as busy:
            await side.submit(TALK)
        with pytest.raises(errors.ClientError, match="429"):
            await client.models.generate_content(model="gemini-3.8-flash", contents="say it")
        assert busy.value.retryable
        side.emulator.key = "another"
        with pytest.raises(AttemptError, match="API key not valid"):
            await side.submit(TALK)
        with pytest.raises(errors.ClientError, match="API key not valid"):
            await client.models.generate_content(model="gemini-3.8-flash", contents="say it")
