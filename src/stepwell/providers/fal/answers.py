"""fal's answers: errors of its platform, errors of its models, and the outputs of its apps.

Errors: https://fal.ai/docs/documentation/model-apis/request-errors and .../model-apis/errors.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import httpx
from msgspec import Struct

from stepwell.basics.errors import AttemptError
from stepwell.basics.urls import split_url
from stepwell.contract.enums import TaskType
from stepwell.contract.tasks import Output
from stepwell.outbound.sanitise import mask_secrets, sanitised
from stepwell.ports.providers import AnswerMemory, AttemptIO
from stepwell.providers.fal.descriptor import FAL
from stepwell.providers.fal.parameters import KINDS
from stepwell.providers.shared.bounded_json import read_json, without_code_fence
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi, is_unauthorized
from stepwell.providers.shared.result_storage import seed_field

CLIENT_CANCELLED = "client_cancelled"

_NAME = "FAL"
# Types of errors that a retry may not meet again.
TRANSIENT_ERRORS = frozenset(
    {
        *("request_timeout", "startup_timeout", "client_disconnected", "internal_error"),
        *("runner_scheduling_failure", "runner_disconnected", "runner_incomplete_response", "runner_server_error"),
        *("runner_connection_timeout", "runner_connection_refused", "runner_connection_error"),
    }
)
# Statuses about the call, not about the request that it asks for. 400 also means that the result isn't there yet.
_CALL_STATUSES = frozenset({401, 403, 404, 408, 410, 425, 429})
_NOT_YET = "in progress"
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_MAX_MESSAGE = 300  # bytes
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


class FalApis:
    """fal's APIs, called with one key. The key is masked in all messages."""

    def __init__(self, client: httpx.AsyncClient, key: Key, timeout_s: float, answers: AnswerMemory | None) -> None:
        secret = key.secret
        self.headers = {"Authorization": f"Key {secret}"}
        self._hidden = (secret, secret.partition(":")[2])
        api = partial(ProviderApi, client, _NAME, provider=FAL, timeout_s=timeout_s, answers=answers)
        queue = partial(api, lambda body: self._mask_words(error_words(body)))
        self.queue = queue(key=key, refuses_key=_refuses_key)
        # The app of a request, which anybody may have written, sets the status of its result. So it proves nothing
        # about the key.
        self.results = queue()
        # A key that is valid for the queue may have no permission for the platform API.
        self.platform = api(lambda body: self._mask_words(platform_words(body)), setting=FAL.variable("api_url"))

    def masked(self, text: str) -> str:
        """Return *text* without the key."""
        return mask_secrets(text, self._hidden, "***")

    def _mask_words(self, words: str | None) -> str | None:
        return None if words is None else self.masked(words)


def _refuses_key(answer: ApiAnswer) -> bool:
    """Return whether fal doesn't know the key. A key without access to the step's app isn't a refused key."""
    words = (error_words(answer.body) or "").lower()
    return is_unauthorized(answer) and ("application" not in words or "authentication is required" in words)


def error_words(body: bytes) -> str | None:
    """Return the message of an error of the queue or a model. `detail` is a text or a list of {loc, msg, type}."""
    return _words(_decoded(body).get("detail"))


def platform_words(body: bytes) -> str | None:
    """Return the message of an error of the platform API: {"error": {"type", "message"}}."""
    error = _decoded(body).get("error")
    return _words(error.get("message")) if isinstance(error, dict) else error_words(body)


def failure_of(answer: ApiAnswer) -> AttemptError | None:
    """Return how a request failed, from the answer instead of its result; None if it may not have failed.

    An error of the platform has an error type, an error of the model has a list of details. A plain text with a 5xx may
    be an error of the queue. A job that may have succeeded must not count as failed, or it would be paid twice.
    """
    if answer.status < _CLIENT_ERROR or answer.status in _CALL_STATUSES:
        return None
    body, words = _decoded(answer.body), error_words(answer.body)
    error_type = body.get("error_type") or answer.headers.get("x-fal-error-type")
    if isinstance(error_type, str):
        return _failed(f"{error_type}: {words}" if words else error_type, retryable=error_type in TRANSIENT_ERRORS)
    if words is None:
        return None
    if isinstance(body["detail"], list):
        again = answer.headers.get("x-fal-retryable", "").strip().lower()
        return _failed(words, retryable=again == "true" or (again != "false" and answer.status >= _SERVER_ERROR))
    if answer.status >= _SERVER_ERROR or _NOT_YET in words.lower():
        return None
    return _failed(words, retryable=False)


