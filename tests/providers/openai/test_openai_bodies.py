"""What OPENAI sends for each task type, and to which model."""

from typing import Any

import pytest

from providers.attempts import attempt
from providers.openai.openai_cases import BASE, OTHER, PUBLIC, REFERENCE, body, io_of, offline, parts_of
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.providers.openai.bodies import PROMPTS
from stepwell.providers.openai.parameters import MODELS, image_size, video_seconds
from stepwell.providers.openai.provider import OpenAiProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.openai import OpenAiEmulator

PICTURES = sorted(set(MODELS) - {TaskType.LLM_INTERACTION, TaskType.VIDEO_GENERATION})
SIDES = (1, 16, 300, 512, 1000, 1024, 1536, 2048, 3000, 4096, 8192)


class TestChat:
    @pytest.mark.parametrize(
        ("inputs", "url", "expected"),
        [
            ({"prompt": "why?"}, PUBLIC, {}),
            (
                {"prompt": "why?", "max_tokens": 9, "seed": 3, "top_p": 0.5, "timeout_s": 5},
                PUBLIC,
                {"max_completion_tokens": 9, "seed": 3, "top_p": 0.5},
            ),
            ({"prompt": "why?", "max_tokens": 9}, OTHER, {"max_completion_tokens": 9}),
            ({"prompt": "why?", "temperature": 0.2}, PUBLIC, {"temperature": 0.2, "reasoning_effort": "none"}),
        ],
    )
    async def test_numbers_are_sent_by_the_names_that_the_server_knows(
        self, inputs: dict[str, Any], url: str, expected: dict[str, Any]
    ) -> None:
        sent = await body(attempt(TaskType.LLM_INTERACTION, **inputs), url=url)
        said = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "why?"}]}
        assert sent == said | expected

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"max_tokens": 5}, {"max_tokens": 5, "temperature": 1, "reasoning_effort": "none"}),
            ({"max_completion_tokens": None}, {"temperature": 1, "reasoning_effort": "none"}),
            ({"reasoning_effort": None, "temperature": 0}, {"max_completion_tokens": 9, "temperature": 0}),
            ({"n": 1, "stream": False}, {"max_completion_tokens": 9, "temperature": 1, "reasoning_effort": "none"}),
        ],
    )
    async def test_parameters_override_inputs(self, parameters: dict[str, Any], expected: dict[str, Any]) -> None:
        work = attempt(TaskType.LLM_INTERACTION, {"parameters": parameters}, prompt="why?", max_tokens=9, temperature=1)
        sent = await body(work)
        assert {name: value for name, value in sent.items() if name not in {"model", "messages"}} == expected

    @pytest.mark.parametrize(
        ("model", "name"),
        [
            ("llama", "max_tokens"),
            ("gpt-oss:20b", "max_tokens"),
            ("gpt-4.1", "max_tokens"),
            ("openai/gpt-5-mini", "max_completion_tokens"),
            ("o3", "max_completion_tokens"),
        ],
    )
    async def test_other_servers_get_the_limit_by_the_name_that_their_model_knows(self, model: str, name: str) -> None:
        sent = await body(attempt(TaskType.LLM_INTERACTION, {"model": model}, prompt="x", max_tokens=9), url=OTHER)
        assert sent == {"model": model, "messages": [{"role": "user", "content": "x"}], name: 9}

    async def test_only_the_default_models_reasoning_is_set(self) -> None:
        sent = await body(attempt(TaskType.LLM_INTERACTION, {"model": "llama"}, prompt="why?", temperature=0.5))
        assert (sent["model"], sent["temperature"], "reasoning_effort" in sent) == ("llama", 0.5, False)

    @pytest.mark.parametrize(
        ("inputs", "messages"),
        [
            ({"messages": [{"role": "user", "content": "a"}]}, [{"role": "user", "content": "a"}]),
            (
                {"system_prompt": "be brief", "messages": [{"role": "assistant", "content": "a"}], "prompt": "b"},
                [
                    {"role": "system", "content": "be brief"},
                    {"role": "assistant", "content": "a"},
                    {"role": "user", "content": "b"},
                ],
            ),
            (
                {"messages": [{"role": "system", "content": "s"}], "image_urls": ["https://a.example/b.png"]},
                [
                    {"role": "system", "content": "s"},
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}],
                    },
                ],
            ),
            (
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "text", "text": "a"}]},
                        {"role": "assistant", "content": "b"},
                    ],
                    "image_urls": [REFERENCE],
                },
                [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "a"},
                            {
                                "type": "image_url",
                                "image_url": {"url": f"https://stepwell.example/{REFERENCE}?signature=1"},
                            },
                        ],
                    },
                    {"role": "assistant", "content": "b"},
                ],
            ),
        ],
    )
    async def test_system_prompt_messages_and_images_are_combined(
        self, inputs: dict[str, Any], messages: list[Any]
    ) -> None:
        assert (await body(attempt(TaskType.LLM_INTERACTION, **inputs), public=True))["messages"] == messages

    async def test_images_without_a_url_are_sent_as_data_uris(self) -> None:
        sent = await body(attempt(TaskType.LLM_INTERACTION, prompt="what?", image_urls=[BASE]))
        text, picture = sent["messages"][0]["content"]
        assert text == {"type": "text", "text": "what?"}
        assert picture["image_url"]["url"].startswith("data:image/png;base64,")

    @pytest.mark.parametrize(("title", "name"), [(None, "result"), ("A shoe!", "A_shoe_"), ("x" * 70, "x" * 64)])
    async def test_a_schema_is_sent_with_its_title_as_its_name(self, title: str | None, name: str) -> None:
        schema = {"type": "object", "properties": {}} | ({"title": title} if title else {})
        sent = await body(attempt(TaskType.LLM_INTERACTION, prompt="x", json_schema=schema))
        json_schema = {"name": name, "strict": True, "schema": schema}
        assert sent["response_format"] == {"type": "json_schema", "json_schema": json_schema}

    async def test_a_chat_without_a_prompt_or_messages_is_refused(self) -> None:
        with pytest.raises(AttemptError, match="prompt: is required"):
            await body(attempt(TaskType.LLM_INTERACTION))


