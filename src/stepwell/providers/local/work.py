"""The work of a worker process: a table from task types to functions."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from stepwell.contract.enums import TaskType
from stepwell.domain.errors import AttemptError
from stepwell.outbound.sanitise import sanitised
from stepwell.providers.local import adjust, background, editing, enhance, generation, video
from stepwell.providers.local.rendered_file import RenderedFile
from stepwell.providers.local.weights import weigh_job


class RenderKind(NamedTuple):
    """The way in which LOCAL does a task type: by `function(inputs, files, seed)`.

    `files` names the inputs that are files, `many` those that are lists of files. `name` is the name of the result.
    """

    function: Callable[[Mapping[str, Any], Mapping[str, bytes], int], RenderedFile]
    capabilities: frozenset[str]
    files: tuple[str, ...] = ("base_image_url",)
    many: tuple[str, ...] = ()
    name: str = "result.png"


KINDS: dict[TaskType, RenderKind] = {
    TaskType.GENERATION: RenderKind(
        generation.generate,
        frozenset({"seed", "negative_prompt", "lora_weights", "reference_image"}),
        files=("reference_image_url",),
    ),
    TaskType.EDITING: RenderKind(
        editing.edit,
        frozenset({"overlay", "mask", "crop", "rotate", "resize", "reference_image"}),
        files=("base_image_url", "mask_image_url", "overlay_image_url"),
        many=("reference_image_urls",),
    ),
    TaskType.REFINE: RenderKind(enhance.refine, frozenset({"upscale", "denoise", "sharpen"})),
    TaskType.VIDEO_GENERATION: RenderKind(video.animate, frozenset({"motion"}), name="result.webp"),
    TaskType.BACKGROUND_FIX: RenderKind(
        background.fix,
        frozenset({"background_color", "background_image"}),
        files=("base_image_url", "background_image_url"),
    ),
    TaskType.FACE_ENHANCER: RenderKind(enhance.enhance_face, frozenset({"strength"})),
    TaskType.IMAGE_ADJUSTER: RenderKind(adjust.adjust, frozenset({"exposure", "color", "sharpen"})),
    TaskType.DETAIL_ENHANCER: RenderKind(enhance.enhance_detail, frozenset({"strength"})),
    TaskType.BACKGROUND_REMOVE: RenderKind(background.remove, frozenset({"transparency"})),
}

RenderJob: TypeAlias = dict[str, Any]


def perform(job: RenderJob) -> dict[str, Any]:
    """Do a job in the worker. *job* has task_type, inputs, files (bytes by field), seed and `light_only`.

    Returns {data, result, cost}, or the fields of an `AttemptError`, because an exception with keywords can't be
    pickled. With `light_only`, heavy work isn't done: returns {cost, memory}.
    """
    try:
        weight = weigh_job(TaskType(job["task_type"]), job["inputs"], job["files"])
        if job["light_only"] and not weight.light:
            return {"cost": weight.cost, "memory": weight.memory}
        rendered = KINDS[TaskType(job["task_type"])].function(job["inputs"], job["files"], job["seed"])
    except AttemptError as error:
        return {"error": str(error), "retryable": error.retryable, "provider_fault": error.provider_fault}
    except MemoryError:
        return {"error": "the step needs more memory than LOCAL expects", "retryable": False, "provider_fault": True}
    except Exception as error:  # noqa: BLE001 - a bug here, which the same inputs would meet again
        text = sanitised(f"LOCAL failed: {type(error).__name__}: {error}")
        return {"error": text, "retryable": False, "provider_fault": True}
    return {"data": rendered.data, "result": rendered.result, "cost": weight.cost}