async def result_of(task_type: TaskType, output: Any, io: AttemptIO) -> dict[str, Any]:
    """Store the files of an app's output, and return the step's result.

    Raises as `AttemptIO.download`, and `AttemptError` if the output lacks what the task type is for.
    """
    members = output if isinstance(output, dict) else {}
    if task_type not in KINDS:
        result = {"output": output, **await _video(members, io), **await _images(members, io)}
        return result | _reported(members, result)
    wanted = KINDS[task_type].output
    if wanted == "text":
        result = _text(members)
    else:
        result = await (_video if wanted == "video" else _images)(members, io)
    if not result:
        raise AttemptError(f"FAL: the answer has no {wanted}", retryable=False)
    return result | _reported(members, result) | seed_field(members)


def _reported(members: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return `nsfw` and `revised_prompt`, if the app reports them.

    Apps with a safety checker have `has_nsfw_concepts`, a list with a bool for each image
    (https://fal.ai/models/fal-ai/flux-lora/api). Apps that rewrite prompts have `actual_prompt`
    (https://fal.ai/models/fal-ai/wan-25-preview/text-to-image/api).
    """
    flags, prompt = members.get("has_nsfw_concepts"), members.get("actual_prompt")
    facts: dict[str, Any] = {}
    if isinstance(flags, list) and flags and all(isinstance(flag, bool) for flag in flags):
        several = len(result.get("result_image_paths", ())) == len(flags)
        facts["nsfw"] = flags if several else any(flags)
    if isinstance(prompt, str) and prompt:
        facts["revised_prompt"] = prompt
    return facts


class _File(Struct, frozen=True):
    """A file in an output. `metadata` is the object that contains the URL."""

    url: str
    metadata: Mapping[str, Any]

    def format(self) -> tuple[str, str]:
        """Return the extension, and the name of the format ("" if unknown)."""
        media_type = str(self.metadata.get("content_type")).partition(";")[0].strip().lower()
        if media_type in _FORMATS:
            return _FORMATS[media_type]
        if self.url.startswith("data:"):
            return _FORMATS.get(self.url[len("data:") :].partition(",")[0].partition(";")[0].lower(), _UNKNOWN)
        return _BY_SUFFIX.get(split_url(self.url).path.rpartition(".")[2].lower(), _UNKNOWN)


async def _images(output: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    files = _files(output.get("images")) or _files(output.get("image"))
    if not files:
        return {}
    outputs = [await _store(file, index, "image", io) for index, file in enumerate(files)]
    result = {"result_image_path": outputs[0].path, **_file_facts(files[0]), "size": outputs[0].size}
    return result | ({"result_image_paths": [each.path for each in outputs]} if len(outputs) > 1 else {})


async def _video(output: Mapping[str, Any], io: AttemptIO) -> dict[str, Any]:
    files = _files(output.get("video"))
    if not files:
        return {}
    artifact = await _store(files[0], 0, "video", io)
    return {"result_video_path": artifact.path, **_file_facts(files[0]), "size": artifact.size}


def _text(output: Mapping[str, Any]) -> dict[str, Any]:
    text = output.get("output")
    if not isinstance(text, str):
        return {}
    value: Any = read_json(without_code_fence(text).encode("utf-8", "replace"), Any)
    return {"result_text": text} | ({"result_json": value} if isinstance(value, dict | list) else {})


def _files(value: Any) -> list[_File]:
    """Return the files in a member of an output: one file or a list. A file is an object with a `url`, or a URL."""
    files = []
    for item in value if isinstance(value, list) else [value]:
        metadata = item if isinstance(item, dict) else {"url": item}
        if isinstance(metadata.get("url"), str) and metadata["url"]:
            files.append(_File(metadata["url"], metadata))
    return files


def _file_facts(file: _File) -> dict[str, Any]:
    """Return the members of a result about the file: width, height and format, as far as they are known."""
    name = file.format()[1]
    sides = {side: file.metadata.get(side) for side in ("width", "height")}
    known = {side: size for side, size in sides.items() if isinstance(size, int) and not isinstance(size, bool)}
    return known | ({"format": name} if name else {})


async def _store(file: _File, index: int, kind: str, io: AttemptIO) -> Output:
    name = f"result{f'_{index}' if index else ''}.{file.format()[0]}"
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
        return sanitised("; ".join(lines), _MAX_MESSAGE) if lines else None
    return sanitised(detail, _MAX_MESSAGE) or None if isinstance(detail, str) else None


def _line(item: Mapping[str, Any]) -> str:
    where = item.get("loc")
    place = ".".join(str(part) for part in where if part != "body") if isinstance(where, list) else ""
    return f"{place}: {item['msg']}" if place else str(item["msg"])
