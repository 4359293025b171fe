"""The request bodies for Google's models.

generateContent: https://ai.google.dev/api/generate-content. A JSON schema is sent as `responseJsonSchema`. `width` and
`height` of an image only select the nearest aspect ratio that all image models support. Its size is
`imageConfig.imageSize` in `provider_config.parameters` ("1K", "2K", "4K"); REFINE selects one that the image fits into
after `upscale_factor`. An image request has the step's seed, although some models ignore it. A text request has a seed
only if the inputs have. For tasks that change an image, the model redraws it as an instruction says. It has no
parameters for crops, offsets, opacity, tolerance, radius, sharpness or denoising, so these inputs aren't sent:
https://ai.google.dev/gemini-api/docs/image-generation.

predict (Imagen): https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api. It accepts a
seed only without a watermark, and only on VERTEX. predictLongRunning (Veo):
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation, and
https://ai.google.dev/gemini-api/docs/video for the Gemini API, which documents no seed and no number of samples.
Interactions that make a video (Omni): https://ai.google.dev/gemini-api/docs/omni.

The aspect ratio of a video is 16:9 or 9:16, whichever is nearer to `width` and `height`, or to the first image. A video
from Veo lasts 4, 6 or 8 seconds, from Omni 3 to 10. `motion` becomes part of the prompt. `fps` isn't sent, because no
model accepts it.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from stepwell.contract.enums import TaskType
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.google.media import InputImage, image_input
from stepwell.providers.google.models import parameters
from stepwell.providers.shared.refusals import check_image_count, input_refusal

# The inputs of EDITING that an instruction can express in words.
EDIT_WORDS = frozenset({"prompt", "overlay_image_url", "reference_image_urls"})

_LIGHT, _STRONG = 0.34, 0.66
_MASK = "Change only the area that is white in the mask picture, and leave the rest as it is."
_REFINE = (
    "Redraw this picture at a higher resolution: sharp, with natural fine detail, without noise or compression"
    " artefacts. Keep its content, composition, colours and style exactly."
)
_REMOVE = (
    "Remove the background of this picture: put its subject, exactly as it is and with clean edges, on an even, plain"
    " white (#ffffff) without shadows."
)
_FACES = "clear eyes, natural skin and hair. Keep each person's identity and expression."
_KEEP = "Keep everything else of the picture exactly as it is."
# The ratios in https://ai.google.dev/gemini-api/docs/image-generation that all Gemini image models support.
IMAGE_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
# https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api
IMAGEN_RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9")
# https://ai.google.dev/gemini-api/docs/video
VIDEO_RATIOS = ("16:9", "9:16")
_ROLES = {"user": "user", "assistant": "model", "model": "model"}
_SYSTEM_ROLES = frozenset({"system", "developer"})
_SEEDS = 2**31  # an int32
_SIZES = ((1024, "1K"), (2048, "2K"))
_MAX_SIZE = "4K"
_CONTENT = "expected text, or a list of text and image_url items"
_VEO_SECONDS, _OMNI_SECONDS = (4, 6, 8), tuple(range(3, 11))
_SECONDS = 4  # the default
_VEO_SEEDS = 2**32


def instruction(task_type: TaskType, inputs: Mapping[str, Any]) -> str:
    """Return the instruction for a task. Raises `AttemptError` if the inputs don't say what to do."""
    match task_type:
        case TaskType.EDITING:
            check_edit(inputs)
            words = [*_edit(inputs)]
        case TaskType.REFINE:
            words = [_REFINE, *_prompt(inputs)]
        case TaskType.BACKGROUND_FIX:
            words = [*_background(inputs)]
        case TaskType.BACKGROUND_REMOVE:
            words = [_REMOVE]
        case TaskType.FACE_ENHANCER:
            words = [f"Enhance the faces in this picture {_how(inputs.get('strength'))}: {_FACES}", _KEEP]
        case _:
            words = [f"Enhance the fine detail and texture of this picture {_how(inputs.get('strength'))}.", _KEEP]
    return " ".join(words)


def check_edit(inputs: Mapping[str, Any]) -> None:
    """Raise `Refusal` if EDITING has no input of `EDIT_WORDS`, so that there is nothing to do in words."""
    if not [*_edit(inputs)]:
        raise input_refusal("prompt", why="expected one: the model edits by words, not by coordinates")


