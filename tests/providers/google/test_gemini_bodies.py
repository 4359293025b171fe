"""What is sent for each task type: bodies, models, and what of a step's config goes into them."""

from typing import Any

import pytest

from providers.attempts import attempt
from providers.google.google_cases import BASE, INPUTS, TALL, WIDE, bytes_of
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import Attempt, Blob, Request
from stepwell.providers.google.gemini import GeminiProvider
from stepwell.providers.google.provider import GoogleProvider
from stepwell.providers.google.vertex import VertexProvider
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.refusals import MAX_IMAGES
from support.emulators.google import picture
from support.providers.attempt_io import MemoryIO

T = TaskType
IMAGE = {"mimeType": "image/png"}


class Desk:
    """A provider that only prepares: it needs nobody else, and so no client."""

    def __init__(self, kind: type[GoogleProvider] = GeminiProvider) -> None:
        self.io = MemoryIO(inputs=dict(INPUTS))
        self.provider = kind(None, Credentials({}))  # type: ignore[arg-type,call-arg]

    async def prepared(self, work: Attempt) -> Request:
        return await self.provider.prepare(work, self.io)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("kind", "video"), [(GeminiProvider, "gemini-omni-1.1-flash"), (VertexProvider, "veo-3.1-generate-001")]
)
def test_each_task_type_has_a_default_model(kind: type[GoogleProvider], video: str) -> None:
    provider = Desk(kind).provider
    assert provider.model(T.LLM_INTERACTION, {}) == "gemini-3.8-flash"
    assert provider.model(T.GENERATION, {}) == "gemini-nano-banana-2.1"
    assert provider.model(T.EDITING, {"model": "gemini-3-pro-image"}) == "gemini-3-pro-image"
    assert provider.model(T.VIDEO_GENERATION, {}) == video


@pytest.mark.parametrize(
    ("task_type", "model"),
    [
        (T.GENERATION, "../../v1/x"),
        (T.GENERATION, "gemini-1?x=1"),
        (T.GENERATION, "gemini-1:predict"),
        (T.GENERATION, "gemini-..-x"),
        (T.GENERATION, "gemini-3.8-flash\n"),
        (T.GENERATION, "gemini"),
        (T.GENERATION, "dall-e-3"),
        (T.GENERATION, "gemini-" + "x" * 100),
        (T.GENERATION, 3),
        (T.GENERATION, "veo-3.1-generate-001"),
        (T.GENERATION, "gemini-omni-1.1-flash"),
        (T.EDITING, "imagen-4.0-generate-001"),
        (T.LLM_INTERACTION, "imagen-4.0-generate-001"),
        (T.VIDEO_GENERATION, "gemini-3.8-flash"),
    ],
)
async def test_models_of_other_families_are_refused(desk: Desk, task_type: TaskType, model: Any) -> None:
    with pytest.raises(AttemptError, match=r"provider_config\.model") as caught:
        await desk.prepared(attempt(task_type, {"model": model}, prompt="x", base_image_url=BASE))
    assert not caught.value.retryable


async def test_a_generation_is_sent_with_prompt_ratio_and_parameters(desk: Desk) -> None:
    config = {"parameters": {"candidateCount": 3, "seed": 1, "imageConfig": {"imageSize": "2K", "aspectRatio": "1:1"}}}
    work = attempt(
        config=config,
        prompt="a shoe",
        negative_prompt="laces",
        width=1000,
        height=1500,
        seed=2**31 + 9,
        reference_image_url="media/t/tall.png",
    )
    request = await desk.prepared(work)
    (content,) = request.body["contents"]
    assert content["role"] == "user"
    words, label, reference = content["parts"]
    assert (words, label) == ({"text": "a shoe\n\nLeave out: laces"}, {"text": "A reference:"})
    assert (reference["inlineData"]["mimeType"], bytes_of(reference)) == ("image/png", TALL)
    assert request.body["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "seed": 9,
        "imageConfig": {"imageSize": "2K", "aspectRatio": "2:3"},
    }


async def test_absent_inputs_are_not_sent(desk: Desk) -> None:
    body = (await desk.prepared(attempt(prompt="a shoe", negative_prompt=None, width=64))).body
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a shoe"}]}]
    assert body["generationConfig"] == {"responseModalities": ["IMAGE"], "seed": 7}


