"""The calls to a ComfyUI server.

The protocol: https://docs.comfy.org/development/comfyui-server/comms_routes, and for what stands nowhere else server.py
and execution.py of https://github.com/Comfy-Org/ComfyUI: the queue and the history are in the server's memory and list
each prompt as [number, prompt_id, prompt, extra_data, ...]; one that isn't known is an empty answer, not a 404.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import anyio
import httpx
from anyio import to_thread
from msgspec import Meta, Struct

from stepwell.domain.errors import AttemptError, CallFailed
from stepwell.domain.strict_json.canonical import canonical
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import Blob
from stepwell.providers.comfyui.lenient_json import error_text, read_loosely
from stepwell.providers.comfyui.progress_socket import ProgressSocket
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.form_data import Part, encode_form
from stepwell.providers.shared.provider_api import AnswerTooBig, ApiAnswer, ProviderApi

T = TypeVar("T")

MAX_FILE = 256 * 1024 * 1024  # bytes
_MAX_LIST = 64 * 1024 * 1024
MARK = "stepwell"  # the member of extra_data that tells our prompts
SUBFOLDER = "stepwell"
_SUCCESS = frozenset(range(200, 300))
_REFUSALS = frozenset(range(400, 500)) - {408, 425, 429}
_GONE = 404
_NO_SUCH_CALL = frozenset({404, 405})
_BULKY = 10  # times as long as others calls with files may take
_FRESH_S = 1.0
_RECENT = 100
_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
}

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}(?!\n)$")]


class QueuedPrompt(Struct, array_like=True):
    """What was asked for, as the queue and the history list it."""

    number: Any = None
    prompt_id: Any = None
    graph: Any = None
    extra_data: Any = None

    @property
    def task_id(self) -> str | None:
        """The task that it is for, if it is one of ours."""
        mark = self.extra_data.get(MARK) if isinstance(self.extra_data, Mapping) else None
        task_id = mark.get("task_id") if isinstance(mark, Mapping) else None
        return task_id if isinstance(task_id, str) else None


class Status(Struct):
    status_str: Any = None
    completed: Any = None
    messages: Any = None


class Entry(Struct):
    """A job that has ended, with what its nodes gave, by node. Servers of the first hour told no status."""

    prompt: QueuedPrompt
    outputs: dict[str, Any] = {}
    status: Status | None = None


class Queue(Struct):
    queue_running: list[QueuedPrompt]
    queue_pending: list[QueuedPrompt]

    def word_for(self, job_id: str) -> str | None:
        """How the job stands: "running" or "pending"; None if it isn't in the queue."""
        for word, prompts in (("running", self.queue_running), ("pending", self.queue_pending)):
            if any(prompt.prompt_id == job_id for prompt in prompts):
                return word
        return None


class File(NamedTuple):
    """A file at the server; `type` is the folder that it lies in: "output", "temp" or "input"."""

    filename: str
    subfolder: str
    type: str


class Accepted(Struct):
    """A job. `node_errors`: what is wrong with the outputs that it leaves out, for one good output is enough to run."""

    prompt_id: Id
    node_errors: Any = None


class _Uploaded(Struct):
    name: str
    subfolder: str = ""


class _Cancelled(Struct):
    cancelled: bool


