"""What FAL is sent for each kind of task, and what it declines."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from providers.fal.fal_cases import PICTURE, Bench, attempt, fal_bench, prepare
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.definition.mapping.task_configs import known_config
from stepwell.ports.providers import Attempt, RemoteProvider, Request
from stepwell.providers.fal.parameters import KINDS, root_of
from stepwell.providers.fal.provider import FalProvider
from stepwell.providers.shared.credentials import Credentials


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with fal_bench(tmp_path) as made:
        yield made


PARAMETERS: list[tuple[TaskType, dict[str, Any], str, dict[str, Any]]] = [
    (
        TaskType.GENERATION,
        {"prompt": "shoe", "negative_prompt": None, "num_inference_steps": 20},
        "fal-ai/flux-lora",
        {"prompt": "shoe", "num_inference_steps": 20, "image_size": {"width": 1024, "height": 1024}, "seed": 5},
    ),
    (
        TaskType.GENERATION,
        {"prompt": "x", "width": 64, "height": 32, "seed": 9, "reference_image_url": PICTURE},
        "fal-ai/flux-lora/image-to-image",
        {"prompt": "x", "image_size": {"width": 64, "height": 32}, "seed": 9, "image_url": PICTURE},
    ),
    (
        TaskType.GENERATION,
        {"prompt": "x", "reference_image_url": PICTURE, "reference_image_strength": 0.3, "image_size": "square"},
        "fal-ai/flux-lora/image-to-image",
        {"prompt": "x", "image_size": "square", "seed": 5, "image_url": PICTURE, "strength": 0.7},
    ),
    (
        TaskType.GENERATION,
        {"prompt": "x", "width": 8, "height": 8, "reference_image_url": PICTURE, "reference_image_strength": 1.0},
        "fal-ai/flux-lora/image-to-image",
        {"prompt": "x", "image_size": {"width": 8, "height": 8}, "seed": 5, "image_url": PICTURE, "strength": 0.01},
    ),
    (
        TaskType.EDITING,
        {"base_image_url": PICTURE, "prompt": "red", "width": 64, "height": 32, "crop": [0, 0, 1, 1]},
        "fal-ai/flux-pro/kontext",
        {
            "image_url": PICTURE,
            "prompt": "red",
            "image_size": {"width": 64, "height": 32},
            "crop": [0, 0, 1, 1],
            "seed": 5,
        },
    ),
    (
        TaskType.EDITING,
        {"base_image_url": PICTURE, "prompt": "red", "reference_image_urls": ["https://b/c"]},
        "fal-ai/flux-pro/kontext/multi",
        {"image_urls": [PICTURE, "https://b/c"], "prompt": "red", "seed": 5},
    ),
    (
        TaskType.EDITING,
        {"base_image_url": PICTURE, "mask_image_url": "https://b/m", "prompt": "red"},
        "fal-ai/flux-pro/v1/fill",
        {"image_url": PICTURE, "mask_url": "https://b/m", "prompt": "red", "seed": 5},
    ),
    (
        TaskType.REFINE,
        {"base_image_url": PICTURE, "denoise": 0.4},
        "fal-ai/clarity-upscaler",
        {"image_url": PICTURE, "upscale_factor": 2.0, "creativity": 0.4, "seed": 5},
    ),
    (
        TaskType.VIDEO_GENERATION,
        {"base_image_url": PICTURE},
        "fal-ai/wan/v2.2-a14b/image-to-video",
        {"image_url": PICTURE, "num_frames": 48, "frames_per_second": 12, "seed": 5},
    ),
    (
        TaskType.VIDEO_GENERATION,
        {"base_image_url": PICTURE, "prompt": "dawn", "motion": "pan_left", "duration_s": 2.5, "fps": 24},
        "fal-ai/wan/v2.2-a14b/image-to-video",
        {
            "image_url": PICTURE,
            "num_frames": 60,
            "frames_per_second": 24,
            "prompt": "dawn, the camera pans left",
            "seed": 5,
        },
    ),
    (
        TaskType.BACKGROUND_FIX,
        {"base_image_url": PICTURE, "background_image_url": "https://b/g"},
        "fal-ai/bria/background/replace",
        {"image_url": PICTURE, "ref_image_url": "https://b/g", "seed": 5},
    ),
    (
        TaskType.BACKGROUND_FIX,
        {"base_image_url": PICTURE, "background_color": "white"},
        "fal-ai/bria/background/replace",
        {"image_url": PICTURE, "prompt": "a plain, even background of the colour white", "seed": 5},
    ),
    (
        TaskType.FACE_ENHANCER,
        {"base_image_url": PICTURE, "strength": 0.3},
        "fal-ai/codeformer",
        {"image_url": PICTURE, "fidelity": 0.7, "seed": 5},
    ),
    (
        TaskType.IMAGE_ADJUSTER,
        {
            "base_image_url": PICTURE,
            "brightness": 1.1,
            "contrast": 0.9,
            "saturation": 1.0,
            "temperature": 20,
            "gamma": 1.2,
            "sharpness": 1.5,
        },
        "fal-ai/post-processing",
        {
            "image_url": PICTURE,
            "enable_color_correction": True,
            "brightness": 10.0,
            "contrast": -10.0,
            "saturation": 0.0,
            "temperature": 20,
            "gamma": 1.2,
            "enable_sharpen": True,
            "sharpen_mode": "basic",
            "sharpen_alpha": 0.5,
        },
    ),
    (
        TaskType.DETAIL_ENHANCER,
        {"base_image_url": PICTURE, "strength": 0.4},
        "fal-ai/clarity-upscaler",
        {"image_url": PICTURE, "upscale_factor": 1, "creativity": 0.4, "seed": 5},
    ),
    (TaskType.BACKGROUND_REMOVE, {"base_image_url": PICTURE}, "fal-ai/birefnet/v2", {"image_url": PICTURE}),
    (
        TaskType.LLM_INTERACTION,
        {"prompt": "why?", "system_prompt": "Be brief.", "temperature": 0.1, "max_tokens": 9},
        "openrouter/router",
        {
            "prompt": "why?",
            "system_prompt": "Be brief.",
            "temperature": 0.1,
            "max_tokens": 9,
            "model": "google/gemini-2.5-flash",
        },
    ),
    (
        TaskType.LLM_INTERACTION,
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "ho"},
            ],
            "prompt": "and?",
            "model": "m/n",
            "json_schema": {"type": "object"},
            "image_urls": [PICTURE],
        },
        "openrouter/router/vision",
        {
            "prompt": "user: hi\n\nassistant: ho\n\nuser: and?",
            "model": "m/n",
            "image_urls": [PICTURE],
            "system_prompt": "Be kind.\n\nAnswer with JSON alone, without a fence around it, "
            'that fits this JSON schema: {"type":"object"}',
        },
    ),
]


class TestPrepare:
    @pytest.mark.parametrize(("task_type", "inputs", "app", "body"), PARAMETERS, ids=lambda value: str(value)[:40])
    async def test_each_task_type_is_sent_with_fals_names(
        self, task_type: TaskType, inputs: dict[str, Any], app: str, body: dict[str, Any]
    ) -> None:
        known_config(task_type, inputs)  # they are such as pass validation
        assert await prepare(attempt(task_type, **inputs)) == Request(model=app, body=body)

    def test_the_cases_cover_every_task_type_that_fal_can_do(self) -> None:
        assert {row[0] for row in PARAMETERS} == set(KINDS)
        assert set(TaskType) - set(KINDS) == {TaskType.EXPERIMENTAL_FAL, *WITHOUT_PROVIDER}

    @pytest.mark.parametrize("task_type", KINDS)
    def test_the_apps_of_a_task_type_share_one_root(self, task_type: TaskType) -> None:
        kind = KINDS[task_type]
        assert {root_of(app) for _, app in kind.variants} <= {root_of(kind.app)}

    async def test_a_step_can_name_its_app(self) -> None:
        work = attempt(provider_config={"fal_app_id": "me/mine/fast"}, prompt="x", reference_image_url=PICTURE)
        assert (await prepare(work)).model == "me/mine/fast"

    async def test_the_same_attempt_gives_the_same_request(self) -> None:
        work = attempt(prompt="x", base_image_url="media/a.png")
        assert await prepare(work) == await prepare(work)

    async def test_experimental_arguments_go_out_as_they_are(self) -> None:
        arguments = {"prompt": None, "image_url": "media/x.png", "deep": {"subject_lora_weight": 1}}
        work = attempt(TaskType.EXPERIMENTAL_FAL, {"fal_app_id": "me/mine"}, arguments=arguments, prompt="not sent")
        assert await prepare(work) == Request(model="me/mine", body=arguments)
        bare = attempt(TaskType.EXPERIMENTAL_FAL, {"fal_app_id": "me/mine"})
        assert (await prepare(bare)).body == {}

    async def test_references_become_urls_or_data_uris(self) -> None:
        inputs: dict[str, Any] = {
            "prompt": "x",
            "reference_image_url": "media/t/a.png",
            "control_url": "data:image/png;base64,QQ==",
            "extra_urls": ["HTTPS://x.example/y", "media/t/b.png"],
            "odd_url": 5,
            "weights_url": "media/t/w.bin",
        }
        kept = {"control_url": inputs["control_url"], "odd_url": 5}
        body = (await prepare(attempt(**inputs))).body
        assert body["image_url"] == "data:image/png;base64," + base64.b64encode(b"media/t/a.png").decode()
        assert body["extra_urls"][1] == "data:image/png;base64," + base64.b64encode(b"media/t/b.png").decode()
        assert body["weights_url"].startswith("data:application/octet-stream;base64,")
        linked = (await prepare(attempt(**inputs), links=True)).body
        assert linked["image_url"] == "https://stepwell.example/media/t/a.png?signed"
        assert linked["extra_urls"] == ["HTTPS://x.example/y", "https://stepwell.example/media/t/b.png?signed"]
        assert kept.items() <= body.items()
        assert kept.items() <= linked.items()

    @pytest.mark.parametrize(
        ("inputs", "field"),
        [
            ({"reference_image_url": "ftp://x"}, "reference_image_url"),
            ({"extra_urls": [PICTURE, "nothing"]}, r"extra_urls\[1\]"),
        ],
    )
    async def test_a_reference_to_nothing_is_refused_by_name(self, inputs: dict[str, Any], field: str) -> None:
        with pytest.raises(AttemptError, match=f"^{field}: ") as refusal:
            await prepare(attempt(prompt="x", **inputs))
        assert not refusal.value.retryable

    async def test_loras_are_sent_with_path_and_scale(self) -> None:
        config = {"loras": {"subject": "https://l/s", "style": "me/style", "product": "unused"}}
        work = attempt(
            provider_config=config,
            prompt="x",
            subject_lora_weight=0.8,
            style_lora_weight=0,
            loras=[{"path": "own", "scale": 1}],
        )
        body = (await prepare(work)).body
        assert body["loras"] == [
            {"path": "own", "scale": 1},
            {"path": "https://l/s", "scale": 0.8},
            {"path": "me/style", "scale": 0},
        ]
        assert not [name for name in body if name.endswith("_lora_weight")]

    @pytest.mark.parametrize("config", [{}, {"loras": None}, {"loras": {"subject": "s"}}, {"loras": {"product2": ""}}])
    async def test_a_weight_without_a_lora_is_refused_by_name(self, config: dict[str, Any]) -> None:
        with pytest.raises(AttemptError, match=r"provider_config\.loras\.product2 is missing") as refusal:
            await prepare(attempt(provider_config=config, prompt="x", product2_lora_weight=0.5))
        assert not refusal.value.retryable

    @pytest.mark.parametrize(
        ("work", "message"),
        [
            (attempt(TaskType.EXPERIMENTAL_FAL, arguments={}), r"^provider_config\.fal_app_id: required"),
            (attempt(TaskType.PASSTHROUGH, {"fal_app_id": "a/b"}), "can't do PASSTHROUGH"),
            (attempt(TaskType.LLM_INTERACTION, messages=[{"content": [{"type": "text"}]}]), r"^messages\[0\]: "),
            (attempt(provider_config={"credential": "other"}, prompt="x"), r"^provider_config\.credential: "),
        ],
    )
    async def test_task_types_that_fal_cannot_do_are_refused(self, work: Attempt, message: str) -> None:
        with pytest.raises(AttemptError, match=message) as refusal:
            await prepare(work)
        assert not refusal.value.retryable

    @pytest.mark.parametrize(("secrets", "why"), [({}, "set STEPWELL_CREDENTIALS__FAL$"), ({"fal": "a\nb"}, "header")])
    async def test_prepare_needs_a_key(self, bench: Bench, secrets: dict[str, str], why: str) -> None:
        keyless = FalProvider(bench.client, Credentials(secrets), url=bench.fal.url)
        with pytest.raises(AttemptError, match=why) as refusal:
            await keyless.prepare(bench.work, bench.io)
        assert not refusal.value.retryable
        with pytest.raises(CallFailed, match=why):  # the job goes on without us
            await keyless.poll(bench.work, await bench.submitted())

    def test_fal_offers_every_task_type_except_passthrough(self, bench: Bench) -> None:
        provider: RemoteProvider = bench.provider()
        offers = {task_type: provider.capabilities(task_type) for task_type in TaskType}
        assert {task_type for task_type, offer in offers.items() if offer is None} == WITHOUT_PROVIDER
        assert offers[TaskType.GENERATION] == frozenset({"seed", "lora_weights", "reference_image", "num_images"})
        assert offers[TaskType.EXPERIMENTAL_FAL] == frozenset()
        assert (provider.type, provider.listing_lag_s) == (ProviderType.FAL, 60.0)
