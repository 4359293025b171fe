"""A ComfyUI server that the operator runs: any task that a graph of its nodes can do.

The protocol: https://docs.comfy.org/development/comfyui-server/comms_routes, and for what stands nowhere else server.py
and execution.py of https://github.com/Comfy-Org/ComfyUI.

A prompt has an id that its client may choose: ours is the task's, so that one whose answer was lost is found again
exactly. Servers that choose themselves keep what came along in `extra_data`, and there the task stands too. A server
runs a prompt as often as it is posted, whatever its id. It keeps the queue and the history in memory: a restart of it
loses both, and then the job is gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
from msgspec import structs

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.domain.errors import AttemptError, CallFailed, Fault, paid_for
from stepwell.domain.model import Sent
from stepwell.domain.steps import KnownStep
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    CancelAnswer,
    Finished,
    Job,
    JobState,
    JobStatus,
    Request,
    UrlReader,
)
from stepwell.providers.comfyui.client import MARK, ComfyUiServer, Entry
from stepwell.providers.comfyui.job_progress import News, Watch
from stepwell.providers.comfyui.lenient_json import leaves_out, node_words
from stepwell.providers.comfyui.node_graph import (
    filled_graph,
    model_of,
    nodes_of,
    refusals,
    seed_in,
    title_of,
    uses_input,
)
from stepwell.providers.comfyui.outputs import stored_outputs
from stepwell.providers.shared.credentials import Credentials

_NOT_DONE_HERE = frozenset({TaskType.PASSTHROUGH, TaskType.EXPERIMENTAL_FAL})
_CAPABILITIES = frozenset({"graph"})
# A fault in the graph, or in a node's code: it would be there the next time too.
_HOPELESS = frozenset(
    {
        "AssertionError",
        "AttributeError",
        "FileNotFoundError",
        "ImportError",
        "IndexError",
        "KeyError",
        "ModuleNotFoundError",
        "NameError",
        "NotImplementedError",
        "TypeError",
        "ValueError",
    }
)
# Of the server, whatever the graph; all others are told by a server that ran the graph up to there.
_SCARCE = frozenset({"MemoryError", "OutOfMemoryError"})


class ComfyUiProvider:
    """Implements `ports.Provider`. *client* is a `web.plain_client`, *url* the server's base, which is trusted: files
    are read from it by the same client. *timeout_s* is the deadline of each call, ten times that of one with a file.

    ComfyUI itself knows no key. Where there is a credential, "COMFYUI" or the one that a step names, it is sent as a
    bearer token, for a proxy in front of it. In `provider_config`: `graph`, `inputs` (see `graph`), `output`
    (see `outputs`), and `model`, a name for what limits go by.
    """

    type = ProviderType.COMFYUI
    needs_credential = False

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str,
        listing_lag_s: float = 0.0,
        timeout_s: float = 30.0,
    ) -> None:
        self._client, self._credentials, self._url, self._timeout_s = client, credentials, url, timeout_s
        self.listing_lag_s = listing_lag_s
        self._servers: dict[str | None, ComfyUiServer] = {}  # by the name of the credential

    def close(self) -> None:
        """Let go of the sockets at once; else a timer does, some seconds after the last poll."""
        for server in self._servers.values():
            server.feed.close()

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return None if task_type in _NOT_DONE_HERE else _CAPABILITIES

    def model(self, _task_type: TaskType, provider_config: Mapping[str, Any], /) -> str:
        return model_of(provider_config)

    def url_reader(self, _task_type: TaskType, name: str, provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return UrlReader.STEPWELL if uses_input(provider_config, name) else None

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return refusals(step)

    def ends_jobs(self, _model: str, /) -> bool:
        return True

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        """As the port says. Files are uploaded to the server; the same file has the same name there each time."""
        if attempt.task_type in _NOT_DONE_HERE:
            raise AttemptError(f"COMFYUI can't do {attempt.task_type}", retryable=False)
        graph = await filled_graph(attempt, io, self._server(attempt).upload)
        task_id = str(attempt.task_id)
        # Nobody looks at previews: https://github.com/Comfy-Org/ComfyUI/pull/11261
        extra = {MARK: {"task_id": task_id}, "preview_method": "none"}
        body = {"prompt": graph, "prompt_id": task_id, "extra_data": extra}
        return Request(model=model_of(attempt.provider_config), body=body)

    async def submit(self, attempt: Attempt, request: Request, _io: AttemptIO, /) -> Job:
        server, output = self._server(attempt), attempt.provider_config.get("output")
        accepted = await server.submit(request.body)
        job = Job(id=accepted.prompt_id)
        if leaves_out(accepted.node_errors, output):
            with suppress(CallFailed):
                await self.cancel(attempt, job)
            words = server.scrubbed("; ".join(node_words(accepted.node_errors)))
            raise AttemptError(f"ComfyUI would run only a part of the graph: {words}", retryable=False)
        return job

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        """As the port says. While the server tells by a socket, it waits for news of the job, two seconds at most."""
        server = self._calling(attempt)
        with server.feed.watched(job.id, partial(nodes_of, attempt.provider_config)) as watch:
            news = await server.feed.news(watch) if watch.running else None
            if news is News.PROGRESS:
                return _told(attempt, watch, JobState(status=JobStatus.RUNNING, word="running", again_s=0.0))
            watch.running = False
            try:
                found = await _found(server, job, anew=news is News.END)
            except CallFailed as error:
                if error.forgotten:
                    server.feed.forget(job.id)
                raise
            if isinstance(found, Entry):
                server.feed.forget(job.id)
                return _ended(server, found)
            watch.running = True
            again_s = 0.0 if await server.feed.up() else None
            return _told(attempt, watch, JobState(status=JobStatus.RUNNING, word=found, again_s=again_s))

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        server = self._calling(attempt)
        entry = await _found(server, job, anew=True)
        if isinstance(entry, str) or _ended(server, entry).status is not JobStatus.SUCCEEDED:
            raise CallFailed("ComfyUI: the job hasn't succeeded")
        wanted = attempt.provider_config.get("output")
        with paid_for():
            result = await stored_outputs(attempt.task_type, entry.outputs, wanted, server.view, io)
        seed = await seed_in(attempt.provider_config, entry.prompt.graph)
        return Finished(result if seed is None else {**result, "seed": seed})

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        server = self._calling(attempt)
        cancelled = await server.cancel(job.id)
        if cancelled is None:
            cancelled = await _cancelled_in_steps(server, job)
        if cancelled:
            return CancelAnswer.ACCEPTED
        return CancelAnswer.UNKNOWN_JOB if await server.history(job.id) is None else CancelAnswer.ENDED

    def called_back(self, _body: bytes, /) -> Job | None:
        """ComfyUI calls nobody back."""
        return None

    async def reconcile(self, attempt: Attempt, _sent: Sent, /) -> Sequence[Job]:
        """As the port says, by the task alone: nobody else sends the same."""
        server, task_id = self._calling(attempt), str(attempt.task_id)
        queue = await server.queue()
        for prompt in (*queue.queue_running, *queue.queue_pending):
            if task_id in (prompt.prompt_id, prompt.task_id) and isinstance(prompt.prompt_id, str):
                return [Job(id=prompt.prompt_id)]
        # In this order: a job goes from the queue to the history, never back.
        if await server.history(task_id) is not None:
            return [Job(id=task_id)]
        return [Job(id=job_id) for job_id, entry in (await server.recent()).items() if entry.prompt.task_id == task_id]

    def _server(self, attempt: Attempt) -> ComfyUiServer:
        """Raises `AttemptError` if the step names a credential that the service doesn't hold."""
        key = self._credentials.key(attempt.provider_config, self.type)
        name = None if key is None else key.name
        if name not in self._servers:
            self._servers[name] = ComfyUiServer(self._client, self._url, key, self._timeout_s)
        return self._servers[name]

    def _calling(self, attempt: Attempt) -> ComfyUiServer:
        """For calls about a job, which goes on whether there is a credential or not."""
        try:
            return self._server(attempt)
        except AttemptError as error:
            raise CallFailed(str(error)) from error