class ComfyUiServer:
    """One server, by one credential. *key* is sent as a bearer token, if there is one.

    Calls about jobs raise `CallFailed`; none of them says `forgotten`, for a 404 is a proxy's, or a wrong address's.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, key: Key | None, timeout_s: float) -> None:
        self._url, self._secret = url.rstrip("/"), None if key is None else key.secret
        self._headers = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
        api = partial(ProviderApi, client, "ComfyUI", self._error_text, key=key)
        self._api = api(timeout_s=timeout_s)
        self._lists = api(timeout_s=timeout_s, max_answer=_MAX_LIST)
        self._files = api(timeout_s=timeout_s * _BULKY, max_answer=MAX_FILE)
        self.feed = ProgressSocket(self._url, self._headers)
        self._looking = anyio.Lock()
        self._seen = -math.inf, Queue([], [])

    def scrubbed(self, text: str) -> str:
        """*text* from the server, without the secret."""
        return sanitised(text.replace(self._secret, "…") if self._secret else text)

    async def submit(self, body: Mapping[str, Any]) -> Accepted:
        """Raises as `Provider.submit`."""
        sent = await to_thread.run_sync(canonical, {**body, "client_id": self.feed.client_id})
        _, accepted = await self._api.submit(f"{self._url}/prompt", sent, self._headers, Accepted)
        return accepted

    async def history(self, job_id: str) -> Entry | None:
        """A job that has ended; None for others."""
        return (await self._got(f"/history/{quote(job_id, safe='')}", dict[str, Entry])).get(job_id)

    async def recent(self) -> Mapping[str, Entry]:
        """The last jobs that have ended, by id."""
        return await self._got(f"/history?max_items={_RECENT}", dict[str, Entry])

    async def queue(self) -> Queue:
        return await self._got("/queue", Queue)

    async def word_for(self, job_id: str, *, anew: bool) -> str | None:
        """As `Queue.word_for`. Unless it is looked *anew*, all who ask share one look as long as it is fresh: a queue
        lists whole graphs.
        """
        async with self._looking:
            now, (at, queue) = anyio.current_time(), self._seen
            if anew or at + _FRESH_S < now or queue.word_for(job_id) is None:  # or perhaps it is newer
                queue = await self.queue()
                self._seen = now, queue
            return queue.word_for(job_id)

    async def cancel(self, job_id: str) -> bool | None:
        """Take the job out of the queue or interrupt it. False if it is in neither; None if the server is too old to do
        that in one step.
        """
        answer = await self._post(f"/api/jobs/{quote(job_id, safe='')}/cancel", {}, _SUCCESS | _NO_SUCH_CALL)
        return self._api.readable(answer, _Cancelled).cancelled if answer.is_success else None

    async def dequeue(self, job_id: str) -> None:
        """Nothing happens if it has begun, or isn't there."""
        await self._post("/queue", {"delete": [job_id]}, _SUCCESS)

    async def interrupt(self, job_id: str) -> None:
        """Nothing happens if another runs by now, but for servers from before
        https://github.com/Comfy-Org/ComfyUI/pull/9607, which interrupt whatever runs.
        """
        await self._post("/interrupt", {"prompt_id": job_id}, _SUCCESS)

    async def view(self, file: File) -> ApiAnswer:
        """Raises `CallFailed`, forgotten where the file is gone, and `AttemptError` where it is over the bound."""
        address = f"{self._url}/view?{urlencode(file._asdict())}"
        try:
            answer = await self._files.call("GET", address, {**self._headers, "Accept": "*/*"}, ok=_SUCCESS | {_GONE})
        except AnswerTooBig as error:
            message = f"ComfyUI: the output is larger than {self._files.max_answer} bytes"
            raise AttemptError(message, retryable=False, provider_fault=False) from error
        if answer.status == _GONE:
            # The server says so with nothing in it (`view_image` in server.py): a page is a proxy's.
            raise CallFailed(f"ComfyUI answered {answer.status}", forgotten=not answer.body)
        return answer

    async def upload(self, blob: Blob) -> str:
        """Put it among the server's inputs. Returns its name there, which is the same for the same bytes.

        Raises `AttemptError`.
        """
        name = await to_thread.run_sync(_name_of, blob)
        content_type, form = encode_form(_parts(name, blob), f"stepwell-{name.partition('.')[0]}")
        headers = {**self._headers, "Content-Type": content_type}
        try:
            answer = await self._files.call("POST", f"{self._url}/upload/image", headers, form, ok=_SUCCESS | _REFUSALS)
            if answer.status in _REFUSALS:
                why = self._error_text(answer.body) or "without words of its own"
                raise AttemptError(
                    sanitised(f"ComfyUI: an upload was answered {answer.status}: {why}"), retryable=False
                )
            put = self._files.readable(answer, _Uploaded)
        except CallFailed as error:
            raise AttemptError(str(error), retryable=True, retry_after_s=error.retry_after_s) from error
        return f"{put.subfolder}/{put.name}" if put.subfolder else put.name

    async def _got(self, path: str, kind: type[T]) -> T:
        try:
            answer = await self._lists.call("GET", f"{self._url}{path}", self._headers, ok=_SUCCESS)
        except CallFailed as error:
            raise _not_forgotten(error) from error
        found = read_loosely(answer.body, kind)
        if found is None:
            raise CallFailed("ComfyUI: its answer can't be read")
        return found

    async def _post(self, path: str, body: Any, ok: frozenset[int]) -> ApiAnswer:
        try:
            return await self._api.call("POST", f"{self._url}{path}", self._headers, canonical(body), ok=ok)
        except CallFailed as error:
            raise _not_forgotten(error) from error

    def _error_text(self, body: bytes) -> str | None:
        words = error_text(body)
        return words and self.scrubbed(words)


def _not_forgotten(error: CallFailed) -> CallFailed:
    return CallFailed(str(error), retry_after_s=error.retry_after_s)


def _name_of(blob: Blob) -> str:
    return f"{hashlib.sha256(blob.data).hexdigest()}.{_ENDINGS.get(blob.media_type, 'bin')}"


def _parts(name: str, blob: Blob) -> list[Part]:
    fields = {"overwrite": "true", "subfolder": SUBFOLDER, "type": "input"}
    media_type = blob.media_type if blob.media_type in _ENDINGS else "application/octet-stream"
    texts: list[Part] = [(field, (None, value.encode(), None)) for field, value in fields.items()]
    return [*texts, ("image", (name, blob.data, media_type))]
