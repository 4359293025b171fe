"""Bodies of predict (Imagen) and predictLongRunning (Veo), and of interactions that make a film (Omni).

Imagen: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api. It takes a seed only
where it puts no watermark on the picture, and only on VERTEX. Veo:
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation, and
https://ai.google.dev/gemini-api/docs/video for the Gemini API, which documents no seed and no number of samples. Omni:
https://ai.google.dev/gemini-api/docs/omni.

A film is as wide as `width` and `height` say, or as its first picture is: 16:9 or 9:16, whichever is nearer. It lasts
4, 6 or 8 seconds from Veo, 3 to 10 from Omni. `motion` is said in words; `fps` is left out, for no model takes it.
"""

from collections.abc import Container, Mapping
from typing import Any

from stepwell.domain.mapping.task_configs import without_nulls
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.google.aspect_ratios import FILM_RATIOS, IMAGEN_RATIOS, ratio, seconds
from stepwell.providers.google.media import InputImage, picture
from stepwell.providers.google.models import parameters
from stepwell.providers.google.request_parts import drawing_prompt, seed_of
from stepwell.providers.shared.refusals import input_refusal

_VEO_SECONDS, _OMNI_SECONDS = (4, 6, 8), tuple(range(3, 11))
_SECONDS = 4  # where the step says nothing
_SEEDS = 2**32


def imagen_body(attempt: Attempt, *, seeded: bool) -> dict[str, Any]:
    """*seeded*: the picture can be drawn by the step's seed. Raises `AttemptError` for what Imagen can't do."""
    inputs = without_nulls(attempt.inputs)
    check_imagen(inputs)
    own: dict[str, Any] = {"sampleCount": 1, "includeRaiReason": True}
    if wanted := ratio(inputs, IMAGEN_RATIOS):
        own["aspectRatio"] = wanted
    if seeded:
        own |= {"seed": seed_of(inputs, attempt.seed), "addWatermark": False}
    return {
        "instances": [{"prompt": drawing_prompt(inputs)}],
        "parameters": parameters(attempt.provider_config, own),
    }


def check_imagen(inputs: Container[str]) -> None:
    """Raises `Refusal` for what Imagen can't do, by the names of the inputs."""
    if "reference_image_url" in inputs:
        why = "Imagen draws by words alone; a Gemini image model takes pictures too"
        raise input_refusal("reference_image_url", why=why)


async def veo_body(attempt: Attempt, io: AttemptIO, *, seeded: bool) -> dict[str, Any]:
    """*seeded*: seed and number of samples are documented where it goes."""
    inputs = without_nulls(attempt.inputs)
    first, prompt = await _first(inputs, io), _film_prompt(inputs)
    own: dict[str, Any] = {"durationSeconds": seconds(inputs, _VEO_SECONDS, _SECONDS)}
    if wanted := ratio(inputs, FILM_RATIOS, first.sides if first else None):
        own["aspectRatio"] = wanted
    if seeded:
        own |= {"seed": seed_of(inputs, attempt.seed, _SEEDS), "sampleCount": 1}
    instance: dict[str, Any] = {"prompt": prompt} if prompt else {}
    if first is not None:
        instance["image"] = first.instance
    return {"instances": [instance], "parameters": parameters(attempt.provider_config, own)}


async def omni_body(attempt: Attempt, model: str, io: AttemptIO) -> dict[str, Any]:
    """`provider_config.parameters` are for its `response_format`, such as {"resolution": "1080p"}."""
    inputs = without_nulls(attempt.inputs)
    first, prompt = await _first(inputs, io), _film_prompt(inputs)
    own: dict[str, Any] = {
        "type": "video",
        "delivery": "uri",
        "duration": f"{seconds(inputs, _OMNI_SECONDS, _SECONDS)}s",
    }
    if wanted := ratio(inputs, FILM_RATIOS, first.sides if first else None):
        own["aspect_ratio"] = wanted
    pictures = [] if first is None else [{"type": "image", "data": first.text, "mime_type": first.media_type}]
    return {
        "model": model,
        "input": [*pictures, {"type": "text", "text": prompt or "Bring this picture to life."}],
        "background": True,
        "response_format": parameters(attempt.provider_config, own),
    }


async def _first(inputs: Mapping[str, Any], io: AttemptIO) -> InputImage | None:
    reference = inputs.get("base_image_url")
    return None if reference is None else await picture(reference, "base_image_url", io)


def _film_prompt(inputs: Mapping[str, Any]) -> str:
    motion = inputs.get("motion")
    words = [str(inputs.get("prompt", ""))] + ([f"Camera: {str(motion).replace('_', ' ')}."] if motion else [])
    return " ".join(word for word in words if word)
