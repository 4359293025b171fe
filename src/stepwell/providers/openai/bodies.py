"""What OpenAI is sent for each type of task.

Chat: https://platform.openai.com/docs/api-reference/chat/create, pictures:
https://developers.openai.com/api/docs/guides/image-generation, films:
https://developers.openai.com/api/docs/guides/video-generation.

Everything but chat is told in words, so tasks without a prompt have one here. Inputs that Stepwell doesn't know go out
as they are, and `provider_config.parameters` wins over both. What the API has no words for isn't sent:
`reference_image_strength`, `sharpness`, `denoise`, `tolerance`, `feather` and `radius`; what would have to be exact to
be of use (`x`, `y`, `scale`, `opacity`, `crop`, `rotate`) is refused before it costs anything.

- `max_tokens` goes out as `max_completion_tokens` to OpenAI, and for models that are called as its reasoning models are
  (gpt-5 and later, o1 and later), which refuse the old name. It is `max_tokens` for all others, since some servers
  (Ollama, llama-cpp-python) take the new name and pay no heed to it. Where `parameters` has one of the two, that alone
  is sent.
- `temperature`: GPT-6 models take one only where they don't reason, so with the default model
  `reasoning_effort` is "none" then, unless `parameters` says otherwise.
- `seed`: only where the step has one, and for pictures not to OpenAI itself, which has none there.
- `negative_prompt`: to OpenAI in words, to others as a member.

OpenAI itself gets the addresses of pictures on the web. Other servers get the pictures: they may stand in a network of
the operator's, which no step's address may lead into, so what is at an address is read here, where it is vetted. Inputs
that Stepwell doesn't know, and `parameters`, may hold no address for them.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from msgspec import Struct, ValidationError, convert

from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import (
    BackgroundFixConfig,
    BackgroundRemoveConfig,
    EditingConfig,
    EnhancerConfig,
    GenerationConfig,
    LlmConfig,
    RefineConfig,
    TaskConfig,
    VideoConfig,
)
from stepwell.domain.mapping.task_configs import without_nulls
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.openai.addresses import chat_message, chat_reference
from stepwell.providers.openai.images import SentImage, mask, picture
from stepwell.providers.openai.parameters import (
    DEFAULT_CHAT,
    bare,
    film_seconds,
    model_of,
    parameters_of,
    picture_size,
)
from stepwell.providers.openai.refusals import check_exact, check_rest, check_weight, rest_of
from stepwell.providers.shared.chat_messages import check_image_count

Config = TypeVar("Config", bound=TaskConfig)

PROMPTS: Mapping[TaskType, str] = {
    TaskType.EDITING: "Improve the light, the colours and the sharpness of this picture. Keep all that it shows.",
    TaskType.REFINE: "Render this picture again in a higher resolution, sharper and with finer detail. Change nothing "
    "of what it shows.",
    TaskType.BACKGROUND_FIX: "Make the background of this picture clean and even. Leave the subject exactly as it is.",
    TaskType.BACKGROUND_REMOVE: "Remove the background of this picture: keep the subject exactly as it is, and make "
    "everything else fully transparent.",
    TaskType.DETAIL_ENHANCER: "Bring out the fine detail and the textures of this picture. Keep its content, its "
    "composition and its colours.",
    TaskType.FACE_ENHANCER: "Restore the faces in this picture: clear eyes, natural skin, sharp features. Everybody "
    "must stay recognisable. Leave everything else exactly as it is.",
    TaskType.VIDEO_GENERATION: "Bring this picture to life with slow, natural motion.",
}
_NEW_BACKGROUND = "Leave the subject of the first picture exactly as it is, and replace its background"
_OVERLAID = "Put the second picture over the first one."
_LIMITS = ("max_tokens", "max_completion_tokens")
_REASONS = re.compile(r"gpt-([5-9]|\d\d)|o\d")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64


class _Wanted(Struct, frozen=True):
    """What a picture is asked for with."""

    attempt: Attempt
    model: str
    public: bool
    io: AttemptIO

    def config(self, kind: type[Config]) -> Config:
        return _typed(kind, self.attempt)

    @property
    def prompt(self) -> str:
        """The step's, else that of the type of task."""
        prompt = self.attempt.inputs.get("prompt") or PROMPTS.get(self.attempt.task_type)
        if not isinstance(prompt, str):
            raise invalid_input("prompt", "is required")
        return prompt


