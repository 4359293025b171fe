"""The instructions for a Gemini image model, for tasks that change an image.

Such a model redraws the image as an instruction says. It has no parameters for crops, offsets, opacity, tolerance,
radius, sharpness or denoising, so these inputs aren't sent. https://ai.google.dev/gemini-api/docs/image-generation
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stepwell.contract.enums import TaskType
from stepwell.outbound.sanitise import invalid_input
from stepwell.providers.shared.refusals import input_refusal

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
    for place, reference in enumerate(references):
        yield "A reference:", f"reference_image_urls[{place}]", reference


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
