"""What REPLICATE sends for each type of task, and to which model. The bodies are those of `prepare`."""

from typing import Any

import httpx
import pytest

from providers.attempts import attempt
from providers.replicate.replicate_cases import PICTURE_URL, TASK, VERSION, FilesIO
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import WITHOUT_PROVIDER, TaskType
from stepwell.ports.providers import Attempt, Request
from stepwell.providers.replicate.provider import ReplicateProvider
from stepwell.providers.shared.credentials import Credentials

SDXL = "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc"
CLARITY = "dfad41707589d68ecdccd1dfa600d55a208f9310748e44bfe35b4a6291453d5e"
CODEFORMER = "cc4956dd26fa5a7185d5660cc9100fab1b8070a1d1654a8bb5eb6d443b020bb2"
ARTIFACT = f"media/{TASK}/result.png"
LINK = f"https://stepwell.example/{ARTIFACT}?sig=1"


async def prepare(work: Attempt, io: FilesIO | None = None) -> Request:
    async with httpx.AsyncClient() as client:
        return await ReplicateProvider(client, Credentials({})).prepare(work, io or FilesIO())


@pytest.mark.parametrize(
    ("task_type", "inputs", "model", "version", "body"),
    [
        (
            TaskType.GENERATION,
            {
                "prompt": "a shoe",
                "negative_prompt": "mud",
                "num_images": 2,
                "width": 512,
                "height": 768,
                "seed": 9,
                "reference_image_url": ARTIFACT,
                "reference_image_strength": 0.3,
                "timeout_s": 60,
                "guidance_scale": 7.5,
            },
            "stability-ai/sdxl",
            SDXL,
            {
                "prompt": "a shoe",
                "negative_prompt": "mud",
                "num_outputs": 2,
                "width": 512,
                "height": 768,
                "seed": 9,
                "image": LINK,
                "prompt_strength": 0.7,
                "guidance_scale": 7.5,
            },
        ),
        (
            TaskType.GENERATION,
            {"prompt": "a shoe", "seed": None},
            "stability-ai/sdxl",
            SDXL,
            {"prompt": "a shoe", "seed": 7},
        ),
        (
            TaskType.EDITING,
            {
                "base_image_url": PICTURE_URL,
                "prompt": "red",
                "reference_image_urls": [PICTURE_URL, ARTIFACT],
                "mask_image_url": ARTIFACT,
                "overlay_image_url": PICTURE_URL,
                "x": 3,
            },
            "qwen/qwen-image-edit",
            None,
            {
                "image": PICTURE_URL,
                "prompt": "red",
                "reference_images": [PICTURE_URL, LINK],
                "mask": LINK,
                "overlay_image": PICTURE_URL,
                "x": 3,
                "seed": 7,
            },
        ),
        (
            TaskType.REFINE,
            {"base_image_url": PICTURE_URL, "upscale_factor": 4.0, "sharpness": 2, "denoise": 0.2, "prompt": "crisp"},
            "philz1337x/clarity-upscaler",
            CLARITY,
            {"image": PICTURE_URL, "scale_factor": 4, "sharpen": 2, "creativity": 0.2, "prompt": "crisp", "seed": 7},
        ),
        (
            TaskType.REFINE,
            {"base_image_url": PICTURE_URL},
            "philz1337x/clarity-upscaler",
            CLARITY,
            {"image": PICTURE_URL, "scale_factor": 2, "seed": 7},
        ),
        (
            TaskType.VIDEO_GENERATION,
            {"base_image_url": PICTURE_URL, "prompt": "it turns", "duration_s": 5, "fps": 24, "motion": "zoom_in"},
            "bytedance/seedance-1-pro",
            None,
            {"image": PICTURE_URL, "prompt": "it turns", "duration": 5, "fps": 24, "motion": "zoom_in", "seed": 7},
        ),
        (
            TaskType.BACKGROUND_FIX,
            {
                "base_image_url": PICTURE_URL,
                "background_color": "#fff",
                "background_image_url": ARTIFACT,
                "tolerance": 3,
            },
            "bria/generate-background",
            None,
            {"image": PICTURE_URL, "bg_prompt": "#fff", "ref_image_url": LINK, "tolerance": 3, "seed": 7},
        ),
        (
            TaskType.BACKGROUND_FIX,
            {"base_image_url": PICTURE_URL, "prompt": "a beach", "background_color": "#fff"},
            "bria/generate-background",
            None,
            {"image": PICTURE_URL, "bg_prompt": "a beach", "seed": 7},
        ),
        (
            TaskType.FACE_ENHANCER,
            {"base_image_url": PICTURE_URL, "strength": 0.25, "radius": 2},
            "sczhou/codeformer",
            CODEFORMER,
            {"image": PICTURE_URL, "codeformer_fidelity": 0.75, "radius": 2},
        ),
        (
            TaskType.DETAIL_ENHANCER,
            {"base_image_url": PICTURE_URL, "strength": 0.4},
            "philz1337x/clarity-upscaler",
            CLARITY,
            {"image": PICTURE_URL, "creativity": 0.4, "seed": 7},
        ),
        (
            TaskType.BACKGROUND_REMOVE,
            {"base_image_url": PICTURE_URL},
            "bria/remove-background",
            None,
            {"image": PICTURE_URL},
        ),
        (
            TaskType.LLM_INTERACTION,
            {
                "prompt": "Hi",
                "system_prompt": "Be brief",
                "max_tokens": 50,
                "temperature": 0.5,
                "messages": [{"role": "user", "content": "Hi"}],
                "json_schema": {"type": "object"},
                "image_urls": [ARTIFACT],
            },
            "meta/meta-llama-3-70b-instruct",
            None,
            {
                "prompt": "Hi",
                "system_prompt": "Be brief",
                "max_tokens": 50,
                "temperature": 0.5,
                "messages": [{"role": "user", "content": "Hi"}],
                "json_schema": {"type": "object"},
                "image_input": [LINK],
            },
        ),
    ],
)
async def test_each_task_type_is_sent_with_the_models_names(
    task_type: TaskType, inputs: dict[str, Any], model: str, version: str | None, body: dict[str, Any]
) -> None:
    request = await prepare(attempt(task_type, **inputs))
    assert request == Request(model=model, body={"input": body} | ({"version": version} if version else {}))


