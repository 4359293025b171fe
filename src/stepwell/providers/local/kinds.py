"""The task types that LOCAL does, with what is known before a child process does the work."""

from typing import NamedTuple

from stepwell.contract.enums import TaskType
from stepwell.providers.local import weights
from stepwell.providers.local.weights import Weigh


class RenderKind(NamedTuple):
    """What the process of the service knows of the way in which LOCAL does a task type.

    `weigh` returns what the work needs. `files` names the inputs that are files, `many` those that are lists of files.
    `suffix` is that of the result.
    """

    weigh: Weigh
    capabilities: frozenset[str]
    files: tuple[str, ...] = ("base_image_url",)
    many: tuple[str, ...] = ()
    suffix: str = "png"


KINDS: dict[TaskType, RenderKind] = {
    TaskType.GENERATION: RenderKind(
        weights.of_generation,
        frozenset({"seed", "negative_prompt", "lora_weights", "reference_image", "num_images"}),
        files=("reference_image_url",),
    ),
    TaskType.EDITING: RenderKind(
        weights.of_editing,
        frozenset({"overlay", "mask", "crop", "rotate", "resize", "reference_image"}),
        files=("base_image_url", "mask_image_url", "overlay_image_url"),
        many=("reference_image_urls",),
    ),
    TaskType.REFINE: RenderKind(weights.of_refine, frozenset({"upscale", "denoise", "sharpen"})),
    TaskType.VIDEO_GENERATION: RenderKind(weights.of_video, frozenset({"motion"}), suffix="webp"),
    TaskType.BACKGROUND_FIX: RenderKind(
        weights.of_background,
        frozenset({"background_color", "background_image"}),
        files=("base_image_url", "background_image_url"),
    ),
    TaskType.FACE_ENHANCER: RenderKind(weights.of_face, frozenset({"strength"})),
    TaskType.IMAGE_ADJUSTER: RenderKind(weights.of_adjusting, frozenset({"exposure", "color", "sharpen"})),
    TaskType.DETAIL_ENHANCER: RenderKind(weights.of_detail, frozenset({"strength"})),
    TaskType.BACKGROUND_REMOVE: RenderKind(weights.of_background, frozenset({"transparency"})),
}
