"""The bodies of predict (Imagen), predictLongRunning (Veo), and interactions that make a video (Omni).

Imagen: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api. It accepts a seed only
without a watermark, and only on VERTEX. Veo:
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation, and
https://ai.google.dev/gemini-api/docs/video for the Gemini API, which documents no seed and no number of samples. Omni:
https://ai.google.dev/gemini-api/docs/omni.

The aspect ratio of a video is 16:9 or 9:16, whichever is nearer to `width` and `height`, or to the first image. A video
from Veo lasts 4, 6 or 8 seconds, from Omni 3 to 10. `motion` becomes part of the prompt. `fps` isn't sent, because no
model accepts it.
"""

from collections.abc import Container, Mapping
from typing import Any

from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.google.aspect_ratios import IMAGEN_RATIOS, VIDEO_RATIOS, nearest_ratio, nearest_seconds
from stepwell.providers.google.media import InputImage, image_input
from stepwell.providers.google.models import parameters
from stepwell.providers.google.request_parts import image_prompt, seed_of
from stepwell.providers.shared.refusals import input_refusal

_VEO_SECONDS, _OMNI_SECONDS = (4, 6, 8), tuple(range(3, 11))
_SECONDS = 4  # the default
_SEEDS = 2**32


def imagen_body(attempt: Attempt, *, seeded: bool) -> dict[str, Any]:
    """Return the body for Imagen. *seeded*: the API accepts a seed. Raises `AttemptError` for what Imagen can't do."""
    inputs = without_nulls(attempt.inputs)
    check_imagen(inputs)
    own: dict[str, Any] = {"sampleCount": 1, "includeRaiReason": True}
    if aspect_ratio := nearest_ratio(inputs, IMAGEN_RATIOS):
        own["aspectRatio"] = aspect_ratio
    if seeded:
        own |= {"seed": seed_of(inputs, attempt.seed), "addWatermark": False}
    return {
        "instances": [{"prompt": image_prompt(inputs)}],
        "parameters": parameters(attempt.provider_config, own),
    }


def check_imagen(inputs: Container[str]) -> None:
    """Raise `Refusal` if *inputs* names one that Imagen doesn't support."""
    if "reference_image_url" in inputs:
        why = "Imagen accepts no images; a Gemini image model does"
        raise input_refusal("reference_image_url", why=why)


async def veo_body(attempt: Attempt, io: AttemptIO, *, seeded: bool) -> dict[str, Any]:
    """Return the body for Veo. *seeded*: the API accepts a seed and a number of samples."""
    inputs = without_nulls(attempt.inputs)
    first, prompt = await _first_image(inputs, io), _video_prompt(inputs)
    own: dict[str, Any] = {"durationSeconds": nearest_seconds(inputs, _VEO_SECONDS, _SECONDS)}
    if aspect_ratio := nearest_ratio(inputs, VIDEO_RATIOS, first.sides if first else None):
        own["aspectRatio"] = aspect_ratio
    if seeded:
        own |= {"seed": seed_of(inputs, attempt.seed, _SEEDS), "sampleCount": 1}
    instance: dict[str, Any] = {"prompt": prompt} if prompt else {}
    if first is not None:
        instance["image"] = first.instance
    return {"instances": [instance], "parameters": parameters(attempt.provider_config, own)}


async def omni_body(attempt: Attempt, model: str, io: AttemptIO) -> dict[str, Any]:
    """Return the body for Omni.

    `provider_config.parameters`, for example {"resolution": "1080p"}, go into `response_format`.
    """
    inputs = without_nulls(attempt.inputs)
    first, prompt = await _first_image(inputs, io), _video_prompt(inputs)
    own: dict[str, Any] = {
        "type": "video",
        "delivery": "uri",
        "duration": f"{nearest_seconds(inputs, _OMNI_SECONDS, _SECONDS)}s",
    }
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