def test_every_task_type_with_a_default_model_is_offered() -> None:
    provider = ReplicateProvider(httpx.AsyncClient(), Credentials({}))
    able = {task_type for task_type in TaskType if provider.capabilities(task_type) is not None}
    assert able == set(TaskType) - {TaskType.EXPERIMENTAL_FAL, *WITHOUT_PROVIDER, TaskType.IMAGE_ADJUSTER}
    assert "lora_weights" in (provider.capabilities(TaskType.GENERATION) or ())


@pytest.mark.parametrize(
    ("config", "model", "version"),
    [
        ({"model": "me/mine"}, "me/mine", None),
        ({"model": f"me/mine:{VERSION.upper()}"}, "me/mine", VERSION),
        ({"model": VERSION}, VERSION, VERSION),
        ({"deployment": "me/my-gpu"}, "deployments/me/my-gpu", None),
    ],
)
async def test_a_step_names_its_model(config: dict[str, Any], model: str, version: str | None) -> None:
    request = await prepare(attempt(config=config, prompt="x"))
    assert request.model == model
    assert request.body.get("version") == version


async def test_image_adjuster_needs_a_model_from_the_step() -> None:
    work = attempt(TaskType.IMAGE_ADJUSTER, {"model": "me/mine"}, base_image_url=PICTURE_URL, exposure=1.0)
    assert (await prepare(work)).body == {"input": {"image": PICTURE_URL, "exposure": 1.0}}


async def test_fields_are_renamed_and_left_out() -> None:
    config = {"parameters": {"base_image_url": "input_image", "seed": None, "extra": "more"}}
    work = attempt(TaskType.EDITING, config, base_image_url=ARTIFACT, prompt="x", extra=1)
    assert (await prepare(work)).body["input"] == {"input_image": LINK, "prompt": "x", "more": 1}


async def test_files_without_a_url_are_sent_as_data_uris() -> None:
    work = attempt(TaskType.BACKGROUND_REMOVE, base_image_url=ARTIFACT)
    request = await prepare(work, FilesIO(public=False))
    assert request.body["input"] == {"image": "data:image/png;base64,Ynl0ZXM="}