@pytest.mark.parametrize(
    ("sides", "nearest"),
    [((1024, 1024), "1:1"), ((1920, 1080), "16:9"), ((1000, 1990), "9:16"), ((2560, 1080), "21:9"), ((81, 100), "4:5")],
)
async def test_the_nearest_aspect_ratio_is_sent(desk: Desk, sides: tuple[int, int], nearest: str) -> None:
    body = (await desk.prepared(attempt(prompt="a shoe", width=sides[0], height=sides[1]))).body
    assert body["generationConfig"]["imageConfig"] == {"aspectRatio": nearest}


INSTRUCTIONS: list[tuple[TaskType, dict[str, Any], str, int]] = [
    (T.EDITING, {"prompt": "make it blue"}, "make it blue", 1),
    (T.EDITING, {"prompt": "blue", "mask_image_url": BASE}, "blue Change only the area that is white in the mask", 2),
    (T.EDITING, {"overlay_image_url": BASE}, "Lay the overlay picture over this picture.", 2),
    (T.EDITING, {"reference_image_urls": [BASE, BASE]}, "Make this picture match the reference pictures.", 3),
    (T.REFINE, {"prompt": "mind the laces"}, "Redraw this picture at a higher resolution", 1),
    (T.BACKGROUND_FIX, {}, "clean edges. The new background is plain white.", 1),
    (T.BACKGROUND_FIX, {"background_color": "#ff0000"}, "clean edges. The new background is plain #ff0000.", 1),
    (T.BACKGROUND_FIX, {"background_image_url": BASE, "prompt": "a beach"}, "a beach Use the background picture", 2),
    (T.BACKGROUND_REMOVE, {}, "plain white (#ffffff) without shadows", 1),
    (T.DETAIL_ENHANCER, {"strength": 0.9}, "texture of this picture strongly. Keep everything else", 1),
    (T.DETAIL_ENHANCER, {}, "texture of this picture moderately.", 1),
    (T.FACE_ENHANCER, {"strength": 0.1}, "Enhance the faces in this picture very lightly: ", 1),
]


@pytest.mark.parametrize(("task_type", "inputs", "words", "pictures"), INSTRUCTIONS)
async def test_a_task_on_an_image_is_sent_as_an_instruction(
    desk: Desk, task_type: TaskType, inputs: dict[str, Any], words: str, pictures: int
) -> None:
    body = (await desk.prepared(attempt(task_type, base_image_url=BASE, **inputs))).body
    parts = body["contents"][0]["parts"]
    assert words in parts[0]["text"]
    assert bytes_of(parts[1]) == WIDE
    assert [list(part) for part in parts[2:]] == [["text"], ["inlineData"]] * (pictures - 1)
    assert body["generationConfig"]["responseModalities"] == ["IMAGE"]


@pytest.mark.parametrize(
    ("side", "factor", "size"), [(64, 2.0, "1K"), (1200, 1.5, "2K"), (2000, 2.0, "4K"), (4000, 8.0, "4K")]
)
async def test_refine_asks_for_a_size_that_holds_the_image(desk: Desk, side: int, factor: float, size: str) -> None:
    desk.io.inputs[BASE] = Blob(picture(side, 8), "image/png")
    work = attempt(T.REFINE, base_image_url=BASE, upscale_factor=factor)
    assert (await desk.prepared(work)).body["generationConfig"]["imageConfig"] == {"imageSize": size}
    config = {"parameters": {"imageConfig": {"imageSize": "512"}}}
    work = attempt(T.REFINE, config, base_image_url=BASE, upscale_factor=factor)
    assert (await desk.prepared(work)).body["generationConfig"]["imageConfig"] == {"imageSize": "512"}


