"""The HTTP calls to a ComfyUI server.

The protocol: https://docs.comfy.org/development/comfyui-server/comms_routes. What isn't documented there is in
server.py and execution.py of https://github.com/Comfy-Org/ComfyUI: the queue and the history are in the server's memory
and list each prompt as [number, prompt_id, prompt, extra_data, ...]. For an unknown prompt, the answer is empty, not a
404.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import anyio
import httpx
from anyio import to_thread
from msgspec import Meta, Struct

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.basics.strict_json.canonical import canonical
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import AnswerMemory, Blob
from stepwell.providers.comfyui.descriptor import COMFYUI
from stepwell.providers.comfyui.lenient_json import error_text, read_lenient_json
from stepwell.providers.comfyui.progress_socket import ProgressSocket
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.provider_api import AnswerTooBig, ApiAnswer, Part, ProviderApi, encode_form
from stepwell.providers.shared.result_storage import EXTENSIONS

T = TypeVar("T")

MAX_FILE = 256 * 1024 * 1024  # bytes
_MAX_LIST = 64 * 1024 * 1024
MARK = "stepwell"  # the member of extra_data that marks our prompts
SUBFOLDER = "stepwell"
_SUCCESS = frozenset(range(200, 300))
_REFUSALS = frozenset(range(400, 500)) - {408, 425, 429}
_NOT_FOUND = 404
_NO_SUCH_CALL = frozenset({404, 405})
_FILE_CALL_FACTOR = 10  # the deadline of a call with a file, as a multiple of that of other calls
_FRESH_S = 1.0  # polls within this time share one read of the queue
_RECENT = 100  # jobs of the history
_EXTENSIONS = {**EXTENSIONS, "image/bmp": "bmp", "image/tiff": "tiff", "video/quicktime": "mov"}

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}(?!\n)$")]


class QueuedPrompt(Struct, array_like=True):
    number: Any = None
    prompt_id: Any = None
    graph: Any = None
    extra_data: Any = None

    @property
    def task_id(self) -> str | None:
        """The task of the prompt, if Stepwell sent it."""
        mark = self.extra_data.get(MARK) if isinstance(self.extra_data, Mapping) else None
        task_id = mark.get("task_id") if isinstance(mark, Mapping) else None
        return task_id if isinstance(task_id, str) else None


class Status(Struct):
    """The end of a job: its status and messages."""

    status_str: Any = None
    completed: Any = None
    messages: Any = None


class Entry(Struct):
    """An ended job in the history. `outputs` are by node. Early versions of ComfyUI report no status."""

    prompt: QueuedPrompt
    outputs: dict[str, Any] = {}
    status: Status | None = None


class Queue(Struct):
    """The jobs that haven't ended."""

    queue_running: list[QueuedPrompt]
    queue_pending: list[QueuedPrompt]

    def word_for(self, job_id: str) -> str | None:
        """Return "running" or "pending"; None if the job isn't in the queue."""
        for word, prompts in (("running", self.queue_running), ("pending", self.queue_pending)):
            if any(prompt.prompt_id == job_id for prompt in prompts):
                return word
        return None


class File(NamedTuple):
    """A file at the server. `type` is its folder: "output", "temp" or "input"."""

    filename: str
    subfolder: str
    type: str


class PromptAnswer(Struct):
    """The answer to a submit. `node_errors` are about outputs that won't be made: one valid output is enough to run."""

    prompt_id: Id
    node_errors: Any = None


class _UploadAnswer(Struct):
    name: str
    subfolder: str = ""


class _CancelReply(Struct):
    cancelled: bool


class SharedConnection:
    """What all attempts with one credential share: the socket of a server, and the last read of its queue."""

    def __init__(self, url: str, key: Key | None) -> None:
        self.url = url.rstrip("/")
        self.headers = {} if key is None else {"Authorization": f"Bearer {key.secret}"}
        self.progress_socket = ProgressSocket(self.url, self.headers)
        self.queue_lock = anyio.Lock()
        self.last_queue = -math.inf, Queue([], [])


