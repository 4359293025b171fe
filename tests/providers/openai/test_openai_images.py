"""What OPENAI is sent for pictures: the form, its files, and what is in words."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from providers.attempts import attempt
from providers.openai.openai_cases import (
    BASE,
    MASK,
    OTHER,
    PUBLIC,
    REFERENCE,
    body,
    io_of,
    offline,
    parts_of,
    run_to_end,
)
from stepwell.contract.enums import TaskType
from stepwell.providers.openai.bodies import PROMPTS
from stepwell.providers.openai.parameters import MODELS
from stepwell.providers.openai.provider import OpenAiProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.openai import OpenAiEmulator, Part

PICTURES = sorted(set(MODELS) - {TaskType.LLM_INTERACTION, TaskType.VIDEO_GENERATION})
SIDES = (1, 16, 300, 512, 1000, 1024, 1536, 2048, 3000, 4096, 8192)


@pytest.mark.parametrize(
    ("inputs", "url", "expected"),
    [
        ({"prompt": "a shoe"}, PUBLIC, {"prompt": "a shoe", "size": "1024x1024"}),
        (
            {"prompt": "a shoe", "width": 1000, "height": 500, "seed": 9, "negative_prompt": "mud", "timeout_s": 5},
            PUBLIC,
            {"prompt": "a shoe\n\nAvoid: mud", "size": "1152x576"},
        ),
        (
            {"prompt": "a shoe", "width": 512, "seed": 9, "negative_prompt": "mud", "num_inference_steps": 20},
            OTHER,
            {
                "prompt": "a shoe",
                "size": "512x1024",
                "seed": 9,
                "negative_prompt": "mud",
                "num_inference_steps": 20,
            },
        ),
    ],
)
async def test_a_generation_is_sent_with_size_and_prompt(
    inputs: dict[str, Any], url: str, expected: dict[str, Any]
) -> None:
    model = "gpt-image-2.6-flare" if url == PUBLIC else "Qwen/Qwen-Image"
    sent = await body(attempt(config={} if url == PUBLIC else {"model": model}, **inputs), url=url)
    assert sent == {"model": model, **expected}


async def test_a_reference_image_is_sent_as_a_form(provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
    work = attempt(prompt="a shoe", reference_image_url=REFERENCE, reference_image_strength=0.4)
    sent = await parts_of(provider, emulator, work)
    (part,) = sent.pop("files")
    assert emulator.calls[-1].path == "/v1/images/edits"
    assert (part.name, part.filename, part.media_type) == ("image", "image-0.webp", "image/webp")
    assert part.data == io_of().inputs[REFERENCE].data
    assert sent == {"model": "gpt-image-2.6-flare", "prompt": "a shoe", "size": "1024x1024"}


async def test_an_edit_is_sent_with_all_its_images_and_the_mask(
    provider: OpenAiProvider, emulator: OpenAiEmulator
) -> None:
    work = attempt(
        TaskType.EDITING,
        {"parameters": {"quality": "low", "output_compression": 50}},
        base_image_url=BASE,
        prompt="make it red",
        overlay_image_url=MASK,
        reference_image_urls=[REFERENCE],
        mask_image_url=MASK,
        width=1024,
        height=1536,
        seed=3,
        x=0,
        rotate=0,
    )
    emulator.strict = False
    sent = await parts_of(provider, emulator, work)
    files = sent.pop("files")
    assert [(part.name, part.filename) for part in files] == [
        ("image[]", "image-0.jpg"),
        ("image[]", "image-1.png"),
        ("image[]", "image-2.webp"),
        ("mask", "mask-0.png"),
    ]
    assert sent == {
        "model": "gpt-image-2.6-sunburst",
        "prompt": "make it red Put the second picture over the first one.",
        "size": "1024x1536",
        "quality": "low",
        "output_compression": "50",
        "seed": "3",
    }


async def test_a_mask_is_transparent_where_stepwells_is_white(
    provider: OpenAiProvider, emulator: OpenAiEmulator
) -> None:
    sent = await parts_of(provider, emulator, attempt(TaskType.EDITING, base_image_url=BASE, mask_image_url=MASK))
    picture = picture_of(sent["files"][1])
    assert (picture.mode, picture.size, sent["prompt"]) == ("RGBA", (40, 20), PROMPTS[TaskType.EDITING])
    assert [picture.getpixel((x, 10)) for x in (2, 37)] == [(0, 0, 0, 0), (0, 0, 0, 255)]


async def test_transparent_parts_of_a_mask_stay_unchanged() -> None:
    ours = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    ours.putpixel((0, 0), (255, 255, 255, 255))
    target = io.BytesIO()
    ours.save(target, "PNG")
    reference = f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"
    files = io_of()
    files.inputs[reference] = type(files.inputs[BASE])(target.getvalue(), "image/png")
    async with offline() as client:
        provider = OpenAiProvider(client, Credentials({"openai": "sk-x"}))
        work = attempt(TaskType.EDITING, base_image_url=BASE, mask_image_url=reference)
        sent = (await provider.prepare(work, files)).body["mask"]
    mask = Image.open(io.BytesIO(base64.b64decode(sent.partition(",")[2])))
    assert [mask.getpixel((x, 10)) for x in (2, 37)] == [(0, 0, 0, 0), (0, 0, 0, 255)]


@pytest.mark.parametrize(
    ("task_type", "inputs", "expected"),
    [
        (TaskType.REFINE, {}, {"size": "1152x576"}),  # twice 40x20 is too small
        (
            TaskType.REFINE,
            {"upscale_factor": 1.0, "prompt": "a sketch"},
            {"prompt": "a sketch", "size": "1152x576"},
        ),
        (TaskType.BACKGROUND_REMOVE, {"tolerance": 3}, {"background": "transparent", "output_format": "png"}),
        (TaskType.BACKGROUND_FIX, {}, {}),
        (TaskType.FACE_ENHANCER, {"radius": 2}, {}),
        (TaskType.FACE_ENHANCER, {"prompt": "young again"}, {"prompt": "young again"}),
        (
            TaskType.DETAIL_ENHANCER,
            {"strength": 0.5},
            {"prompt": PROMPTS[TaskType.DETAIL_ENHANCER] + " Strength of the effect: 50%."},
        ),
    ],
)
async def test_enhancers_are_instructed_by_a_prompt(
    provider: OpenAiProvider,
    emulator: OpenAiEmulator,
    task_type: TaskType,
    inputs: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    sent = await parts_of(provider, emulator, attempt(task_type, base_image_url=BASE, **inputs))
    (part,) = sent.pop("files")
    assert (part.name, part.media_type, picture_of(part).size) == ("image", "image/jpeg", (40, 20))
    assert sent == {"model": "gpt-image-2.6-sunburst", "prompt": PROMPTS[task_type], **expected}


@pytest.mark.parametrize(
    ("inputs", "files", "end"),
    [
        ({"background_color": "#fff"}, 1, "its background by the plain colour #fff."),
        (
            {"background_image_url": REFERENCE, "background_color": "red"},
            2,
            "its background by the second picture.",
        ),
        ({"prompt": "a beach"}, 1, "its background: a beach"),
    ],
)
async def test_a_background_is_described_or_sent_as_an_image(inputs: dict[str, Any], files: int, end: str) -> None:
    sent = await body(attempt(TaskType.BACKGROUND_FIX, base_image_url=BASE, **inputs))
    assert len(sent["image"]) == files
    assert sent["prompt"] == f"Leave the subject of the first picture exactly as it is, and replace {end}"


@pytest.mark.parametrize("task_type", PICTURES)
async def test_openai_accepts_the_body_of_each_task_type(provider: OpenAiProvider, task_type: TaskType) -> None:
    inputs: dict[str, Any] = {"prompt": "a shoe"} if task_type is TaskType.GENERATION else {"base_image_url": BASE}
    assert (await run_to_end(provider, attempt(task_type, **inputs)))["model"] == MODELS[task_type]


def picture_of(part: Part) -> Image.Image:
    return Image.open(io.BytesIO(part.data))
