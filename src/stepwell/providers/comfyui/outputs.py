"""What the nodes of a graph gave, made into a step's result.

The history lists outputs by node. SaveImage and PreviewImage give "images"; nodes that save films give them there too,
and say that they are "animated", or, those of VideoHelperSuite, under "gifs", with a "format"; nodes that show text
give "text". A file is told by its filename, subfolder and type, which is "output" if it was saved and "temp" if it is a
preview (https://docs.comfy.org/development/comfyui-server/comms_routes, `/view`).

The result is what the node `provider_config.output` gave. Where the step names none, it is the last node, by its id,
that gave something of the kind that the step makes; one that saved it goes before one that only showed it.
"""

import io
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from anyio import to_thread
from PIL import Image

from stepwell.contract.enums import TaskType
from stepwell.domain.errors import AttemptError, CallFailed
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import AttemptIO
from stepwell.providers.comfyui.client import File
from stepwell.providers.comfyui.node_graph import order
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.provider_api import ApiAnswer
from stepwell.providers.shared.result_storage import store_from_job

View = Callable[[File], Awaitable[ApiAnswer]]

_FILMS = ("mp4", "webm", "mov", "mkv", "m4v", "avi")
_PICTURES = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tiff")
_MOVING = ("webp", "gif")  # pictures that may be films
_LISTS = ("images", "gifs", "video", "videos")
_NO_FILES = ("text/", "application/json")  # what a proxy answers in place of a file


async def stored_outputs(
    task_type: TaskType, outputs: Mapping[str, Any], wanted: str | None, view: View, files: AttemptIO
) -> dict[str, Any]:
    """The result of a step, its files stored; *wanted* is the node that gave it, if the step names one.

    Several files of one node are all stored: their paths stand under the same name with an s. Raises `AttemptError` if
    there is nothing of the kind, or a file is broken, and what *view* raises.
    """
    if task_type is TaskType.LLM_INTERACTION:
        return _told(_chosen({node: list(_texts(given)) for node, given in outputs.items()}, wanted, "text"))
    if task_type is TaskType.VIDEO_GENERATION:
        films = _chosen({node: list(_films(given)) for node, given in outputs.items()}, wanted, "film")
        stored = [await _stored(film, number, await _read(film, view), files) for number, film in enumerate(films, 1)]
        return _named("result_video_path", stored)
    pictures = _chosen({node: list(_pictures(given)) for node, given in outputs.items()}, wanted, "picture")
    paths: list[str] = []
    about: dict[str, Any] = {}
    for number, picture in enumerate(pictures, 1):
        data = await _read(picture, view)
        about = about or await _about(data)
        paths.append(await _stored(picture, number, data, files))
    return _named("result_image_path", paths) | about


def _chosen(found: Mapping[str, list[Any]], wanted: str | None, kind: str) -> list[Any]:
    if wanted is None:
        saved = [node for node, given in found.items() if any(_is_saved(item) for item in given)]
        nodes = saved or [node for node, given in found.items() if given]
        wanted = max(nodes, key=order, default=None)
        place = ""
    else:
        place = f" at node {wanted}"
    given = found.get(wanted, []) if wanted is not None else []
    if not given:
        raise AttemptError(sanitised(f"ComfyUI: the graph gave no {kind}{place}", 200), retryable=False)
    return given


def _is_saved(item: Any) -> bool:
    return isinstance(item, File) and item.type == "output"


def _films(given: Any) -> Iterator[File]:
    for kind, entry, file in _files(given):
        says = entry.get("format")
        is_film = isinstance(says, str) and says.startswith("video/")
        moves = kind != "images" or given.get("animated") not in (None, [], [False])
        if is_film or moves or _suffix(file) in (*_FILMS, *_MOVING):
            yield file


def _pictures(given: Any) -> Iterator[File]:
    return (file for kind, _, file in _files(given) if kind == "images" and _suffix(file) in _PICTURES)


def _files(given: Any) -> Iterator[tuple[str, Mapping[str, Any], File]]:
    for kind in _LISTS if isinstance(given, Mapping) else ():
        entries = given.get(kind)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and isinstance(entry.get("filename"), str):
                folder, type_ = entry.get("subfolder") or "", entry.get("type") or "output"
                yield kind, entry, File(entry["filename"], str(folder), str(type_))


def _texts(given: Any) -> Iterator[str]:
    said = given.get("text") if isinstance(given, Mapping) else None
    for piece in said if isinstance(said, list) else [said]:
        if isinstance(piece, str):
            yield piece
        elif isinstance(piece, list):  # several, of a node that works on lists
            yield from (part for part in piece if isinstance(part, str))


def _told(texts: list[str]) -> dict[str, Any]:
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


async def _stored(file: File, number: int, data: bytes, files: AttemptIO) -> str:
    """Its path."""
    suffix = _suffix(file) if _suffix(file) in (*_FILMS, *_PICTURES) else "bin"  # never served as what it isn't
    name = f"result{'' if number == 1 else f'_{number}'}.{suffix}"
    return (await store_from_job(files, name, data)).path


async def _about(data: bytes) -> dict[str, Any]:
    try:
        width, height, name = await to_thread.run_sync(_header, data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _broken("the output is no picture that can be read") from error
    return {"width": width, "height": height, "format": name}


def _header(data: bytes) -> tuple[int, int, str | None]:
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")) as picture:
        return picture.width, picture.height, picture.format


def _named(field: str, paths: list[str]) -> dict[str, Any]:
    return {field: paths[0], **({f"{field}s": paths} if len(paths) > 1 else {})}


def _suffix(file: File) -> str:
    return PurePosixPath(file.filename).suffix.removeprefix(".").lower()


def _broken(why: str) -> AttemptError:
    """The work was done: neither a retry nor the fallback would mend its file."""
    return AttemptError(sanitised(f"ComfyUI: {why}", 200), retryable=False, provider_fault=False)