class ComfyUiServer:
    """A ComfyUI server, called for one attempt, with one credential. *key* is sent as a bearer token, if there is one.

    Calls about jobs raise `CallFailed`. It is never `forgotten`, because a 404 comes from a proxy or a wrong URL.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        shared: SharedConnection,
        key: Key | None,
        timeout_s: float,
        answers: AnswerMemory | None,
    ) -> None:
        self._shared, self._url, self._headers = shared, shared.url, shared.headers
        self._secret = None if key is None else key.secret
        self.progress_socket = shared.progress_socket
        api = partial(ProviderApi, client, "ComfyUI", self._error_text, provider=COMFYUI, key=key)
        self._api = api(timeout_s=timeout_s, answers=answers)
        self._lists = api(timeout_s=timeout_s, max_answer=_MAX_LIST, answers=answers)
        self._shared_lists = api(timeout_s=timeout_s, max_answer=_MAX_LIST)  # while other attempts wait
        self._files = api(timeout_s=timeout_s * _FILE_CALL_FACTOR, max_answer=MAX_FILE, answers=answers)

    def masked(self, text: str) -> str:
        return sanitised(text.replace(self._secret, "…") if self._secret else text)

    async def submit(self, body: Mapping[str, Any]) -> PromptAnswer:
        """Queue a prompt. Raises as `RemoteProvider.submit`."""
        body_to_send = await to_thread.run_sync(canonical, {**body, "client_id": self.progress_socket.client_id})
        _, accepted = await self._api.submit(f"{self._url}/prompt", body_to_send, self._headers, PromptAnswer)
        return accepted

    async def history(self, job_id: str) -> Entry | None:
        """Return the job if it has ended, else None."""
        entries = await self._read(self._lists, f"/history/{quote(job_id, safe='')}", dict[str, Entry])
        return entries.get(job_id)

    async def recent(self) -> Mapping[str, Entry]:
        """Return the last ended jobs, by id."""
        return await self._read(self._lists, f"/history?max_items={_RECENT}", dict[str, Entry])

    async def queue(self) -> Queue:
        return await self._read(self._lists, "/queue", Queue)

    async def word_for(self, job_id: str, *, anew: bool) -> str | None:
        """Return `Queue.word_for`. With *anew*, the queue is read again.

        Otherwise calls share a recent read, because a queue contains whole graphs.
        """
        async with self._shared.queue_lock:
            now, (at, queue) = anyio.current_time(), self._shared.last_queue
            if anew or at + _FRESH_S < now or queue.word_for(job_id) is None:  # the job may be newer than the read
                queue = await self._read(self._shared_lists, "/queue", Queue)
                self._shared.last_queue = now, queue
            return queue.word_for(job_id)

    async def cancel(self, job_id: str) -> bool | None:
        """Remove the job from the queue, or interrupt it. Returns False if it is neither queued nor running.

        Returns None if the server is too old to do that in one call.
        """
        answer = await self._post(f"/api/jobs/{quote(job_id, safe='')}/cancel", {}, _SUCCESS | _NO_SUCH_CALL)
        return self._api.readable(answer, _CancelReply).cancelled if answer.is_success else None

    async def dequeue(self, job_id: str) -> None:
        """Remove a job from the queue. Does nothing if it has begun, or isn't queued."""
        await self._post("/queue", {"delete": [job_id]}, _SUCCESS)

    async def interrupt(self, job_id: str) -> None:
        """Interrupt a job. Does nothing if another job is running.

        Servers from before https://github.com/Comfy-Org/ComfyUI/pull/9607 interrupt whatever is running.
        """
        await self._post("/interrupt", {"prompt_id": job_id}, _SUCCESS)

    async def view(self, file: File) -> ApiAnswer:
        """Read a file. Raises `CallFailed`, `forgotten` if there is no file, and `AttemptError` if it is too large."""
        address = f"{self._url}/view?{urlencode(file._asdict())}"
        try:
            headers = {**self._headers, "Accept": "*/*"}
            answer = await self._files.call("GET", address, headers, ok=_SUCCESS | {_NOT_FOUND})
        except AnswerTooBig as error:
            message = f"ComfyUI: the output is larger than {self._files.max_answer} bytes"
            raise AttemptError(message, retryable=False, provider_fault=False) from error
        if answer.status == _NOT_FOUND:
            # The server's own 404 has no body (`view_image` in server.py). One with a body is a proxy's.
            raise CallFailed(f"ComfyUI answered {answer.status}", forgotten=not answer.body)
        return answer

    async def upload(self, blob: Blob) -> str:
        """Upload a file. Returns its name, which is the same for the same bytes. Raises `AttemptError`."""
        content_type, form = await to_thread.run_sync(_upload_form, blob)
        headers = {**self._headers, "Content-Type": content_type}
        try:
            answer = await self._files.call("POST", f"{self._url}/upload/image", headers, form, ok=_SUCCESS | _REFUSALS)
            if answer.status in _REFUSALS:
                words = self._error_text(answer.body) or "without an error message"
                why = sanitised(f"ComfyUI: an upload was answered {answer.status}: {words}")
                raise AttemptError(why, retryable=False)
            uploaded = self._files.readable(answer, _UploadAnswer)
        except CallFailed as error:
            away = error.provider_away
            raise AttemptError(
                str(error), retryable=True, retry_after_s=error.retry_after_s, provider_away=away
            ) from error
        return f"{uploaded.subfolder}/{uploaded.name}" if uploaded.subfolder else uploaded.name

    async def _read(self, api: ProviderApi, path: str, kind: type[T]) -> T:
        with _never_forgotten():
            answer = await api.call("GET", f"{self._url}{path}", self._headers, ok=_SUCCESS)
        content = read_lenient_json(answer.body, kind)
        if content is None:
            raise CallFailed("ComfyUI: its answer can't be read")
        return content

    async def _post(self, path: str, body: Any, ok: frozenset[int]) -> ApiAnswer:
        with _never_forgotten():
            return await self._api.call("POST", f"{self._url}{path}", self._headers, canonical(body), ok=ok)

    def _error_text(self, body: bytes) -> str | None:
        words = error_text(body)
        return words and self.masked(words)


@contextmanager
def _never_forgotten() -> Iterator[None]:
    try:
        yield
    except CallFailed as error:
        raise CallFailed(str(error), retry_after_s=error.retry_after_s) from error


def _upload_form(blob: Blob) -> tuple[str, bytes]:
    """Return the content type and the bytes of the form of an upload. The file is named by its hash."""
    stem = hashlib.sha256(blob.data).hexdigest()
    name = f"{stem}.{_EXTENSIONS.get(blob.media_type, 'bin')}"
    media_type = blob.media_type if blob.media_type in _EXTENSIONS else "application/octet-stream"
    fields = {"overwrite": "true", "subfolder": SUBFOLDER, "type": "input"}
    texts: list[Part] = [(field, (None, value.encode(), None)) for field, value in fields.items()]
    return encode_form([*texts, ("image", (name, blob.data, media_type))], f"stepwell-{stem}")