class TestVideos:
    async def test_a_video_is_sent_with_all_its_parameters(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.strict = False
        work = attempt(
            TaskType.VIDEO_GENERATION,
            {"model": "wan", "parameters": {"guidance_scale": 2, "extra_params": {"a": [1]}, "generate_sound": True}},
            base_image_url=BASE,
            prompt="it turns",
            duration_s=4.5,
            fps=16,
            width=832,
            height=480,
            motion="pan_left",
            seed=3,
        )
        sent = await parts_of(provider, emulator, work)
        (part,) = sent.pop("files")
        assert (part.name, part.filename, part.media_type) == (
            "input_reference",
            "input_reference-0.jpg",
            "image/jpeg",
        )
        assert sent == {
            "model": "wan",
            "prompt": "it turns The camera: pan left.",
            "seconds": "4.5",
            "size": "832x480",
            "fps": "16",
            "seed": "3",
            "guidance_scale": "2",
            "extra_params": '{"a":[1]}',
            "generate_sound": "true",
        }

    async def test_a_video_without_inputs_is_sent_with_defaults(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        sent = await parts_of(provider, emulator, attempt(TaskType.VIDEO_GENERATION))
        assert sent == {"model": "sora-2", "prompt": PROMPTS[TaskType.VIDEO_GENERATION], "seconds": "4", "files": []}


class TestSizes:
    @pytest.mark.parametrize(
        ("model", "width", "height", "size"),
        [
            ("gpt-image-1.5", 512, 512, "1024x1024"),
            ("openai/gpt-image-1-mini", 1920, 1080, "1536x1024"),
            ("chatgpt-image-latest", 300, 900, "1024x1536"),
            ("dall-e-3", 100, 60, "1792x1024"),
            ("dall-e-2", 300, 300, "256x256"),
            ("dall-e-2", 900, 700, "1024x1024"),
            ("sora-2", 1920, 1080, "1280x720"),
            ("sora-2-pro", 1920, 1080, "1920x1080"),
            ("sora-2", 700, 1200, "720x1280"),
            ("gpt-image-2", 1024, 1024, "1024x1024"),
            ("gpt-image-2.6-flare", 8192, 8192, "2880x2880"),
            ("gpt-image-2.6-flare", 8192, 1, "3840x1280"),
            ("flux", 123, 45, "123x45"),
        ],
    )
    def test_the_nearest_supported_size_is_sent(self, model: str, width: int, height: int, size: str) -> None:
        assert image_size(model, width, height) == size

    def test_every_computed_size_is_within_the_limits(self) -> None:
        for width in SIDES:
            for height in SIDES:
                a, b = (int(side) for side in image_size("gpt-image-2", width, height).split("x"))
                assert a % 16 == b % 16 == 0
                assert max(a, b) <= min(3840, 3 * min(a, b))
                assert 655_360 <= a * b <= 8_294_400
                assert a == b or (a > b) == (width > height)

    @pytest.mark.parametrize(
        ("model", "seconds", "sent"), [("sora-2", 5, "4"), ("sora-2", 60, "20"), ("x", 5.0, "5"), ("x", 2.5, "2.5")]
    )
    def test_the_nearest_supported_length_is_sent(self, model: str, seconds: float, sent: str) -> None:
        assert video_seconds(model, seconds) == sent


class TestRefused:
    @pytest.mark.parametrize(
        ("config", "member"),
        [
            ({"model": 3}, "model"),
            ({"model": ""}, "model"),
            ({"model": "a\n"}, "model"),
            ({"loras": {"subject": "x"}}, "loras"),
            ({"parameters": []}, "parameters"),
            ({"parameters": {"n": 2}}, "parameters.n"),
            ({"parameters": {"stream": True}}, "parameters.stream"),
            ({"parameters": {"stream_options": {}}}, "parameters.stream_options"),
            ({"parameters": {"prompt": "x"}}, "parameters.prompt"),
            ({"parameters": {"model": "x"}}, "parameters.model"),
            ({"parameters": {"messages": []}}, "parameters.messages"),
            ({"parameters": {"image": "x"}}, "parameters.image"),
            ({"parameters": {"output_format": "svg"}}, "parameters.output_format"),
        ],
    )
    @pytest.mark.parametrize("task_type", [TaskType.LLM_INTERACTION, TaskType.GENERATION, TaskType.VIDEO_GENERATION])
    async def test_an_invalid_provider_config_is_refused(
        self, task_type: TaskType, config: dict[str, Any], member: str
    ) -> None:
        provider = OpenAiProvider(offline(), Credentials({"openai": "sk-x"}))
        assert provider.model(task_type, config)
        with pytest.raises(AttemptError, match=f"^provider_config.{member}: ") as refusal:
            await provider.prepare(attempt(task_type, config, prompt="x"), io_of())
        assert (refusal.value.retryable, refusal.value.provider_fault) == (False, True)

    @pytest.mark.parametrize(
        ("task_type", "inputs", "words", "elsewhere"),
        [
            (TaskType.IMAGE_ADJUSTER, {"base_image_url": BASE}, "OPENAI can't do IMAGE_ADJUSTER", True),
            (TaskType.GENERATION, {}, "prompt: is required", False),
            (TaskType.GENERATION, {"prompt": "x", "style_lora_weight": 1.0}, "style_lora_weight: .* no LoRAs", True),
            (TaskType.GENERATION, {"prompt": "x", "n": 3}, "n: OPENAI uses this name", False),
            (TaskType.GENERATION, {"prompt": "x", "width": "wide"}, "inputs: .*width", False),
            (TaskType.GENERATION, {"prompt": "x", "reference_image_url": "media/none"}, "not found", False),
            (TaskType.EDITING, {}, "base_image_url: is required", False),
            (TaskType.EDITING, {"base_image_url": "media/x/film.mp4"}, "base_image_url: expected an image", False),
            (
                TaskType.EDITING,
                {"base_image_url": BASE, "mask_image_url": "media/x/film.mp4"},
                "mask_image_url: expected an image",
                False,
            ),
            (TaskType.EDITING, {"base_image_url": BASE, "rotate": 90.0}, "rotate: OPENAI can't position or crop", True),
            (TaskType.EDITING, {"base_image_url": BASE, "crop": [0, 0, 1, 1]}, "crop: OPENAI can't position", True),
        ],
    )
    async def test_inputs_that_openai_cannot_honour_are_refused(
        self,
        task_type: TaskType,
        inputs: dict[str, Any],
        words: str,
        elsewhere: bool,  # noqa: FBT001 - a column
    ) -> None:
        with pytest.raises(AttemptError, match=words) as refusal:
            await body(attempt(task_type, **inputs))
        assert (refusal.value.retryable, refusal.value.provider_fault) == (False, elsewhere)
