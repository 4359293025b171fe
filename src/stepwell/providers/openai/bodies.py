"""The request bodies for OpenAI, by task type.

Chat: https://platform.openai.com/docs/api-reference/chat/create. Images:
https://developers.openai.com/api/docs/guides/image-generation. Videos:
https://developers.openai.com/api/docs/guides/video-generation.

Image and video calls take a prompt, so task types without one have a prompt here. Inputs that aren't Stepwell's are
sent as they are, and `provider_config.parameters` overrides both. Inputs that the API has no parameter for aren't sent:
`reference_image_strength`, `sharpness`, `denoise`, `tolerance`, `feather` and `radius`. Inputs that must be exact to be
useful (`x`, `y`, `scale`, `opacity`, `crop`, `rotate`) are refused before anything is paid for.

- `max_tokens` is sent as `max_completion_tokens` to OpenAI, and for models with the names of its reasoning models
  (gpt-5 and later, o1 and later), which refuse the old name. Other models get `max_tokens`, because some servers
  (Ollama, llama-cpp-python) accept the new name and ignore it. If `parameters` has one of the two, only that is sent.
- `temperature`: GPT-6 models accept one only without reasoning. So with the default model, `reasoning_effort` becomes
  "none", unless `parameters` sets it.
- `seed` is sent if the step has one. OpenAI itself has no seed for images.
- `negative_prompt` is put into the prompt for OpenAI, and is a member for other servers.

OpenAI reads the URLs of images itself. Other servers get the images: they may be inside the operator's network, where a
step's URL must not lead, so URLs are read here, through the SSRF guard. For such servers, inputs that aren't Stepwell's
and `parameters` may contain no URLs.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct, ValidationError, convert

from stepwell.basics.errors import Fault
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import (
    CONFIGS,
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
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.lifecycle.steps import KnownStep
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.openai.files import (
    SentImage,
    chat_message,
    chat_reference,
    check_addresses,
    image_input,
    mask_input,
)
from stepwell.providers.openai.parameters import (
    DEFAULT_CHAT,
    RESERVED,
    bare_name,
    image_size,
    model_of,
    parameters_of,
    video_seconds,
)
from stepwell.providers.shared.refusals import check_image_count, collect_refusals, input_refusal

# Inputs that position or cut exactly, which an instruction in words can't.
_EXACT = ("x", "y", "scale", "opacity", "crop", "rotate")
_DEFAULTS = EditingConfig()
_WEIGHT = "_lora_weight"
_KNOWN_INPUTS = {task_type: frozenset({*kind.__struct_fields__, "prompt"}) for task_type, kind in CONFIGS.items()}
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
_REASONING_MODEL = re.compile(r"gpt-([5-9]|\d\d)|o\d")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_MAX_NAME = 64


def refusals(step: KnownStep, *, public: bool) -> Iterator[Fault]:
    """Yield the faults of a step, which its body would refuse too. *public*: the server is OpenAI."""
    task_type, config, inputs = step.task_type, step.provider_config, step.inputs
    yield from collect_refusals(
        partial(model_of, task_type, config),
        lambda: check_unknown_inputs(unknown_inputs(task_type, inputs), parameters_of(config), public=public),
    )
    if task_type is TaskType.GENERATION:
        yield from collect_refusals(*(partial(check_weight, name) for name in inputs if name.endswith(_WEIGHT)))
    elif task_type is TaskType.EDITING:
        yield from collect_refusals(*(partial(check_exact, name, inputs[name]) for name in _EXACT if name in inputs))
    elif task_type is TaskType.LLM_INTERACTION:
        yield from collect_refusals(partial(check_image_count, inputs.get("messages", ())))


def check_weight(name: str) -> None:
    if name.endswith(_WEIGHT):
        raise input_refusal(name, why="OPENAI takes no LoRAs", provider_fault=True)


def check_exact(name: str, value: Any) -> None:
    """Raise `Refusal` if an input of EDITING asks for something exact."""
    if name in _EXACT and value != getattr(_DEFAULTS, name):
        raise input_refusal(name, why="OPENAI can't position or crop exactly", provider_fault=True)


def unknown_inputs(task_type: TaskType, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that aren't Stepwell's, without None values."""
    known = _KNOWN_INPUTS[task_type]
    return {name: value for name, value in without_nulls(inputs).items() if name not in known}


def check_unknown_inputs(rest: Mapping[str, Any], parameters: Mapping[str, Any], *, public: bool) -> None:
    """Raise `Refusal` for inputs that aren't Stepwell's, or `parameters`, that must not be sent.

    *public*: they would be sent to OpenAI.
    """
    if (name := next((name for name in rest if name in RESERVED), None)) is not None:
        raise input_refusal(name, why="OPENAI uses this name for one of its parameters")
    if not public:
        check_addresses(rest, parameters)


