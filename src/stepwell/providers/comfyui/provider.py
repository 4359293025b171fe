"""The provider for a ComfyUI server of the operator. It does any task for which a step brings a graph.

The protocol: https://docs.comfy.org/development/comfyui-server/comms_routes. What isn't documented there is in
server.py and execution.py of https://github.com/Comfy-Org/ComfyUI.

The client may choose the id of a prompt. Stepwell chooses the task's id, so that a prompt whose answer was lost is
found exactly. Servers that choose the id themselves keep `extra_data`, which also contains the task. A server runs a
prompt each time it is posted, whatever its id. The queue and the history are in the server's memory: after a restart,
it has none of its jobs.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
from msgspec import structs

from stepwell.basics.errors import AttemptError, CallFailed, Fault, paid_for
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    CancelAnswer,
    Finished,
    Job,
    JobState,
    JobStatus,
    RemoteProvider,
    Request,
    UrlReader,
)
from stepwell.providers.comfyui.client import MARK, ComfyUiServer, Entry, SharedConnection
from stepwell.providers.comfyui.descriptor import COMFYUI, ComfyUiSettings
from stepwell.providers.comfyui.lenient_json import lacks_output, node_words
from stepwell.providers.comfyui.node_graph import (
    fill_graph,
    find_seed,
    model_of,
    nodes_of,
    placed_inputs,
    refusals,
    title_of,
    uses_input,
)
from stepwell.providers.comfyui.outputs import store_outputs
from stepwell.providers.comfyui.progress_socket import News, Watch
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.provider_api import as_call_failed
from stepwell.providers.shared.setup import ProviderSetup, call_options

_UNSUPPORTED = WITHOUT_PROVIDER | {TaskType.EXPERIMENTAL_FAL}
_CAPABILITIES = frozenset({"graph"})
# Exceptions that mean a fault in the graph or in a node's code. Another attempt would raise them again.
_PERMANENT_ERRORS = frozenset(
    {
        *("AssertionError", "AttributeError", "FileNotFoundError", "ImportError", "IndexError", "KeyError"),
        *("ModuleNotFoundError", "NameError", "NotImplementedError", "TypeError", "ValueError"),
    }
)
# Exceptions that mean a shortage at the server. After any other, the server works, and the request is at fault.
_SHORTAGES = frozenset({"MemoryError", "OutOfMemoryError"})


class ComfyUiProvider(RemoteProvider):
    """Implements `RemoteProvider`.

    *client* is an `http_client.plain_client`. *url* is the server's base, which is trusted: files are read from it with
    the same client. *timeout_s* is the deadline of a call; a call with a file has ten times as long.

    ComfyUI itself has no keys. A credential ("COMFYUI", or the one that a step names) is sent as a bearer token, for a
    proxy in front of the server. `provider_config` may have `graph`, `inputs` (see `node_graph`), `output` (see
    `outputs`), and `model`, a name to which limits apply.
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
        self._connections: dict[str | None, SharedConnection] = {}  # by the name of the credential

    def close(self) -> None:
        """Close the sockets at once. Otherwise a timer closes them, some seconds after the last poll."""
        for connection in self._connections.values():
            connection.progress_socket.close()

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return None if task_type in _UNSUPPORTED else _CAPABILITIES

    def model(self, _task_type: TaskType, provider_config: Mapping[str, Any], /) -> str:
        return model_of(provider_config)

    def members(self, task_type: TaskType, provider_config: Mapping[str, Any], /) -> StepMembers:
        inputs = placed_inputs(provider_config)
        return StepMembers(inputs=inputs, config=COMFYUI.config_members, outputs=COMFYUI.outputs_of(task_type))

    def url_reader(self, _task_type: TaskType, name: str, provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return UrlReader.STEPWELL if uses_input(provider_config, name) else None

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return refusals(step)

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        """Build the prompt. Files are uploaded to the server, where the same file always has the same name."""
        if attempt.task_type in _UNSUPPORTED:
            raise AttemptError(f"COMFYUI can't do {attempt.task_type}", retryable=False)
        graph = await fill_graph(attempt, io, self.server(attempt).upload)
        task_id = str(attempt.task_id)
        # Previews aren't used: https://github.com/Comfy-Org/ComfyUI/pull/11261
        extra = {MARK: {"task_id": task_id}, "preview_method": "none"}
        body = {"prompt": graph, "prompt_id": task_id, "extra_data": extra}
        return Request(model=model_of(attempt.provider_config), body=body)

    async def submit(self, attempt: Attempt, request: Request, _io: AttemptIO, /) -> Job:
        server, output = self.server(attempt), attempt.provider_config.get("output")
        accepted = await server.submit(request.body)
        job = Job(id=accepted.prompt_id)
        if lacks_output(accepted.node_errors, output):
            with suppress(CallFailed):
                await self.cancel(attempt, job)
            words = server.masked("; ".join(node_words(accepted.node_errors)))
            raise AttemptError(f"ComfyUI would run only a part of the graph: {words}", retryable=False)
        return job

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        """Return the state of the job. With an open socket, wait for news first, for two seconds at most."""
        server = self._job_server(attempt)
        with server.progress_socket.watch(job.id, partial(nodes_of, attempt.provider_config)) as watch:
            news = await server.progress_socket.news(watch) if watch.running else None
            if news is News.PROGRESS:
                return _with_progress(attempt, watch, JobState(status=JobStatus.RUNNING, word="running", again_s=0.0))
            watch.running = False
            try:
                state = await _read_job(server, job, anew=news is News.END)
            except CallFailed as error:
                if error.forgotten:
                    server.progress_socket.forget(job.id)
                raise
            if isinstance(state, Entry):
                server.progress_socket.forget(job.id)
                return _end_state(server, state)
            watch.running = True
            again_s = 0.0 if await server.progress_socket.ensure_open() else None
            return _with_progress(attempt, watch, JobState(status=JobStatus.RUNNING, word=state, again_s=again_s))

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        server = self._job_server(attempt)
        entry = await _read_job(server, job, anew=True)
        if isinstance(entry, str) or _end_state(server, entry).status is not JobStatus.SUCCEEDED:
            raise CallFailed("ComfyUI: the job hasn't succeeded")
        output = attempt.provider_config.get("output")
        with paid_for():
            result = await store_outputs(attempt.task_type, entry.outputs, output, server.view, io)
        seed = await find_seed(attempt.provider_config, entry.prompt.graph)
        return Finished(result if seed is None else {**result, "seed": seed})

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        server = self._job_server(attempt)
        cancelled = await server.cancel(job.id)
        if cancelled is None:
            cancelled = await _cancel_in_steps(server, job)
        if cancelled:
            return CancelAnswer.ACCEPTED
        return CancelAnswer.UNKNOWN_JOB if await server.history(job.id) is None else CancelAnswer.ENDED

    async def reconcile(self, attempt: Attempt, _sent: Sent, /) -> Sequence[Job]:
        """Find the job by its task, which nobody else sends."""
        server, task_id = self._job_server(attempt), str(attempt.task_id)
        queue = await server.queue()
        for prompt in (*queue.queue_running, *queue.queue_pending):
            if task_id in (prompt.prompt_id, prompt.task_id) and isinstance(prompt.prompt_id, str):
                return [Job(id=prompt.prompt_id)]
        # The queue is read first, because a job moves from the queue to the history, never back.
        if await server.history(task_id) is not None:
            return [Job(id=task_id)]
        return [Job(id=job_id) for job_id, entry in (await server.recent()).items() if entry.prompt.task_id == task_id]

    def server(self, attempt: Attempt) -> ComfyUiServer:
        """Return the server, called with the step's credential. Raises `AttemptError` if there is none of its name."""
        key = self._credentials.key(attempt.provider_config, self.type)
        name = None if key is None else key.name
        if name not in self._connections:
            self._connections[name] = SharedConnection(self._url, key)
        return ComfyUiServer(self._client, self._connections[name], key, self._timeout_s, attempt.answers)

    _job_server = as_call_failed()(server)


async def _read_job(server: ComfyUiServer, job: Job, *, anew: bool) -> Entry | str:
    """Return the job from the history, or its word from the queue.

    Raises `CallFailed`, `forgotten` if it is in neither.
    """
    state = await server.history(job.id) or await server.word_for(job.id, anew=anew)
    # It may have ended between the two calls.
    state = state or await server.history(job.id)
    if state is None:
        raise CallFailed("ComfyUI knows no such job", forgotten=True)
    return state


def _end_state(server: ComfyUiServer, entry: Entry) -> JobState:
    if entry.status is None or entry.status.status_str == "success" or entry.status.completed is True:
        return JobState(status=JobStatus.SUCCEEDED, word="success")
    messages = entry.status.messages if isinstance(entry.status.messages, list) else []
    for message in reversed(messages):
        match message:
            case ["execution_interrupted", *_]:
                return JobState(status=JobStatus.CANCELLED, word="interrupted")
            case ["execution_error", {"exception_message": text, **details}]:
                kind = str(details.get("exception_type", ""))
                node = f"node {details.get('node_id')} ({details.get('node_type')})"
                why = server.masked(f"ComfyUI: {node}: {str(text).strip() or kind}")
                name = kind.rpartition(".")[2]
                again, own = name not in _PERMANENT_ERRORS, name not in _SHORTAGES
                return JobState(status=JobStatus.FAILED, word="error", error=why, retryable=again, request_fault=own)
    return JobState(status=JobStatus.FAILED, word="error", error="ComfyUI: no reason given")


def _with_progress(attempt: Attempt, watch: Watch, state: JobState) -> JobState:
    """Return *state* with the progress from the socket."""
    word = state.word if watch.node is None else title_of(attempt.provider_config, watch.node)
    return structs.replace(state, word=sanitised(word, 100), progress=watch.progress)


async def _cancel_in_steps(server: ComfyUiServer, job: Job) -> bool:
    """Cancel a job at a server that can't do it in one call. Returns whether the job is cancelled."""
    queue = await server.queue()
    if queue.word_for(job.id) == "pending":
        await server.dequeue(job.id)
        queue = await server.queue()  # it may have started meanwhile
        if queue.word_for(job.id) is None:
            return await server.history(job.id) is None
    if queue.word_for(job.id) == "running":
        await server.interrupt(job.id)
    return queue.word_for(job.id) is not None


def build(setup: ProviderSetup[ComfyUiSettings]) -> ComfyUiProvider:
    assert setup.own.url is not None
    return ComfyUiProvider(setup.client, setup.credentials, url=setup.own.url, **call_options(setup, 30.0))