async def test_messages_are_sent_with_roles_and_images(desk: Desk) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": BASE}]},
        {"role": "assistant", "content": "a shoe"},
    ]
    work = attempt(
        T.LLM_INTERACTION,
        {"parameters": {"topP": 0.5, "temperature": 2, "candidateCount": 4}},
        messages=messages,
        prompt="and this?",
        system_prompt="be kind",
        image_urls=["media/t/tall.png"],
        temperature=0,
        max_tokens=99,
        seed=3,
        json_schema={"type": "object", "properties": {"a": {"type": "string"}}},
    )
    body = (await desk.prepared(work)).body
    assert body["systemInstruction"] == {"parts": [{"text": "be kind"}, {"text": "be brief"}]}
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    first, answer, last = (content["parts"] for content in body["contents"])
    assert (first[0], bytes_of(first[1]), answer) == ({"text": "what?"}, WIDE, [{"text": "a shoe"}])
    assert (bytes_of(last[0]), last[1]) == (TALL, {"text": "and this?"})
    assert body["generationConfig"] == {
        "topP": 0.5,
        "temperature": 0,
        "maxOutputTokens": 99,
        "seed": 3,
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}},
    }


async def test_images_are_sent_before_the_last_words_of_the_user(desk: Desk) -> None:
    messages = [{"role": "user", "content": "what?"}]
    body = (await desk.prepared(attempt(T.LLM_INTERACTION, messages=messages, image_urls=[BASE]))).body
    assert [list(part) for part in body["contents"][0]["parts"]] == [["inlineData"], ["text"]]
    assert "generationConfig" not in body


