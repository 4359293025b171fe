"""The members that the results of each provider may have, by type of task. A mapping of any other is refused at create.

What must hold: whatever a provider's code can put into a result is listed here. A provider without an entry, and a task
type whose result is free-form, may give any member.
"""

from collections.abc import Mapping

from stepwell.contract.enums import ProviderType, TaskType

# Facts about an output, which any provider may report.
_REPORTED = frozenset({"nsfw", "revised_prompt", "content_credentials", "content_credentials_removed"})
_FILE = _REPORTED | {"width", "height", "format", "size"}
_IMAGE, _IMAGES = _FILE | {"result_image_path"}, _FILE | {"result_image_path", "result_image_paths"}
_VIDEO, _VIDEOS = _FILE | {"result_video_path"}, _FILE | {"result_video_path", "result_video_paths"}
_TEXT = _REPORTED | {"result_text", "result_json"}
_SEED, _USE = frozenset({"seed"}), frozenset({"model", "usage"})
_GOOGLE = (_IMAGE | _SEED | _USE, _VIDEO | _USE, _TEXT | _USE)

# The members of image, video and text results.
_BY_KIND: Mapping[ProviderType, tuple[frozenset[str], frozenset[str], frozenset[str]]] = {
    ProviderType.LOCAL: (_IMAGE | _SEED, _VIDEO | _SEED | {"fps", "frames", "duration_s", "motion"}, frozenset()),
    ProviderType.FAL: (_IMAGES | _SEED, _VIDEO | _SEED, _TEXT | _SEED),
    # A model that gives no files gives text, whatever the task.
    ProviderType.REPLICATE: (_IMAGES | _TEXT | _SEED, _VIDEOS | _TEXT | _SEED, _TEXT | _SEED),
    ProviderType.OPENAI: (_IMAGE | _USE, _VIDEO | _USE, _TEXT | _USE | {"finish_reason"}),
    ProviderType.GEMINI: _GOOGLE,
    ProviderType.VERTEX: _GOOGLE,
    ProviderType.COMFYUI: (_IMAGES | _SEED, _VIDEOS | _SEED, _TEXT | _SEED),
}
_MORE_OF_LOCAL = {
    TaskType.GENERATION: frozenset({"result_image_paths"}),
    TaskType.EDITING: frozenset({"prompt"}),
    TaskType.REFINE: frozenset({"upscale_factor"}),
}
_FREE_FORM = (TaskType.EXPERIMENTAL_FAL, TaskType.PASSTHROUGH)


def output_names(provider: ProviderType, task_type: TaskType) -> frozenset[str] | None:
    """Return the members that a result of *provider* may have; None if it may have any."""
    if provider not in _BY_KIND or task_type in _FREE_FORM:
        return None
    image, video, text = _BY_KIND[provider]
    if task_type is TaskType.LLM_INTERACTION:
        return text
    if task_type is TaskType.VIDEO_GENERATION:
        return video
    return image | _MORE_OF_LOCAL.get(task_type, frozenset()) if provider is ProviderType.LOCAL else image
