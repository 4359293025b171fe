"""What a prediction gave, made into a step's result: every model has an output of its own form.

Files are addresses at Replicate, anywhere in the output: alone, in a list, or in an object, at any depth
(https://replicate.com/docs/topics/predictions/output-files). Text is a string, or a list of its pieces.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import json

from stepwell.contract.enums import TaskType
from stepwell.domain.errors import AttemptError
from stepwell.domain.urls import split_url
from stepwell.ports.providers import AttemptIO

_DEEPEST = 16
_FILMS = ("mp4", "webm", "mov")
_PICTURES = ("png", "jpg", "jpeg", "webp", "gif")


async def stored_output(task_type: TaskType, output: Any, given: Any, io: AttemptIO) -> dict[str, Any]:
    """The result of a step, its files stored. *given* is the prediction's input, which tells the seed.

    Films and pictures give `result_video_path` or `result_image_path`, and where there are several all of them under
    the same name with an s; text gives `result_text`, any other value `result_json`. Raises `AttemptError` if there is
    nothing at all, and what `AttemptIO.download` raises.
    """
    if output is None or output in ("", [], {}):
        raise AttemptError("Replicate: the prediction has succeeded, but gave no output", retryable=True)
    urls = [] if task_type is TaskType.LLM_INTERACTION else list(dict.fromkeys(_addresses(output, _DEEPEST)))
    result = await _stored(task_type, urls, io) if urls else _told(output)
    seed = _seed(given)
    return result if seed is None else {**result, "seed": seed}


async def _stored(task_type: TaskType, urls: list[str], io: AttemptIO) -> dict[str, Any]:
    film = task_type is TaskType.VIDEO_GENERATION
    media_types = ("video/", "image/") if film else ("image/",)  # an animated picture is a film too
    if film:
        urls = sorted(urls, key=lambda url: _suffix(url, "") not in _FILMS)  # before its thumbnail
    paths = []
    for number, url in enumerate(urls, 1):
        name = f"result{'' if number == 1 else f'_{number}'}.{_suffix(url, 'mp4' if film else 'png')}"
        paths.append((await io.download(url, name, media_types)).path)
    field = "result_video_path" if film else "result_image_path"
    return {field: paths[0], **({f"{field}s": paths} if len(paths) > 1 else {})}


def _told(output: Any) -> dict[str, Any]:
    if isinstance(output, str):
        return {"result_text": output}
    if isinstance(output, list) and all(isinstance(piece, str) for piece in output):
        return {"result_text": "".join(output)}
    return {"result_text": json.encode(output).decode(), "result_json": output}


def _addresses(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value[:8].lower().startswith(("https://", "http://")) and not any(char.isspace() for char in value):
            yield value
    elif depth and isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _addresses(item, depth - 1)


def _suffix(url: str, otherwise: str) -> str:
    """How the file's name ends; "bin" for what nobody here knows, so that it is never served as what it isn't."""
    name = split_url(url).path.rpartition("/")[2]
    suffix = name.rpartition(".")[2].lower() if "." in name else otherwise
    return suffix if suffix in (*_FILMS, *_PICTURES, otherwise) else "bin"


def _seed(given: Any) -> int | None:
    seed = given.get("seed") if isinstance(given, Mapping) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None
