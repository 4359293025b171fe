"""openai, OpenAI's own client, as a witness of what Stepwell and the emulator believe of its API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from providers.attempts import attempt
from providers.clients.wire import Side, differences, drawing, side_of
from providers.openai.openai_cases import BASE, files
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt
from support.emulators.base import Call, Fault
from support.emulators.openai import KEY, multipart

# The client warns of the end of OpenAI's own videos. Stepwell makes them on other servers only.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API")
SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
CHAT = attempt(TaskType.LLM_INTERACTION, prompt="why?", temperature=0.5, max_tokens=9, json_schema=SCHEMA)


@pytest.fixture
async def side(tmp_path: Path) -> AsyncIterator[Side]:
    async with side_of(ProviderType.OPENAI, tmp_path, files()) as side:
        yield side


@pytest.fixture
async def client(side: Side) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=side.emulator.base, max_retries=0) as client:
        yield client


def without_statistics(found: dict[str, Any]) -> dict[str, Any]:
    """Without the headers in which the client tells what it runs on."""
    return {name: pair for name, pair in found.items() if not name.startswith("x-stainless-")}


async def own_call(side: Side, work: Attempt) -> tuple[Any, Call]:
    request, _ = await side.submit(work)
    return request.body, side.last("submit")


async def test_a_chat_is_the_same_request(side: Side, client: openai.AsyncOpenAI) -> None:
    body, own = await own_call(side, CHAT)
    answer = await client.chat.completions.create(**body)
    assert answer.choices[0].message.content == '{"answer": "yes"}'
    assert without_statistics(differences(own, side.last("submit"))) == {}


async def test_an_image_is_the_same_request(side: Side, client: openai.AsyncOpenAI) -> None:
    body, own = await own_call(side, drawing(width=1024, height=1024))
    assert (await client.images.generate(**body)).data
    assert without_statistics(differences(own, side.last("submit"))) == {}


async def test_an_edit_is_the_same_form(side: Side, client: openai.AsyncOpenAI) -> None:
    _, own = await own_call(side, attempt(TaskType.EDITING, prompt="make it red", base_image_url=BASE))
    (image,) = (part for part in multipart(own) or () if part.name.startswith("image"))
    answer = await client.images.edit(
        model="gpt-image-2.6-sunburst",
        prompt="make it red",
        image=(image.filename, image.data, image.media_type),
    )
    assert answer.data
    assert without_statistics(differences(own, side.last("submit"))) == {}


async def test_a_video_is_made_polled_and_fetched_by_the_same_requests(side: Side, client: openai.AsyncOpenAI) -> None:
    work = attempt(TaskType.VIDEO_GENERATION, {"model": "sora-2"}, prompt="it turns", base_image_url=BASE)
    _, job = await side.submit(work)
    await side.until_done(work, job)
    await side.provider.fetch(work, job, side.io)
    own = {kind: side.last(kind) for kind in ("submit", "poll", "file")}
    (image,) = (part for part in multipart(own["submit"]) or () if part.name == "input_reference")
    video = await client.videos.create(
        model="sora-2",
        prompt="it turns",
        seconds="4",
        input_reference=(image.filename, image.data, image.media_type),
    )
    while video.status != "completed":
        video = await client.videos.retrieve(video.id)
    assert (await client.videos.download_content(video.id)).content
    found = {kind: differences(call, side.last(kind), job.id, video.id) for kind, call in own.items()}
    assert {kind: without_statistics(each) for kind, each in found.items()} == {"submit": {}, "poll": {}, "file": {}}


async def test_a_video_is_deleted_by_the_same_request(side: Side, client: openai.AsyncOpenAI) -> None:
    side.world.hold()
    work = attempt(TaskType.VIDEO_GENERATION, {"model": "sora-2"}, prompt="it turns", base_image_url=BASE)
    _, job = await side.submit(work)
    await side.provider.cancel(work, job)
    own = side.last("cancel")
    video = await client.videos.create(model="sora-2", prompt="it turns")
    await client.videos.delete(video.id)
    found = differences(own, side.last("cancel"), job.id, video.id)
    assert without_statistics(found) == {"content-type": (None, "application/json")}  # there is no body


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault.BUSY, openai.RateLimitError),
        (Fault.BROKEN, openai.InternalServerError),
        (Fault.REFUSED, openai.UnprocessableEntityError),
    ],
)
async def test_an_error_means_the_same_to_both(
    side: Side, client: openai.AsyncOpenAI, fault: Fault, raised: type[Exception]
) -> None:
    side.emulator.plan("submit", fault, fault)
    with pytest.raises(AttemptError) as own:
        await side.submit(drawing())
    with pytest.raises(raised):
        await client.images.generate(model="gpt-image-2.6-flare", prompt="a shoe")
    assert own.value.retryable is (fault is not Fault.REFUSED)


async def test_a_wrong_key_is_refused_to_both(side: Side, client: openai.AsyncOpenAI) -> None:
    side.emulator.key = "another"
    with pytest.raises(AttemptError, match="the key was refused"):
        await side.submit(CHAT)
    with pytest.raises(openai.AuthenticationError):
        await client.images.generate(model="gpt-image-2.6-flare", prompt="a shoe")