def other_images(task_type: TaskType, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the images besides the base image: for each the text before it, its field and its reference."""
    if task_type is TaskType.BACKGROUND_FIX and "background_image_url" in inputs:
        yield "The new background:", "background_image_url", inputs["background_image_url"]
    if task_type is not TaskType.EDITING:
        return
    if "mask_image_url" in inputs:
        yield "The mask:", "mask_image_url", inputs["mask_image_url"]
    if "overlay_image_url" in inputs:
        yield "The overlay:", "overlay_image_url", inputs["overlay_image_url"]
    references = inputs.get("reference_image_urls", [])
    if not isinstance(references, list):
        raise invalid_input("reference_image_urls", "expected a list")
    for index, reference in enumerate(references):
        yield "A reference:", f"reference_image_urls[{index}]", reference


def _edit(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield from _prompt(inputs)
    if "overlay_image_url" in inputs:
        yield "Lay the overlay picture over this picture."
    if inputs.get("reference_image_urls") and "prompt" not in inputs:
        yield "Make this picture match the reference pictures."
    if "mask_image_url" in inputs and "prompt" in inputs:
        yield _MASK


def _background(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield "Replace the background of this picture. Keep its subject exactly as it is, with clean edges."
    sentences = [*_prompt(inputs)]
    if "background_color" in inputs:
        sentences.append(f"The new background is plain {inputs['background_color']}.")
    if "background_image_url" in inputs:
        sentences.append("Use the background picture that follows, with light that fits it.")
    yield from sentences or ["The new background is plain white."]


def _prompt(inputs: Mapping[str, Any]) -> list[str]:
    return [str(inputs["prompt"])] if "prompt" in inputs else []


def _how(strength: Any) -> str:
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        return "moderately"
    if strength < _LIGHT:
        return "very lightly"
    return "strongly" if strength > _STRONG else "moderately"


def nearest_ratio(
    inputs: Mapping[str, Any], supported: Sequence[str], sides: tuple[int, int] | None = None
) -> str | None:
    """Return the ratio nearest to `width` and `height`, or to *sides* if one is missing; None without either."""
    input_sides = tuple(_side(inputs, field) for field in ("width", "height") if field in inputs)
    width, height = input_sides if len(input_sides) == 2 else sides or (0, 0)  # noqa: PLR2004 - width and height
    if not (width and height):
        return None
    wanted = math.log(width / height)
    return min(supported, key=lambda name: abs(_log(name) - wanted))


def nearest_seconds(inputs: Mapping[str, Any], supported: Sequence[int], default: int) -> int:
    """Return the length nearest to `duration_s`; of two that are equally near, the shorter one, which costs less."""
    seconds = inputs.get("duration_s", default)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise invalid_input("duration_s", "expected a number of seconds")
    return min(supported, key=lambda length: (abs(length - seconds), length))


def _side(inputs: Mapping[str, Any], field: str) -> int:
    value = inputs[field]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid_input(field, "expected a number of pixels")
    return value


def _log(name: str) -> float:
    across, _, down = name.partition(":")
    return math.log(int(across) / int(down))


def seed_of(inputs: Mapping[str, Any], default: int, below: int = _SEEDS) -> int:
    """Return the seed in the inputs, else *default*, reduced to the range of the model."""
    own = inputs.get("seed")
    return (own if isinstance(own, int) and not isinstance(own, bool) else default) % below


def image_prompt(inputs: Mapping[str, Any]) -> str:
    """Return the prompt with the negative prompt in words, because no current model has a parameter for it."""
    prompt, negative = str(inputs.get("prompt", "")), inputs.get("negative_prompt")
    return f"{prompt}\n\nLeave out: {negative}" if negative else prompt


async def content_body(attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """Return the body of generateContent for an attempt. Raises `AttemptError` for inputs that can't be converted."""
    inputs = without_nulls(attempt.inputs)
    if attempt.task_type is TaskType.LLM_INTERACTION:
        return await _text_body(inputs, attempt.provider_config, io)
    own: dict[str, Any] = {"responseModalities": ["IMAGE"], "seed": seed_of(inputs, attempt.seed)}
    if attempt.task_type is TaskType.GENERATION:
        parts, base = await _generation_parts(inputs, io), None
    else:
        parts, base = await _editing_parts(attempt.task_type, inputs, io)
    if aspect_ratio := nearest_ratio(inputs, IMAGE_RATIOS):
        own["imageConfig"] = {"aspectRatio": aspect_ratio}
    refining = attempt.task_type is TaskType.REFINE
    defaults = {"imageConfig": {"imageSize": _size(inputs, base)}} if refining else {}
    config = parameters(attempt.provider_config, own, defaults)
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}