async def test_unknown_fields_that_name_artifacts_are_sent_as_files() -> None:
    work = attempt(prompt="x", control_url=ARTIFACT, page_url="/about", more_urls=[ARTIFACT, PICTURE_URL])
    inputs = (await prepare(work)).body["input"]
    assert (inputs["control_url"], inputs["page_url"]) == (LINK, "/about")
    assert inputs["more_urls"] == [LINK, PICTURE_URL]


@pytest.mark.parametrize(
    ("loras", "weights", "parameters"),
    [
        ({"style": "https://l/s"}, {"style_lora_weight": 0.5}, {"lora_weights": "https://l/s", "lora_scale": 0.5}),
        ({"style": "me/style"}, {}, {"lora_weights": "me/style"}),
        (
            {"style": "https://l/s", "subject": "https://l/a"},
            {"style_lora_weight": 0.5, "subject_lora_weight": 0.9},
            {
                "lora_weights": "https://l/a",
                "lora_scale": 0.9,
                "extra_lora": "https://l/s",
                "extra_lora_scale": 0.5,
            },
        ),
        ({"mine": "https://l/m", "subject": ARTIFACT}, {}, {"lora_weights": LINK, "extra_lora": "https://l/m"}),
    ],
)
async def test_loras_and_their_weights_are_sent_in_order(
    loras: dict[str, str], weights: dict[str, Any], parameters: dict[str, Any]
) -> None:
    request = await prepare(attempt(config={"loras": loras}, prompt="x", **weights))
    assert request.model == "black-forest-labs/flux-dev-lora"
    assert request.body == {"input": {"prompt": "x", "seed": 7, **parameters}}


@pytest.mark.parametrize(
    ("work", "named"),
    [
        (attempt(TaskType.PASSTHROUGH), "PASSTHROUGH"),
        (attempt(TaskType.EXPERIMENTAL_FAL), "EXPERIMENTAL_FAL"),
        (attempt(TaskType.IMAGE_ADJUSTER, base_image_url=PICTURE_URL), "provider_config.model"),
        (attempt(config={"model": "mine"}, prompt="x"), "provider_config.model"),
        (attempt(config={"model": "../mine"}, prompt="x"), "provider_config.model"),
        (attempt(config={"model": "me/mine:latest"}, prompt="x"), "provider_config.model"),
        (attempt(config={"model": "me/mine\n"}, prompt="x"), "provider_config.model"),
        (attempt(config={"model": 1}, prompt="x"), "provider_config.model"),
        (attempt(config={"deployment": f"me/mine:{VERSION}"}, prompt="x"), "provider_config.deployment"),
        (attempt(config={"deployment": "me/mine", "model": "me/mine"}, prompt="x"), "provider_config.deployment"),
        (attempt(config={"loras": ["x"]}, prompt="x"), "provider_config.loras"),
        (attempt(config={"loras": {"style": 1}}, prompt="x"), "provider_config.loras.style"),
        (attempt(prompt="x", subject_lora_weight=0.5), "subject_lora_weight"),
        (attempt(config={"loras": {"a": "u", "b": "u", "c": "u"}}, prompt="x"), "provider_config.loras.c"),
        (attempt(config={"parameters": {"seed": ""}}, prompt="x"), "provider_config.parameters.seed"),
        (attempt(config={"cancel_after_s": "5"}, prompt="x"), "provider_config.cancel_after_s"),
        (attempt(prompt="x", reference_image_strength="much"), "reference_image_strength"),
        (attempt(prompt="x", reference_image_url=["x"]), "reference_image_url"),
        (attempt(prompt="x", reference_image_url="media/theirs/x.png"), "reference_image_url"),
        (attempt(TaskType.EDITING, base_image_url=PICTURE_URL, reference_image_urls="x"), "reference_image_urls"),
        (
            attempt(TaskType.EDITING, base_image_url=PICTURE_URL, reference_image_urls=[PICTURE_URL, "x"]),
            r"reference_image_urls\[1\]",
        ),
    ],
)
async def test_inputs_that_cannot_be_sent_are_refused_by_name(work: Attempt, named: str) -> None:
    with pytest.raises(AttemptError, match=named) as refusal:
        await prepare(work)
    assert not refusal.value.retryable
