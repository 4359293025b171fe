"""What fal's answers say: errors of its platform (https://fal.ai/docs/documentation/model-apis/request-errors) and of
its models (https://fal.ai/docs/documentation/model-apis/errors), and the outputs of its apps.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import httpx
from msgspec import Struct

from stepwell.contract.enums import TaskType
from stepwell.contract.tasks import Output
from stepwell.domain.errors import AttemptError
from stepwell.domain.setting_names import PREFIX
from stepwell.domain.urls import split_url
from stepwell.outbound.sanitise import masked, sanitised
from stepwell.ports.providers import AttemptIO
from stepwell.providers.fal.parameters import KINDS
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi, is_unauthorized

CLIENT_CANCELLED = "client_cancelled"

_NAME = "FAL"
_PASSING = frozenset(
    {
        "request_timeout",
        "startup_timeout",
        "runner_scheduling_failure",
        "runner_connection_timeout",
        "runner_disconnected",
        "runner_connection_refused",
        "runner_connection_error",
        "runner_incomplete_response",
        "runner_server_error",
        "client_disconnected",
        "internal_error",
    }
)
# These are about the call, not about the request that it asks for; a result that isn't there yet is told by 400.
_OF_THE_CALL = frozenset({401, 403, 404, 408, 410, 425, 429})
_NOT_YET = "in progress"
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_SHOWN = 300
_FORMATS = {
    "image/png": ("png", "PNG"),
    "image/jpeg": ("jpg", "JPEG"),
    "image/webp": ("webp", "WEBP"),
    "image/gif": ("gif", "GIF"),
    "image/avif": ("avif", "AVIF"),
    "video/mp4": ("mp4", "MP4"),
    "video/webm": ("webm", "WEBM"),
    "video/quicktime": ("mov", "MOV"),
}
_BY_SUFFIX = {extension: (extension, name) for extension, name in _FORMATS.values()} | {"jpeg": ("jpg", "JPEG")}
_UNKNOWN = ("bin", "")


class Keyed:
    """fal's APIs for one key, which appears in nothing that they say."""

    def __init__(self, client: httpx.AsyncClient, key: Key, timeout_s: float) -> None:
        secret = key.secret
        self.headers = {"Authorization": f"Key {secret}"}
        self._hidden = (secret, secret.partition(":")[2])
        api = partial(ProviderApi, client, _NAME, timeout_s=timeout_s)
        queue = partial(api, lambda body: self._shown(error_words(body)))
        self.queue = queue(key=key, refuses_key=_refuses_key)
        # The status of a result is set by its app, which anybody may have written: it proves nothing about the key.
        self.results = queue()
        # A key that works for the queue may have no permission here.
        self.platform = api(lambda body: self._shown(platform_words(body)), setting=f"{PREFIX}FAL_API_URL")

    def clean(self, text: str) -> str:
        return masked(text, self._hidden, "***")

    def _shown(self, words: str | None) -> str | None:
        return None if words is None else self.clean(words)


def _refuses_key(answer: ApiAnswer) -> bool:
    """Return whether fal doesn't know the key. A key without access to the step's app isn't a refused key."""
    words = (error_words(answer.body) or "").lower()
    return is_unauthorized(answer) and ("application" not in words or "authentication is required" in words)


def error_words(body: bytes) -> str | None:
    """The words of an error of the queue or of a model: `detail`, a text or a list of {loc, msg, type}."""
    return _words(_decoded(body).get("detail"))


def platform_words(body: bytes) -> str | None:
    """The same for the platform API: {"error": {"type", "message"}}."""
    error = _decoded(body).get("error")
    return _words(error.get("message")) if isinstance(error, dict) else error_words(body)


def is_passing(error_type: str) -> bool:
    """Whether a request that ended so may go better the next time."""
    return error_type in _PASSING


def failure_of(answer: ApiAnswer) -> AttemptError | None:
    """How a request failed, by what is there instead of its result; null if *answer* doesn't surely say that it did.

    An error of the platform has an error type, one of the model a list of details. A mere text with a 5xx may be the
    queue's own trouble, and a job that may have succeeded must not be taken for failed: it would be paid twice.
    """
    if answer.status < _CLIENT_ERROR or answer.status in _OF_THE_CALL:
        return None
    body, words = _decoded(answer.body), error_words(answer.body)
    error_type = body.get("error_type") or answer.headers.get("x-fal-error-type")
    if isinstance(error_type, str):
        return _failed(f"{error_type}: {words}" if words else error_type, retryable=is_passing(error_type))
    if words is None:
        return None
    if isinstance(body["detail"], list):
        told = answer.headers.get("x-fal-retryable", "").strip().lower()
        return _failed(words, retryable=told == "true" or (told != "false" and answer.status >= _SERVER_ERROR))
    if answer.status >= _SERVER_ERROR or _NOT_YET in words.lower():
        return None
    return _failed(words, retryable=False)


