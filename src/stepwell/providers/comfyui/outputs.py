"""Turns the outputs of a graph's nodes into a step's result.

The history lists outputs by node. SaveImage and PreviewImage list files under "images". Nodes that save videos list
them there too, with "animated", or (VideoHelperSuite) under "gifs", with a "format". Nodes that show text list "text".
A file has a filename, a subfolder and a type, which is "output" for a saved file and "temp" for a preview
(https://docs.comfy.org/development/comfyui-server/comms_routes, `/view`).

The result is the output of the node `provider_config.output`. If the step names none, it is the last node, by its id,
with an output of the wanted kind; nodes that saved a file go before nodes with previews only.
"""

import io
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from anyio import to_thread
from PIL import Image

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import TaskType
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import AttemptIO
from stepwell.providers.comfyui.client import File
from stepwell.providers.comfyui.node_graph import node_order
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.provider_api import ApiAnswer
from stepwell.providers.shared.result_storage import file_name, path_fields, store_from_job

View = Callable[[File], Awaitable[ApiAnswer]]

_VIDEOS = ("mp4", "webm", "mov", "mkv", "m4v", "avi")
_IMAGES = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tiff")
_ANIMATED = ("webp", "gif")  # images that may be videos
_LISTS = ("images", "gifs", "video", "videos")
_NO_FILES = ("text/", "application/json")  # content types of a proxy's answer instead of a file


async def store_outputs(
    task_type: TaskType, outputs: Mapping[str, Any], wanted: str | None, view: View, files: AttemptIO
) -> dict[str, Any]:
    """Store the files, and return the step's result. *wanted* is the node that the step names, if any.

    If a node has several files, all are stored, and their paths are listed under the field's name with an "s". Raises
    `AttemptError` if there is no such output, or a file is broken, and what *view* raises.
    """
    if task_type is TaskType.LLM_INTERACTION:
        return _text_result(_select(outputs, _texts_in, wanted, "text"))
    if task_type is TaskType.VIDEO_GENERATION:
        videos = _select(outputs, _videos_in, wanted, "video")
        numbered = enumerate(videos, 1)
        paths = [await _store_file(video, number, await _read(video, view), files) for number, video in numbered]
        return path_fields("result_video_path", paths)
    images = _select(outputs, _images_in, wanted, "image")
    paths, facts = list[str](), dict[str, Any]()
    for number, image in enumerate(images, 1):
        data = await _read(image, view)
        facts = facts or await _image_facts(data)
        paths.append(await _store_file(image, number, data, files))
    return path_fields("result_image_path", paths) | facts


def _select(
    outputs: Mapping[str, Any], results_in: Callable[[Any], Iterator[Any]], wanted: str | None, kind: str
) -> list[Any]:
    by_node = {node: list(results_in(output)) for node, output in outputs.items()}
    if wanted is None:
        saved = [node for node, output in by_node.items() if any(_is_saved(item) for item in output)]
        nodes = saved or [node for node, output in by_node.items() if output]
        wanted = max(nodes, key=node_order, default=None)
        place = ""
    else:
        place = f" at node {wanted}"
    output = by_node.get(wanted, []) if wanted is not None else []
    if not output:
        raise AttemptError(sanitised(f"ComfyUI: the graph gave no {kind}{place}", 200), retryable=False)
    return output


def _is_saved(item: Any) -> bool:
    return isinstance(item, File) and item.type == "output"


def _videos_in(output: Any) -> Iterator[File]:
    for kind, entry, file in _files_in(output):
        media_type = entry.get("format")
        is_video = isinstance(media_type, str) and media_type.startswith("video/")
        is_animated = kind != "images" or output.get("animated") not in (None, [], [False])
        if is_video or is_animated or _suffix(file) in (*_VIDEOS, *_ANIMATED):
            yield file


def _images_in(output: Any) -> Iterator[File]:
    return (file for kind, _, file in _files_in(output) if kind == "images" and _suffix(file) in _IMAGES)


def _files_in(output: Any) -> Iterator[tuple[str, Mapping[str, Any], File]]:
    for kind in _LISTS if isinstance(output, Mapping) else ():
        entries = output.get(kind)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and isinstance(entry.get("filename"), str):
                folder, type_ = entry.get("subfolder") or "", entry.get("type") or "output"
                yield kind, entry, File(entry["filename"], str(folder), str(type_))


def _texts_in(output: Any) -> Iterator[str]:
    texts = output.get("text") if isinstance(output, Mapping) else None
    for piece in texts if isinstance(texts, list) else [texts]:
        if isinstance(piece, str):
            yield piece
        elif isinstance(piece, list):  # several texts, of a node that works on lists
            yield from (part for part in piece if isinstance(part, str))


def _text_result(texts: list[str]) -> dict[str, Any]:
    text = "\n".join(texts)
    value: Any = read_json(text, Any) if text.lstrip()[:1] in ("{", "[") else None
    return {"result_text": text} | ({"result_json": value} if value is not None else {})


async def _read(file: File, view: View) -> bytes:
    answer = await view(file)
    kind = answer.headers.get("content-type", "").strip().lower()
    if kind.startswith(_NO_FILES):
        raise _broken(f"the output is {kind.partition(';')[0]}")
    if not answer.body:
        raise CallFailed("ComfyUI: the output is empty")
    return answer.body


async def _store_file(file: File, number: int, data: bytes, files: AttemptIO) -> str:
    """Store a file. Returns its path."""
    suffix = _suffix(file) if _suffix(file) in (*_VIDEOS, *_IMAGES) else "bin"  # never served with a wrong type
    return (await store_from_job(files, file_name(number, suffix), data)).path


async def _image_facts(data: bytes) -> dict[str, Any]:
    try:
        width, height, name = await to_thread.run_sync(_header, data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _broken("the output is not a readable image") from error
    return {"width": width, "height": height, "format": name}


def _header(data: bytes) -> tuple[int, int, str | None]:
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")) as image:
        return image.width, image.height, image.format


def _suffix(file: File) -> str:
    return PurePosixPath(file.filename).suffix.removeprefix(".").lower()


def _broken(why: str) -> AttemptError:
    """Return an error that leads to neither a retry nor the fallback, because the work is done."""
    return AttemptError(sanitised(f"ComfyUI: {why}", 200), retryable=False, provider_fault=False)