@pytest.mark.parametrize(
    ("task_type", "inputs", "field"),
    [
        (T.LLM_INTERACTION, {"messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\].role"),
        (T.LLM_INTERACTION, {"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content"),
        (T.LLM_INTERACTION, {"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, r"messages\[0\].content"),
        (T.LLM_INTERACTION, {"messages": [{"role": "system", "content": "x"}]}, "messages"),
        (T.LLM_INTERACTION, {"messages": "x"}, "messages"),
        (T.LLM_INTERACTION, {"prompt": "x", "image_urls": "x"}, "image_urls"),
        (T.LLM_INTERACTION, {"prompt": "x", "image_urls": ["media/t/theirs.png"]}, r"image_urls\[0\]: artifact not"),
        (T.GENERATION, {"prompt": "x", "reference_image_url": "media/t/words.txt"}, "reference_image_url"),
        (T.GENERATION, {"prompt": "x", "width": "wide", "height": 3}, "width"),
        (T.EDITING, {"base_image_url": BASE, "crop": [0, 0, 9, 9]}, "prompt"),
        (T.EDITING, {"base_image_url": BASE, "prompt": "x", "reference_image_urls": "x"}, "reference_image_urls"),
        (T.REFINE, {"base_image_url": "media/t/noise.bin"}, "base_image_url"),
        (T.REFINE, {"base_image_url": BASE, "upscale_factor": "x"}, "upscale_factor"),
        (T.REFINE, {}, "base_image_url"),
        (T.VIDEO_GENERATION, {"base_image_url": BASE, "duration_s": "x"}, "duration_s"),
    ],
)
async def test_inputs_that_cannot_be_sent_are_refused_by_name(
    desk: Desk, task_type: TaskType, inputs: dict[str, Any], field: str
) -> None:
    with pytest.raises(AttemptError, match=f"^{field}") as caught:
        await desk.prepared(attempt(task_type, **inputs))
    assert (caught.value.retryable, caught.value.provider_fault) == (False, False)


async def test_parameters_are_recognised_in_both_spellings(desk: Desk) -> None:
    asked = {
        "candidate_count": 8,
        "number_of_images": 8,
        "response_modalities": ["TEXT"],
        "Seed": 1,
        "image_config": {"aspect_ratio": "1:1", "image_size": "2K"},
        "top_p": 0.5,
    }
    body = (await desk.prepared(attempt(config={"parameters": asked}, prompt="x", width=1000, height=1500))).body
    assert body["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "seed": 7,
        "imageConfig": {"aspectRatio": "2:3", "image_size": "2K"},
        "top_p": 0.5,
    }
    body = (await desk.prepared(attempt(T.REFINE, {"parameters": asked}, base_image_url=BASE))).body
    assert body["generationConfig"]["image_config"] == {"aspect_ratio": "1:1", "image_size": "2K"}
    assert "imageConfig" not in body["generationConfig"]
    config = {"model": "imagen-4.0-generate-001", "parameters": {"sample_count": 4, "include_rai_reason": False}}
    body = (await desk.prepared(attempt(config=config, prompt="x"))).body
    assert body["parameters"] == {"sampleCount": 1, "includeRaiReason": True}
    video = attempt(T.VIDEO_GENERATION, {"parameters": {"aspectRatio": "9:16", "Delivery": "x"}}, base_image_url=BASE)
    assert (await desk.prepared(video)).body["response_format"] == {
        "type": "video",
        "delivery": "uri",
        "duration": "4s",
        "aspect_ratio": "16:9",
    }


@pytest.mark.parametrize("pictures", [MAX_IMAGES, MAX_IMAGES + 1])
async def test_a_chat_may_contain_64_images_and_no_more(desk: Desk, pictures: int) -> None:
    parts = [{"type": "image_url", "image_url": BASE}] * (pictures - 1)
    messages = [{"role": "user", "content": parts}, {"role": "user", "content": parts[:1]}]
    work = attempt(T.LLM_INTERACTION, messages=messages)
    if pictures <= MAX_IMAGES:
        assert len((await desk.prepared(work)).body["contents"][0]["parts"]) == pictures - 1
        return
    with pytest.raises(AttemptError, match="messages: expected 64 images at most"):
        await desk.prepared(work)


async def test_parameters_must_be_an_object(desk: Desk) -> None:
    with pytest.raises(AttemptError, match=r"provider_config\.parameters"):
        await desk.prepared(attempt(config={"parameters": [1]}, prompt="x"))


async def test_imagen_refuses_a_reference_image(desk: Desk) -> None:
    work = attempt(config={"model": "imagen-4.0-generate-001"}, prompt="x", reference_image_url=BASE)
    with pytest.raises(AttemptError, match="reference_image_url"):
        await desk.prepared(work)


@pytest.mark.parametrize(
    ("asked", "veo", "omni"), [(None, 4, "4s"), (1, 4, "3s"), (5, 4, "5s"), (7.5, 8, "7s"), (60, 8, "10s")]
)
async def test_a_video_gets_the_nearest_supported_length(desk: Desk, asked: Any, veo: int, omni: str) -> None:
    inputs = {"base_image_url": BASE, "duration_s": asked}
    body = (await desk.prepared(attempt(T.VIDEO_GENERATION, {"model": "veo-3.1-generate-001"}, **inputs))).body
    assert body["parameters"]["durationSeconds"] == veo
    body = (await desk.prepared(attempt(T.VIDEO_GENERATION, **inputs))).body
    assert body["response_format"]["duration"] == omni


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        ({"base_image_url": BASE}, "16:9"),
        ({"base_image_url": "media/t/tall.png"}, "9:16"),
        ({"base_image_url": BASE, "width": 10, "height": 90}, "9:16"),
    ],
)
async def test_a_video_has_the_aspect_ratio_of_its_first_image(desk: Desk, inputs: dict[str, Any], shape: str) -> None:
    body = (await desk.prepared(attempt(T.VIDEO_GENERATION, **inputs))).body
    assert body["response_format"]["aspect_ratio"] == shape


async def test_a_video_of_omni_is_sent_as_an_interaction(desk: Desk) -> None:
    config = {"parameters": {"resolution": "1080p", "type": "text"}}
    request = await desk.prepared(attempt(T.VIDEO_GENERATION, config, base_image_url=BASE, motion="zoom_in"))
    first, words = request.body["input"]
    assert (first["type"], first["mime_type"]) == ("image", "image/png")
    assert words == {"type": "text", "text": "Camera: zoom in."}
    assert (request.model, request.body["model"]) == ("gemini-omni-1.1-flash",) * 2
    assert request.body["background"] is True
    assert request.body["response_format"] == {
        "type": "video",
        "delivery": "uri",
        "duration": "4s",
        "aspect_ratio": "16:9",
        "resolution": "1080p",
    }


async def test_a_video_of_veo_is_sent_as_a_prediction() -> None:
    config = {"parameters": {"generateAudio": False, "sampleCount": 4, "seed": 1}}
    work = attempt(T.VIDEO_GENERATION, config, base_image_url=BASE, prompt="it turns", motion="pan_left", seed=2**32)
    body = (await Desk(VertexProvider).prepared(work)).body
    assert body["instances"][0]["prompt"] == "it turns Camera: pan left."
    assert body["instances"][0]["image"]["mimeType"] == "image/png"
    own = {"durationSeconds": 4, "aspectRatio": "16:9", "seed": 0, "sampleCount": 1, "generateAudio": False}
    assert body["parameters"] == own