async def _generation_parts(inputs: Mapping[str, Any], io: AttemptIO) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": image_prompt(inputs)}]
    if "reference_image_url" in inputs:
        reference = await image_input(inputs["reference_image_url"], "reference_image_url", io)
        parts += [{"text": "A reference:"}, reference.inline]
    return parts


async def _editing_parts(
    task_type: TaskType, inputs: Mapping[str, Any], io: AttemptIO
) -> tuple[list[dict[str, Any]], InputImage | None]:
    words = instruction(task_type, inputs)
    base = await image_input(inputs.get("base_image_url"), "base_image_url", io)
    parts: list[dict[str, Any]] = [{"text": words}, base.inline]
    for name, field, reference in other_images(task_type, inputs):
        parts += [{"text": name}, (await image_input(reference, field, io)).inline]
    return parts, base


def _size(inputs: Mapping[str, Any], base: InputImage | None) -> str:
    factor = inputs.get("upscale_factor", 2.0)
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise invalid_input("upscale_factor", "expected a number")
    longer = max(base.sides) if base is not None and base.sides is not None else _SIZES[0][0]
    return next((size for side, size in _SIZES if longer * factor <= side), _MAX_SIZE)


async def _text_body(inputs: Mapping[str, Any], config: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    system, contents = [str(inputs["system_prompt"])] if "system_prompt" in inputs else [], list[dict[str, Any]]()
    for index, message in enumerate(check_messages(inputs)):
        role, parts = message["role"], [await _part(item, f"messages[{index}]", io) for item in _items(message, index)]
        if role in _SYSTEM_ROLES:
            system += [part["text"] for part in parts if "text" in part]
        else:
            contents.append({"role": _ROLES[role], "parts": parts})
    images = await _image_parts(inputs, io)
    prompt = [{"text": str(inputs["prompt"])}] if "prompt" in inputs else []
    if prompt or (images and not (contents and contents[-1]["role"] == "user")):
        contents.append({"role": "user", "parts": [*images, *prompt]})
    elif images:
        contents[-1]["parts"] = [*images, *contents[-1]["parts"]]
    if not contents:
        raise invalid_input("messages", "expected one of a user")
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if settings := parameters(config, _settings(inputs)):
        body["generationConfig"] = settings
    return body


def check_messages(inputs: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the messages of a chat. Raises `Refusal` for unsupported ones, before any image is fetched."""
    messages = inputs.get("messages", [])
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise invalid_input("messages", "expected a list of objects")
    check_image_count(messages)
    for index, message in enumerate(messages):
        _items(message, index)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES.keys() | _SYSTEM_ROLES:
            raise input_refusal("messages", index, "role", why="expected user, assistant or system")
    return messages


async def _image_parts(inputs: Mapping[str, Any], io: AttemptIO) -> list[dict[str, Any]]:
    references = inputs.get("image_urls", [])
    if not isinstance(references, list):
        raise invalid_input("image_urls", "expected a list")
    return [(await image_input(each, f"image_urls[{index}]", io)).inline for index, each in enumerate(references)]


def _settings(inputs: Mapping[str, Any]) -> dict[str, Any]:
    names = {"temperature": "temperature", "max_tokens": "maxOutputTokens"}
    config = {name: inputs[field] for field, name in names.items() if field in inputs}
    if "seed" in inputs:
        config["seed"] = seed_of(inputs, 0)
    if "json_schema" in inputs:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": inputs["json_schema"]}
    return config


def _items(message: Mapping[str, Any], index: int) -> list[tuple[str, str]]:
    """Return the items of a message's content as pairs of type and value. Raises `Refusal` for other items.

    The content is a string, or a list of {"type": "text" | "image_url", …} as in OpenAI's API.
    """
    content = message.get("content")
    items: list[tuple[str, str]] = []
    for item in [{"type": "text", "text": content}] if not isinstance(content, list) else content:
        match item:
            case {"type": "text", "text": str(text)}:
                items.append(("text", text))
            case {"type": "image_url", "image_url": str(url) | {"url": str(url)}}:
                items.append(("image_url", url))
            case _:
                raise input_refusal("messages", index, "content", why=_CONTENT)
    return items


async def _part(item: tuple[str, str], field: str, io: AttemptIO) -> dict[str, Any]:
    kind, value = item
    return {"text": value} if kind == "text" else (await image_input(value, f"{field}.image_url", io)).inline


def imagen_body(attempt: Attempt, *, seeded: bool) -> dict[str, Any]:
    """Return the body for Imagen. *seeded*: the API accepts a seed. Raises `AttemptError` for what Imagen can't do."""
    inputs = without_nulls(attempt.inputs)
    check_imagen(inputs)
    own: dict[str, Any] = {"sampleCount": 1, "includeRaiReason": True}
    if aspect_ratio := nearest_ratio(inputs, IMAGEN_RATIOS):
        own["aspectRatio"] = aspect_ratio
    if seeded:
        own |= {"seed": seed_of(inputs, attempt.seed), "addWatermark": False}
    return {"instances": [{"prompt": image_prompt(inputs)}], "parameters": parameters(attempt.provider_config, own)}


def check_imagen(inputs: Container[str]) -> None:
    """Raise `Refusal` if *inputs* names one that Imagen doesn't support."""
    if "reference_image_url" in inputs:
        raise input_refusal("reference_image_url", why="Imagen accepts no images; a Gemini image model does")


async def veo_body(attempt: Attempt, io: AttemptIO, *, seeded: bool) -> dict[str, Any]:
    """Return the body for Veo. *seeded*: the API accepts a seed and a number of samples."""
    inputs = without_nulls(attempt.inputs)
    first, prompt = await _first_image(inputs, io), _video_prompt(inputs)
    own: dict[str, Any] = {"durationSeconds": nearest_seconds(inputs, _VEO_SECONDS, _SECONDS)}
    if aspect_ratio := nearest_ratio(inputs, VIDEO_RATIOS, first.sides if first else None):
        own["aspectRatio"] = aspect_ratio
    if seeded:
        own |= {"seed": seed_of(inputs, attempt.seed, _VEO_SEEDS), "sampleCount": 1}
    instance: dict[str, Any] = {"prompt": prompt} if prompt else {}
    if first is not None:
        instance["image"] = {"bytesBase64Encoded": first.text, "mimeType": first.media_type}
    return {"instances": [instance], "parameters": parameters(attempt.provider_config, own)}


async def omni_body(attempt: Attempt, model: str, io: AttemptIO) -> dict[str, Any]:
    """Return the body for Omni.

    `provider_config.parameters`, for example {"resolution": "1080p"}, go into `response_format`.
    """
    inputs = without_nulls(attempt.inputs)
    first, prompt = await _first_image(inputs, io), _video_prompt(inputs)
    seconds = nearest_seconds(inputs, _OMNI_SECONDS, _SECONDS)
    own: dict[str, Any] = {"type": "video", "delivery": "uri", "duration": f"{seconds}s"}
    if aspect_ratio := nearest_ratio(inputs, VIDEO_RATIOS, first.sides if first else None):
        own["aspect_ratio"] = aspect_ratio
    images = [] if first is None else [{"type": "image", "data": first.text, "mime_type": first.media_type}]
    return {
        "model": model,
        "input": [*images, {"type": "text", "text": prompt or "Bring this picture to life."}],
        "background": True,
        "response_format": parameters(attempt.provider_config, own),
    }


async def _first_image(inputs: Mapping[str, Any], io: AttemptIO) -> InputImage | None:
    reference = inputs.get("base_image_url")
    return None if reference is None else await image_input(reference, "base_image_url", io)


def _video_prompt(inputs: Mapping[str, Any]) -> str:
    motion = inputs.get("motion")
    words = [str(inputs.get("prompt", ""))] + ([f"Camera: {str(motion).replace('_', ' ')}."] if motion else [])
    return " ".join(word for word in words if word)
