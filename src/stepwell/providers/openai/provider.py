"""The provider for OpenAI, and for other servers with its API: https://developers.openai.com/api/reference.

Chat and image calls are answered with the result itself, in one call that may take minutes. The API documents no
idempotency key, and it only lists chats that it was asked to `store`, which Stepwell never asks for. So if an answer is
lost, nobody can find out what became of the call, and `on_unknown` decides. If an image is answered by its URL (which
OpenAI keeps for an hour), it is fetched as the result of a finished job, so that neither a crash nor a failed download
loses it.

Videos are jobs: https://developers.openai.com/api/reference/resources/videos. OpenAI shut that API down on
24 September 2026, without a successor (https://developers.openai.com/api/docs/deprecations). So videos are only offered
for another URL, such as https://docs.vllm.ai/projects/vllm-omni/en/latest/serving/videos_api/. The list of videos shows
prompts and sizes, but no input images. So a job whose answer was lost is found by its parameters, and only by the
process that knows the inputs. If an image was sent, and two videos match, neither is used.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from anyio import to_thread
from msgspec import json

from stepwell.basics.errors import AttemptError, CallFailed, Fault, paid_for
from stepwell.basics.urls import split_url
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.outbound.http_client import origin_of
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
from stepwell.providers.openai import answers
from stepwell.providers.openai.bodies import chat_body, image_body, refusals, video_body, video_parameters
from stepwell.providers.openai.descriptor import OPENAI, OpenAiSettings
from stepwell.providers.openai.files import FILES, form_body
from stepwell.providers.openai.parameters import CAPABILITIES, IGNORED_INPUTS, model_of
from stepwell.providers.openai.videos import CreatedVideo, cancel_video, list_around, read_video, state_of, url_of
from stepwell.providers.shared.credentials import Credentials, check_header
from stepwell.providers.shared.provider_api import ProviderApi, as_call_failed
from stepwell.providers.shared.setup import ProviderSetup, call_options

T = TypeVar("T")

PUBLIC_URL = "https://api.openai.com/v1"
_PUBLIC_HOST = "api.openai.com"  # or below it: eu.api.openai.com
MAX_ANSWER = 64 * 1024 * 1024
_RESULT_URL = "picture"  # the purpose, among the URLs of a job, of an image's URL
_REVISED_PROMPT, _MAX_PROMPT = "revised_prompt", 10_000  # beside it; characters
_EXTENSIONS = {"jpeg": "jpg", "jpg": "jpg", "webp": "webp", "gif": "gif"}
_REDIRECTS = 3


class OpenAiProvider(RemoteProvider):
    """Implements `RemoteProvider`. The key is the credential "OPENAI", or the one that a step names. Servers other than
    OpenAI may need none.

    *client* is an `http_client.plain_client`, *url* the API's base. *timeout_s* is the deadline of a call, and *work_s*
    that of a call which is answered with the result itself, in at most *max_answer* bytes. `provider_config` may have
    `model` and `parameters` (see `parameters` and `bodies`).
    """

    type = ProviderType.OPENAI

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str = PUBLIC_URL,
        listing_lag_s: float = 0.0,
        timeout_s: float = 30.0,
        work_s: float = 300.0,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        self._client, self._credentials, self._url = client, credentials, url.rstrip("/")
        self._timeout_s, self._work_s, self._max_answer = timeout_s, work_s, max_answer
        self.listing_lag_s = listing_lag_s
        host = split_url(self._url).host or ""
        self._public = host == _PUBLIC_HOST or host.endswith(f".{_PUBLIC_HOST}")
        self.needs_credential = self._public

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        if task_type is TaskType.VIDEO_GENERATION and self._public:
            return None
        return CAPABILITIES.get(task_type)

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        try:
            return model_of(task_type, provider_config)
        except AttemptError:  # it is raised where the step runs
            return task_type

    def members(self, task_type: TaskType, _provider_config: Mapping[str, Any], /) -> StepMembers:
        ignored = IGNORED_INPUTS.get(task_type, frozenset())
        if self._public and task_type not in (TaskType.LLM_INTERACTION, TaskType.VIDEO_GENERATION):
            ignored |= {"seed"}
        return StepMembers(ignored=ignored, config=OPENAI.config_members, outputs=OPENAI.outputs_of(task_type))

    def url_reader(self, task_type: TaskType, _name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        reads_urls = self._public and task_type is TaskType.LLM_INTERACTION
        return UrlReader.PROVIDER if reads_urls else UrlReader.STEPWELL

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return refusals(step, public=self._public)

    def ends_jobs(self, _model: str, /) -> bool:
        return not self._public

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        self._session(attempt)
        model = model_of(attempt.task_type, attempt.provider_config)
        match attempt.task_type:
            case TaskType.LLM_INTERACTION:
                body = await chat_body(attempt, io, public=self._public)
            case TaskType.VIDEO_GENERATION:
                body = await video_body(attempt, io)
            case _:
                body = await image_body(attempt, io, public=self._public)
        return Request(model=model, body=body)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        session, body = self._session(attempt), request.body
        if attempt.task_type is TaskType.VIDEO_GENERATION:
            return Job(id=(await _post(session, "videos", body, CreatedVideo, as_form=True)).id)
        if attempt.task_type is TaskType.LLM_INTERACTION:
            chat = await _post(session, "chat/completions", body, answers.Chat)
            with paid_for():
                return Finished(answers.chat_result(chat, request.model, session.words, as_json=_wants_json(body)))
        edits = bool(FILES & body.keys())
        path = "images/edits" if edits else "images/generations"
        answer = await _post(session, path, body, answers.ImagesAnswer, as_form=edits)
        with paid_for():
            image = answers.first_image(answer)
            if image.b64_json is None and image.url is not None:
                prompt = image.revised_prompt
                revised = {_REVISED_PROMPT: prompt[:_MAX_PROMPT]} if isinstance(prompt, str) and prompt else {}
                return Job(id=f"picture-{attempt.task_id}", urls={_RESULT_URL: image.url, **revised}, done=True)
            return Finished(await answers.image_result(image, answer.usage, request.model, attempt, io))

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        if _RESULT_URL in job.urls:
            return JobState(status=JobStatus.SUCCEEDED, word="completed")
        return await state_of(self._job_session(attempt), job)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        session, model = self._job_session(attempt), self.model(attempt.task_type, attempt.provider_config)
        if (address := job.urls.get(_RESULT_URL)) is not None:
            own = origin_of(address) == origin_of(self._url)
            suffix = _EXTENSIONS.get(split_url(address).path.rpartition(".")[2].lower(), "png")
            headers, words = (session.headers, session.words) if own else (None, None)
            image = await io.download(address, f"result.{suffix}", ("image/",), headers=headers, error_text=words)
            prompt = job.urls.get(_REVISED_PROMPT)
            revised = {} if prompt is None else {"revised_prompt": prompt}
            return Finished({"result_image_path": image.path, "size": image.size, "model": model, **revised})
        video = await read_video(session, job)
        if video.status != "completed":
            raise CallFailed(sanitised(f"{answers.NAME}: the video is {video.status}, not completed", 200))
        output = await io.download(
            f"{url_of(session, job)}/content",
            "result.mp4",
            ("video/",),
            headers=session.headers,
            error_text=session.words,
            redirects=_REDIRECTS,
        )
        result = {"result_video_path": output.path, "format": "MP4", "size": output.size}
        return Finished(result | video.sides | {"model": video.model if isinstance(video.model, str) else model})

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        """Delete a running video at servers other than OpenAI, which documents no way to end one."""
        if _RESULT_URL in job.urls:
            return CancelAnswer.ENDED
        return CancelAnswer.REFUSED if self._public else await cancel_video(self._job_session(attempt), job)

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job] | None:
        """Find the video with the same parameters. Returns None for other tasks, and if the inputs aren't known.

        Raises `CallFailed` if the list has more than 20 pages.
        """
        if attempt.task_type is not TaskType.VIDEO_GENERATION or not attempt.inputs:
            return None
        wanted = video_parameters(attempt) | {"model": sent.model}
        videos = [listed async for listed in list_around(self._job_session(attempt), sent.at) if listed.matches(wanted)]
        if attempt.inputs.get("base_image_url") is not None and len(videos) > 1:
            return ()
        videos.sort(key=lambda listed: abs(listed.created - sent.at))
        return [Job(id=listed.id) for listed in videos]

    def _session(self, attempt: Attempt) -> answers.OpenAiSession:
        """Raises `AttemptError` if a needed key is missing, or can't be sent."""
        find = self._credentials.require_key if self.needs_credential else self._credentials.key
        key = find(attempt.provider_config, self.type)
        secret = None if key is None else key.secret
        if key:
            check_header(key, self.type)
        words, is_video = answers.ErrorReader(secret), attempt.task_type is TaskType.VIDEO_GENERATION
        api = ProviderApi(
            self._client,
            answers.NAME,
            words,
            answers=attempt.answers,
            provider=OPENAI,
            timeout_s=self._timeout_s,
            work_s=None if is_video else self._work_s,
            max_answer=min(self._max_answer, 8 * 1024 * 1024) if is_video else self._max_answer,
            key=key,
            refuses_key=answers.refuses_key,
        )
        return answers.OpenAiSession(api, self._url, {"Authorization": f"Bearer {secret}"} if secret else {}, words)

    _job_session = as_call_failed()(_session)


async def _post(
    session: answers.OpenAiSession, path: str, body: Mapping[str, Any], accepted: type[T], *, as_form: bool = False
) -> T:
    """POST a body and decode the answer as *accepted*. Raises as `RemoteProvider.submit`."""
    kind, data = await to_thread.run_sync(form_body if as_form else _as_json, body)
    headers = {**session.headers, "Content-Type": kind}
    try:
        return (await session.api.submit(f"{session.url}/{path}", data, headers, accepted))[1]
    except AttemptError as error:
        if session.words.out_of_credit:
            raise AttemptError(str(error), retryable=False) from error
        raise


def _as_json(body: Mapping[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.encode(body)


def _wants_json(body: Mapping[str, Any]) -> bool:
    wanted = body.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") in {"json_schema", "json_object"}


def build(setup: ProviderSetup[OpenAiSettings]) -> OpenAiProvider:
    url, work_s = setup.own.url or PUBLIC_URL, setup.settings.provider_work_s
    return OpenAiProvider(setup.client, setup.credentials, url=url, work_s=work_s, **call_options(setup, 30.0))
