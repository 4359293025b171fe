"""Turns the output of a prediction into a step's result. Every model has its own form of output.

Files are URLs at Replicate, anywhere in the output: alone, in a list or in an object, at any depth
(https://replicate.com/docs/topics/predictions/output-files). Text is a string, or a list of its pieces.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import json

from stepwell.basics.errors import AttemptError
from stepwell.basics.urls import split_url
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import AttemptIO
from stepwell.providers.shared.result_storage import file_name, path_fields, seed_field

_MAX_DEPTH = 16
_VIDEOS = ("mp4", "webm", "mov")
_IMAGES = ("png", "jpg", "jpeg", "webp", "gif")


async def store_output(task_type: TaskType, output: Any, prediction_input: Any, io: AttemptIO) -> dict[str, Any]:
    """Store the files, and return the step's result.

    A file becomes `result_video_path` or `result_image_path`; several files are also listed under that name with an
    "s". Text becomes `result_text`, any other value `result_json`. *prediction_input* contains the seed. Raises
    `AttemptError` if the output is empty, and what `AttemptIO.download` raises.
    """
    if output is None or output in ("", [], {}):
        raise AttemptError("Replicate: the prediction has succeeded, but gave no output", retryable=True)
    urls = [] if task_type is TaskType.LLM_INTERACTION else list(dict.fromkeys(_urls(output, _MAX_DEPTH)))
    result = await _store_files(task_type, urls, io) if urls else _text_result(output)
    return result | seed_field(prediction_input)


async def _store_files(task_type: TaskType, urls: list[str], io: AttemptIO) -> dict[str, Any]:
    is_video = task_type is TaskType.VIDEO_GENERATION
    media_types = ("video/", "image/") if is_video else ("image/",)  # an animated image is a video too
    if is_video:
        urls = sorted(urls, key=lambda url: _suffix(url, "") not in _VIDEOS)  # videos before their thumbnails
    paths = []
    for number, url in enumerate(urls, 1):
        name = file_name(number, _suffix(url, "mp4" if is_video else "png"))
        paths.append((await io.download(url, name, media_types)).path)
    return path_fields("result_video_path" if is_video else "result_image_path", paths)


def _text_result(output: Any) -> dict[str, Any]:
    if isinstance(output, str):
        return {"result_text": output}
    if isinstance(output, list) and all(isinstance(piece, str) for piece in output):
        return {"result_text": "".join(output)}
    return {"result_text": json.encode(output).decode(), "result_json": output}


def _urls(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value[:8].lower().startswith(("https://", "http://")) and not any(char.isspace() for char in value):
            yield value
    elif depth and isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _urls(item, depth - 1)


def _suffix(url: str, default: str) -> str:
    """Return the extension for the file; "bin" if it is unknown, so that it is never served with a wrong type."""
    name = split_url(url).path.rpartition("/")[2]
    suffix = name.rpartition(".")[2].lower() if "." in name else default
    return suffix if suffix in (*_VIDEOS, *_IMAGES, default) else "bin"
