"""Bodies of generateContent (https://ai.google.dev/api/generate-content): text and pictures in, text or a picture out.

A JSON schema goes as `responseJsonSchema`. The sides of a picture that is asked for give its shape alone: the nearest
aspect ratio that every image model knows. How large it is, `imageConfig.imageSize` in `provider_config.parameters`
says ("1K", "2K", "4K"); REFINE asks for one that holds the picture after `upscale_factor`. A picture is drawn with the
step's seed, as far as models heed it; text without one, unless the input has it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.contract.enums import TaskType
from stepwell.domain.mapping.task_configs import without_nulls
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.google.aspect_ratios import PICTURE_RATIOS, ratio
from stepwell.providers.google.instructions import instruction, others
from stepwell.providers.google.media import InputImage, picture
from stepwell.providers.google.models import parameters
from stepwell.providers.shared.chat_messages import check_image_count
from stepwell.providers.shared.refusals import input_refusal

_ROLES = {"user": "user", "assistant": "model", "model": "model"}
_RULES = frozenset({"system", "developer"})
_SEEDS = 2**31  # what an int32 holds of them
_SIZES = ((1024, "1K"), (2048, "2K"))
_LARGEST = "4K"
_CONTENT = "expected text, or a list of text and image_url items"


def seed_of(inputs: Mapping[str, Any], drawn: int, below: int = _SEEDS) -> int:
    """The step's own seed or the *drawn* one, brought under what the model takes."""
    own = inputs.get("seed")
    return (own if isinstance(own, int) and not isinstance(own, bool) else drawn) % below


def drawing_prompt(inputs: Mapping[str, Any]) -> str:
    """What to draw, and what not: no model of today has a field for that, so it is said in words."""
    prompt, negative = str(inputs.get("prompt", "")), inputs.get("negative_prompt")
    return f"{prompt}\n\nLeave out: {negative}" if negative else prompt


async def content_body(attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
    """Raises `AttemptError` for inputs that can't be brought into this form."""
    inputs = without_nulls(attempt.inputs)
    if attempt.task_type is TaskType.LLM_INTERACTION:
        return await _text_body(inputs, attempt.provider_config, io)
    own: dict[str, Any] = {"responseModalities": ["IMAGE"], "seed": seed_of(inputs, attempt.seed)}
    if attempt.task_type is TaskType.GENERATION:
        parts, base = await _drawing(inputs, io), None
    else:
        parts, base = await _work_on(attempt.task_type, inputs, io)
    if wanted := ratio(inputs, PICTURE_RATIOS):
        own["imageConfig"] = {"aspectRatio": wanted}
    refining = attempt.task_type is TaskType.REFINE
    usual = {"imageConfig": {"imageSize": _size(inputs, base)}} if refining else {}
    found = parameters(attempt.provider_config, own, usual)
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": found}


async def _drawing(inputs: Mapping[str, Any], io: AttemptIO) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": drawing_prompt(inputs)}]
    if "reference_image_url" in inputs:
        reference = await picture(inputs["reference_image_url"], "reference_image_url", io)
        parts += [{"text": "A reference:"}, reference.inline]
    return parts


async def _work_on(
    task_type: TaskType, inputs: Mapping[str, Any], io: AttemptIO
) -> tuple[list[dict[str, Any]], InputImage | None]:
    words = instruction(task_type, inputs)
    base = await picture(inputs.get("base_image_url"), "base_image_url", io)
    parts: list[dict[str, Any]] = [{"text": words}, base.inline]
    for name, field, reference in others(task_type, inputs):
        parts += [{"text": name}, (await picture(reference, field, io)).inline]
    return parts, base


def _size(inputs: Mapping[str, Any], base: InputImage | None) -> str:
    factor = inputs.get("upscale_factor", 2.0)
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise invalid_input("upscale_factor", "expected a number")
    longer = max(base.sides) if base is not None and base.sides is not None else _SIZES[0][0]
    return next((size for side, size in _SIZES if longer * factor <= side), _LARGEST)


async def _text_body(inputs: Mapping[str, Any], config: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    system, contents = [str(inputs["system_prompt"])] if "system_prompt" in inputs else [], list[dict[str, Any]]()
    for place, message in enumerate(checked_messages(inputs)):
        role, parts = message["role"], [await _part(item, f"messages[{place}]", io) for item in _items(message, place)]
        if role in _RULES:
            system += [part["text"] for part in parts if "text" in part]
        else:
            contents.append({"role": _ROLES[role], "parts": parts})
    pictures = await _pictures(inputs, io)
    prompt = [{"text": str(inputs["prompt"])}] if "prompt" in inputs else []
    if prompt or (pictures and not (contents and contents[-1]["role"] == "user")):
        contents.append({"role": "user", "parts": [*pictures, *prompt]})
    elif pictures:
        contents[-1]["parts"] = [*pictures, *contents[-1]["parts"]]
    if not contents:
        raise invalid_input("messages", "expected one of a user")
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if settings := parameters(config, _settings(inputs)):
        body["generationConfig"] = settings
    return body


def checked_messages(inputs: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The messages of a talk. Raises `Refusal` for what can't be told, before anything of it is fetched."""
    messages = inputs.get("messages", [])
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise invalid_input("messages", "expected a list of objects")
    check_image_count(messages)
    for place, message in enumerate(messages):
        _items(message, place)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES.keys() | _RULES:
            raise input_refusal("messages", place, "role", why="expected user, assistant or system")
    return messages


async def _pictures(inputs: Mapping[str, Any], io: AttemptIO) -> list[dict[str, Any]]:
    references = inputs.get("image_urls", [])
    if not isinstance(references, list):
        raise invalid_input("image_urls", "expected a list")
    return [(await picture(each, f"image_urls[{place}]", io)).inline for place, each in enumerate(references)]


def _settings(inputs: Mapping[str, Any]) -> dict[str, Any]:
    names = {"temperature": "temperature", "max_tokens": "maxOutputTokens"}
    found = {name: inputs[field] for field, name in names.items() if field in inputs}
    if "seed" in inputs:
        found["seed"] = seed_of(inputs, 0)
    if "json_schema" in inputs:
        found |= {"responseMimeType": "application/json", "responseJsonSchema": inputs["json_schema"]}
    return found


def _items(message: Mapping[str, Any], place: int) -> list[tuple[str, str]]:
    """A message's content: a string, or a list of {"type": "text" | "image_url", …} as OpenAI's API has it. Each with
    its type.
    """
    content = message.get("content")
    found: list[tuple[str, str]] = []
    for item in [{"type": "text", "text": content}] if not isinstance(content, list) else content:
        match item:
            case {"type": "text", "text": str(text)}:
                found.append(("text", text))
            case {"type": "image_url", "image_url": str(url) | {"url": str(url)}}:
                found.append(("image_url", url))
            case _:
                raise input_refusal("messages", place, "content", why=_CONTENT)
    return found


async def _part(item: tuple[str, str], field: str, io: AttemptIO) -> dict[str, Any]:
    kind, value = item
    return {"text": value} if kind == "text" else (await picture(value, f"{field}.image_url", io)).inline