async def result_of(task_type: TaskType, output: Any, io: AttemptIO) -> dict[str, Any]:
    """The result of a step by what its app has put out, the files stored. Raises as `AttemptIO.download`, and
    `AttemptError` if what the task is for isn't there.
    """
    found = output if isinstance(output, dict) else {}
    if task_type not in KINDS:
        return {"output": output, **await _video(found, io), **await _images(found, io)}
    gives = KINDS[task_type].gives
    if gives == "text":
        result = _text(found)
    else:
        result = await (_video if gives == "video" else _images)(found, io)
    if not result:
        raise AttemptError(f"FAL: the answer has no {gives}", retryable=False)
    seed = found.get("seed")
    return result | ({"seed": seed} if isinstance(seed, int) and not isinstance(seed, bool) else {})


class _File(Struct, frozen=True):
    url: str
    about: Mapping[str, Any]

    def format(self) -> tuple[str, str]:
        """Its extension, and the name of its format ("" if unknown)."""
        media_type = self.about.get("content_type")
        if isinstance(media_type, str) and media_type.partition(";")[0].strip().lower() in _FORMATS:
            return _FORMATS[media_type.partition(";")[0].strip().lower()]
        if self.url.startswith("data:"):
            return _FORMATS.get(self.url[len("data:") :].partition(",")[0].partition(";")[0].lower(), _UNKNOWN)
        return _BY_SUFFIX.get(split_url(self.url).path.rpartition(".")[2].lower(), _UNKNOWN)


async def _images(output: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    files = _files(output.get("images")) or _files(output.get("image"))
    if not files:
        return {}
    stored = [await _stored(file, place, "image", io) for place, file in enumerate(files)]
    result = {"result_image_path": stored[0].path, **_told(files[0]), "size": stored[0].size}
    return result | ({"result_image_paths": [each.path for each in stored]} if len(stored) > 1 else {})


async def _video(output: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    files = _files(output.get("video"))
    if not files:
        return {}
    stored = await _stored(files[0], 0, "video", io)
    return {"result_video_path": stored.path, **_told(files[0]), "size": stored.size}


def _text(output: Mapping[str, Any]) -> dict[str, Any]:
    text = output.get("output")
    if not isinstance(text, str):
        return {}
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    value: Any = read_json(bare.encode("utf-8", "replace"), Any)
    return {"result_text": text} | ({"result_json": value} if isinstance(value, dict | list) else {})


def _files(value: Any) -> list[_File]:
    """What is at a place where apps put files: one, or a list; as an object with a `url`, or the mere address."""
    files = []
    for item in value if isinstance(value, list) else [value]:
        about = item if isinstance(item, dict) else {"url": item}
        if isinstance(about.get("url"), str) and about["url"]:
            files.append(_File(about["url"], about))
    return files


def _told(file: _File) -> dict[str, Any]:
    name = file.format()[1]
    sides = {side: file.about.get(side) for side in ("width", "height")}
    known = {side: pixels for side, pixels in sides.items() if isinstance(pixels, int) and not isinstance(pixels, bool)}
    return known | ({"format": name} if name else {})


async def _stored(file: _File, place: int, kind: str, io: AttemptIO) -> Output:
    name = f"result{f'_{place}' if place else ''}.{file.format()[0]}"
    if not file.url.startswith("data:"):
        return await io.download(file.url, name, (f"{kind}/",))
    return await io.store(name, (await io.fetch(file.url, f"FAL's {kind}")).data)


def _failed(words: str, *, retryable: bool) -> AttemptError:
    return AttemptError(sanitised(f"FAL: {words}"), retryable=retryable)


def _decoded(body: bytes) -> dict[str, Any]:
    return read_json(body, dict[str, Any]) or {}


def _words(detail: Any) -> str | None:
    if isinstance(detail, list):
        lines = [_line(item) for item in detail if isinstance(item, dict) and isinstance(item.get("msg"), str)]
        return sanitised("; ".join(lines), _SHOWN) if lines else None
    return sanitised(detail, _SHOWN) or None if isinstance(detail, str) else None


def _line(item: Mapping[str, Any]) -> str:
    where = item.get("loc")
    place = ".".join(str(part) for part in where if part != "body") if isinstance(where, list) else ""
    return f"{place}: {item['msg']}" if place else str(item["msg"])