class _ImageRequest(Struct, frozen=True):
    attempt: Attempt
    model: str
    public: bool
    io: AttemptIO

    @property
    def prompt(self) -> str:
        """The prompt of the step, else that of the task type."""
        prompt = self.attempt.inputs.get("prompt") or PROMPTS.get(self.attempt.task_type)
        if not isinstance(prompt, str):
            raise invalid_input("prompt", "is required")
        return prompt


async def chat_body(attempt: Attempt, io: AttemptIO, *, public: bool) -> dict[str, Any]:
    """Return the body of a chat call. *public*: the server is OpenAI.

    Raises `AttemptError` for inputs that can't be sent, and as `AttemptIO.fetch`.
    """
    config, parameters = _config_of(LlmConfig, attempt), parameters_of(attempt.provider_config)
    model = model_of(attempt.task_type, attempt.provider_config)
    body: dict[str, Any] = {"model": model, "messages": await _messages(config, io, public=public)}
    if config.temperature is not None:
        body["temperature"] = config.temperature
        if model == DEFAULT_CHAT:
            body["reasoning_effort"] = "none"
    if config.max_tokens is not None and not any(name in parameters for name in _LIMITS):
        body[_LIMITS[public or _REASONING_MODEL.match(bare_name(model)) is not None]] = config.max_tokens
    if config.json_schema is not None:
        schema = {"name": _name(config.json_schema), "strict": True, "schema": config.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return _merge(attempt, body, public=public)


async def image_body(attempt: Attempt, io: AttemptIO, *, public: bool) -> dict[str, Any]:
    """Return the body of an image call.

    Input images are data URIs: a list in `image`, and one in `mask`. Raises as `chat_body`.
    """
    request = _ImageRequest(attempt, model_of(attempt.task_type, attempt.provider_config), public, io)
    parameters_of(attempt.provider_config)  # before anything is fetched
    body = {"model": request.model, "prompt": request.prompt} | await _IMAGE_BODIES[attempt.task_type](request)
    return _merge(attempt, body, *(["seed"] if public else []), public=public)


async def video_body(attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """Return the body of a video call. An input image is a data URI in `input_reference`. Raises as `chat_body`."""
    body, config = video_parameters(attempt), _config_of(VideoConfig, attempt)
    if config.base_image_url is None:
        return body
    return body | {"input_reference": (await image_input(config.base_image_url, "base_image_url", io))[0]}


def video_parameters(attempt: Attempt) -> dict[str, Any]:
    """Return the body of a video call without its image. Raises `AttemptError`."""
    config, model = _config_of(VideoConfig, attempt), model_of(attempt.task_type, attempt.provider_config)
    camera = "" if config.motion is None else f" The camera: {config.motion.replace('_', ' ')}."
    prompt = config.prompt or PROMPTS[attempt.task_type]
    seconds = video_seconds(model, config.duration_s)
    body: dict[str, Any] = {"model": model, "prompt": prompt + camera, "seconds": seconds}
    if config.width is not None and config.height is not None:
        body["size"] = image_size(model, config.width, config.height)
    if attempt.inputs.get("fps") is not None:  # the default of our config isn't sent
        body["fps"] = config.fps
    return _merge(attempt, body, public=False)  # OpenAI itself makes no videos any more


async def _generation(request: _ImageRequest) -> dict[str, Any]:
    config = _config_of(GenerationConfig, request.attempt)
    for name in without_nulls(request.attempt.inputs):
        check_weight(name)
    body: dict[str, Any] = {"size": image_size(request.model, config.width, config.height)}
    if config.negative_prompt and request.public:
        body["prompt"] = f"{request.prompt}\n\nAvoid: {config.negative_prompt}"
    elif config.negative_prompt:
        body["negative_prompt"] = config.negative_prompt
    if config.seed is not None and not request.public:
        body["seed"] = config.seed
    if config.reference_image_url is not None:
        body["image"] = [(await image_input(config.reference_image_url, "reference_image_url", request.io))[0]]
    return body


async def _editing(request: _ImageRequest) -> dict[str, Any]:
    config, io = _config_of(EditingConfig, request.attempt), request.io
    for name, value in without_nulls(request.attempt.inputs).items():
        check_exact(name, value)
    base, info = await _base(config.base_image_url, io)
    images, body = [base], dict[str, Any]()
    if config.overlay_image_url is not None:
        images.append((await image_input(config.overlay_image_url, "overlay_image_url", io))[0])
        body["prompt"] = f"{config.prompt or ''} {_OVERLAID}".strip()
    for index, reference in enumerate(config.reference_image_urls or []):
        images.append((await image_input(reference, f"reference_image_urls[{index}]", io))[0])
    if config.mask_image_url is not None:
        body["mask"] = await mask_input(config.mask_image_url, "mask_image_url", (info.width, info.height), io)
    if config.width is not None and config.height is not None:
        body["size"] = image_size(request.model, config.width, config.height)
    return body | {"image": images}


async def _refine(request: _ImageRequest) -> dict[str, Any]:
    config = _config_of(RefineConfig, request.attempt)
    base, info = await _base(config.base_image_url, request.io)
    width, height = (round(side * config.upscale_factor) for side in (info.width, info.height))
    return {"image": [base], "size": image_size(request.model, width, height)}


async def _background_fix(request: _ImageRequest) -> dict[str, Any]:
    config = _config_of(BackgroundFixConfig, request.attempt)
    images, instruction = [(await _base(config.base_image_url, request.io))[0]], ""
    if config.background_image_url is not None:
        images.append((await image_input(config.background_image_url, "background_image_url", request.io))[0])
        instruction = " by the second picture"
    elif config.background_color is not None:
        instruction = f" by the plain colour {config.background_color}"
    if not instruction and not config.prompt:
        return {"image": images}
    return {"image": images, "prompt": _NEW_BACKGROUND + instruction + (f": {config.prompt}" if config.prompt else ".")}


async def _background_remove(request: _ImageRequest) -> dict[str, Any]:
    config = _config_of(BackgroundRemoveConfig, request.attempt)
    base, _ = await _base(config.base_image_url, request.io)
    return {"image": [base], "background": "transparent", "output_format": "png"}


async def _enhance(request: _ImageRequest) -> dict[str, Any]:
    config = _config_of(EnhancerConfig, request.attempt)
    base, _ = await _base(config.base_image_url, request.io)
    strength = "" if config.strength is None else f" Strength of the effect: {config.strength:.0%}."
    return {"image": [base], "prompt": request.prompt + strength}


_IMAGE_BODIES: Mapping[TaskType, Callable[[_ImageRequest], Awaitable[dict[str, Any]]]] = {
    TaskType.GENERATION: _generation,
    TaskType.EDITING: _editing,
    TaskType.REFINE: _refine,
    TaskType.BACKGROUND_FIX: _background_fix,
    TaskType.BACKGROUND_REMOVE: _background_remove,
    TaskType.DETAIL_ENHANCER: _enhance,
    TaskType.FACE_ENHANCER: _enhance,
}


async def _base(reference: str | None, io: AttemptIO) -> tuple[str, SentImage]:
    if reference is None:
        raise invalid_input("base_image_url", "is required")
    return await image_input(reference, "base_image_url", io)


async def _messages(config: LlmConfig, io: AttemptIO, *, public: bool) -> list[dict[str, Any]]:
    """Return the system prompt, the messages and the prompt. Images are added to the last message of the user."""
    check_image_count(config.messages or [])
    numbered_messages = enumerate(config.messages or [])
    messages = [await chat_message(message, f"messages[{n}]", io, public=public) for n, message in numbered_messages]
    if config.system_prompt:
        messages.insert(0, {"role": "system", "content": config.system_prompt})
    if config.prompt is not None:
        messages.append({"role": "user", "content": config.prompt})
    if not messages:
        raise invalid_input("prompt", "is required, or messages")
    if config.image_urls:
        numbered = enumerate(config.image_urls)
        references = [await chat_reference(url, f"image_urls[{n}]", io, public=public) for n, url in numbered]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in references]
        last = next((message for message in reversed(messages) if message.get("role") == "user"), None)
        if last is None:
            messages.append({"role": "user", "content": parts})
        else:
            content = last.get("content")
            last["content"] = [*(content if isinstance(content, list) else [{"type": "text", "text": content}]), *parts]
    return messages


def _name(schema: Mapping[str, Any]) -> str:
    title = schema.get("title")
    return _NOT_IN_A_NAME.sub("_", title)[:_MAX_NAME] if isinstance(title, str) and title else "result"


def _merge(attempt: Attempt, body: Mapping[str, Any], *omitted: str, public: bool) -> dict[str, Any]:
    """Merge *body*, the inputs that aren't Stepwell's (without those in *omitted*), and the step's parameters."""
    unknown = unknown_inputs(attempt.task_type, attempt.inputs)
    rest = {name: value for name, value in unknown.items() if name not in omitted}
    parameters = parameters_of(attempt.provider_config)
    check_unknown_inputs(rest, parameters, public=public)
    return without_nulls({**body, **rest, **parameters})


def _config_of(kind: type[Config], attempt: Attempt) -> Config:
    try:
        return convert(without_nulls(attempt.inputs), kind)
    except ValidationError as error:
        raise invalid_input("inputs", str(error)) from error