async def chat_body(attempt: Attempt, io: AttemptIO, *, public: bool) -> dict[str, Any]:
    """*public*: it goes to OpenAI itself. Raises `AttemptError` for what can't be said, and as `AttemptIO.fetch`."""
    config, parameters = _typed(LlmConfig, attempt), parameters_of(attempt.provider_config)
    model = model_of(attempt.task_type, attempt.provider_config)
    body: dict[str, Any] = {"model": model, "messages": await _messages(config, io, public=public)}
    if config.temperature is not None:
        body["temperature"] = config.temperature
        if model == DEFAULT_CHAT:
            body["reasoning_effort"] = "none"
    if config.max_tokens is not None and not any(name in parameters for name in _LIMITS):
        body[_LIMITS[public or _REASONS.match(bare(model)) is not None]] = config.max_tokens
    if config.json_schema is not None:
        schema = {"name": _name(config.json_schema), "strict": True, "schema": config.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return _merged(attempt, body, public=public)


async def picture_body(attempt: Attempt, io: AttemptIO, *, public: bool) -> dict[str, Any]:
    """With `image`, a list of data URIs, where there is a picture to begin with; `mask` is one too. Raises as
    `chat_body`.
    """
    wanted = _Wanted(attempt, model_of(attempt.task_type, attempt.provider_config), public, io)
    parameters_of(attempt.provider_config)  # before anything is fetched
    body = {"model": wanted.model, "prompt": wanted.prompt} | await _PICTURES[attempt.task_type](wanted)
    return _merged(attempt, body, *(["seed"] if public else []), public=public)


async def film_body(attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """With `input_reference`, a data URI, where there is a picture to begin with. Raises as `chat_body`."""
    body, config = film_told(attempt), _typed(VideoConfig, attempt)
    if config.base_image_url is None:
        return body
    return body | {"input_reference": (await picture(config.base_image_url, "base_image_url", io))[0]}


def film_told(attempt: Attempt) -> dict[str, Any]:
    """The same without the picture. Raises `AttemptError`."""
    config, model = _typed(VideoConfig, attempt), model_of(attempt.task_type, attempt.provider_config)
    moved = "" if config.motion is None else f" The camera: {config.motion.replace('_', ' ')}."
    prompt = config.prompt or PROMPTS[attempt.task_type]
    body: dict[str, Any] = {"model": model, "prompt": prompt + moved, "seconds": film_seconds(model, config.duration_s)}
    if config.width is not None and config.height is not None:
        body["size"] = picture_size(model, config.width, config.height)
    if attempt.inputs.get("fps") is not None:  # ours has a default that nobody asked for
        body["fps"] = config.fps
    return _merged(attempt, body, public=False)  # OpenAI itself makes none any more


async def _generation(wanted: _Wanted) -> dict[str, Any]:
    config = wanted.config(GenerationConfig)
    for name in without_nulls(wanted.attempt.inputs):
        check_weight(name)
    body: dict[str, Any] = {"size": picture_size(wanted.model, config.width, config.height)}
    if config.negative_prompt and wanted.public:
        body["prompt"] = f"{wanted.prompt}\n\nAvoid: {config.negative_prompt}"
    elif config.negative_prompt:
        body["negative_prompt"] = config.negative_prompt
    if config.seed is not None and not wanted.public:
        body["seed"] = config.seed
    if config.reference_image_url is not None:
        body["image"] = [(await picture(config.reference_image_url, "reference_image_url", wanted.io))[0]]
    return body


async def _editing(wanted: _Wanted) -> dict[str, Any]:
    config, io = wanted.config(EditingConfig), wanted.io
    for name, value in without_nulls(wanted.attempt.inputs).items():
        check_exact(name, value)
    base, about = await _base(config.base_image_url, io)
    images, body = [base], dict[str, Any]()
    if config.overlay_image_url is not None:
        images.append((await picture(config.overlay_image_url, "overlay_image_url", io))[0])
        body["prompt"] = f"{config.prompt or ''} {_OVERLAID}".strip()
    for place, reference in enumerate(config.reference_image_urls or []):
        images.append((await picture(reference, f"reference_image_urls[{place}]", io))[0])
    if config.mask_image_url is not None:
        body["mask"] = await mask(config.mask_image_url, "mask_image_url", (about.width, about.height), io)
    if config.width is not None and config.height is not None:
        body["size"] = picture_size(wanted.model, config.width, config.height)
    return body | {"image": images}


async def _refine(wanted: _Wanted) -> dict[str, Any]:
    config = wanted.config(RefineConfig)
    base, about = await _base(config.base_image_url, wanted.io)
    width, height = (round(side * config.upscale_factor) for side in (about.width, about.height))
    return {"image": [base], "size": picture_size(wanted.model, width, height)}


async def _background_fix(wanted: _Wanted) -> dict[str, Any]:
    config = wanted.config(BackgroundFixConfig)
    images, told = [(await _base(config.base_image_url, wanted.io))[0]], ""
    if config.background_image_url is not None:
        images.append((await picture(config.background_image_url, "background_image_url", wanted.io))[0])
        told = " by the second picture"
    elif config.background_color is not None:
        told = f" by the plain colour {config.background_color}"
    if not told and not config.prompt:
        return {"image": images}
    return {"image": images, "prompt": _NEW_BACKGROUND + told + (f": {config.prompt}" if config.prompt else ".")}


async def _background_remove(wanted: _Wanted) -> dict[str, Any]:
    config = wanted.config(BackgroundRemoveConfig)
    base, _ = await _base(config.base_image_url, wanted.io)
    return {"image": [base], "background": "transparent", "output_format": "png"}


async def _enhanced(wanted: _Wanted) -> dict[str, Any]:
    config = wanted.config(EnhancerConfig)
    base, _ = await _base(config.base_image_url, wanted.io)
    strength = "" if config.strength is None else f" Strength of the effect: {config.strength:.0%}."
    return {"image": [base], "prompt": wanted.prompt + strength}


_PICTURES: Mapping[TaskType, Callable[[_Wanted], Awaitable[dict[str, Any]]]] = {
    TaskType.GENERATION: _generation,
    TaskType.EDITING: _editing,
    TaskType.REFINE: _refine,
    TaskType.BACKGROUND_FIX: _background_fix,
    TaskType.BACKGROUND_REMOVE: _background_remove,
    TaskType.DETAIL_ENHANCER: _enhanced,
    TaskType.FACE_ENHANCER: _enhanced,
}


async def _base(reference: str | None, io: AttemptIO) -> tuple[str, SentImage]:
    if reference is None:
        raise invalid_input("base_image_url", "is required")
    return await picture(reference, "base_image_url", io)


async def _messages(config: LlmConfig, io: AttemptIO, *, public: bool) -> list[dict[str, Any]]:
    """The step's messages after its system prompt, and before its prompt. Pictures belong to the last of the user."""
    check_image_count(config.messages or [])
    given_ones = enumerate(config.messages or [])
    messages = [await chat_message(message, f"messages[{n}]", io, public=public) for n, message in given_ones]
    if config.system_prompt:
        messages.insert(0, {"role": "system", "content": config.system_prompt})
    if config.prompt is not None:
        messages.append({"role": "user", "content": config.prompt})
    if not messages:
        raise invalid_input("prompt", "is required, or messages")
    if config.image_urls:
        numbered = enumerate(config.image_urls)
        pictures = [await chat_reference(url, f"image_urls[{n}]", io, public=public) for n, url in numbered]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
        last = next((message for message in reversed(messages) if message.get("role") == "user"), None)
        if last is None:
            messages.append({"role": "user", "content": parts})
        else:
            content = last.get("content")
            last["content"] = [*(content if isinstance(content, list) else [{"type": "text", "text": content}]), *parts]
    return messages


def _name(schema: Mapping[str, Any]) -> str:
    title = schema.get("title")
    return _NOT_IN_A_NAME.sub("_", title)[:_LONGEST_NAME] if isinstance(title, str) and title else "result"


def _merged(attempt: Attempt, body: Mapping[str, Any], *unsaid: str, public: bool) -> dict[str, Any]:
    """*body* with the inputs that Stepwell doesn't know, but for those *unsaid*, and with the step's parameters."""
    rest = {name: value for name, value in rest_of(attempt.task_type, attempt.inputs).items() if name not in unsaid}
    asked = parameters_of(attempt.provider_config)
    check_rest(rest, asked, public=public)
    return without_nulls({**body, **rest, **asked})


def _typed(kind: type[Config], attempt: Attempt) -> Config:
    try:
        return convert(without_nulls(attempt.inputs), kind)
    except ValidationError as error:
        raise invalid_input("inputs", str(error)) from error