async def _found(server: ComfyUiServer, job: Job, *, anew: bool) -> Entry | str:
    """The job in the history, or the word for it in the queue. Raises `CallFailed`, forgotten if it is in neither."""
    found = await server.history(job.id) or await server.word_for(job.id, anew=anew)
    # It may have ended between the two looks.
    found = found or await server.history(job.id)
    if found is None:
        raise CallFailed("ComfyUI knows no such job", forgotten=True)
    return found


def _ended(server: ComfyUiServer, entry: Entry) -> JobState:
    if entry.status is None or entry.status.status_str == "success" or entry.status.completed is True:
        return JobState(status=JobStatus.SUCCEEDED, word="success")
    messages = entry.status.messages if isinstance(entry.status.messages, list) else []
    for message in reversed(messages):
        match message:
            case ["execution_interrupted", *_]:
                return JobState(status=JobStatus.CANCELLED, word="interrupted")
            case ["execution_error", {"exception_message": said, **about}]:
                kind = str(about.get("exception_type", ""))
                place = f"node {about.get('node_id')} ({about.get('node_type')})"
                why = server.scrubbed(f"ComfyUI: {place}: {str(said).strip() or kind}")
                name = kind.rpartition(".")[2]
                return JobState(
                    status=JobStatus.FAILED,
                    word="error",
                    error=why,
                    retryable=name not in _HOPELESS,
                    request_fault=name not in _SCARCE,
                )
    return JobState(status=JobStatus.FAILED, word="error", error="ComfyUI: no reason given")


def _told(attempt: Attempt, watch: Watch, state: JobState) -> JobState:
    """*state* with what the socket has told."""
    word = state.word if watch.node is None else title_of(attempt.provider_config, watch.node)
    return structs.replace(state, word=sanitised(word, 100), progress=watch.share)


async def _cancelled_in_steps(server: ComfyUiServer, job: Job) -> bool:
    """For servers that can't do it in one. Whether the job is ended."""
    queue = await server.queue()
    if queue.word_for(job.id) == "pending":
        await server.dequeue(job.id)
        queue = await server.queue()  # it may have begun meanwhile
        if queue.word_for(job.id) is None:
            return await server.history(job.id) is None
    if queue.word_for(job.id) == "running":
        await server.interrupt(job.id)
    return queue.word_for(job.id) is not None
