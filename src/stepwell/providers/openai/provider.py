"""OpenAI, and whatever speaks its API: https://developers.openai.com/api/reference.

Chat and pictures are answered with the work itself, in one call that may take minutes. The API documents no idempotency
key, and lists nothing of it but chats that it was asked to keep (`store`), which nothing here asks for. So if an answer
is lost, nobody can find out what came of it, and `on_unknown` decides. A picture that is answered by its address (which
OpenAI keeps for an hour) is fetched as that of a job which has ended, so that neither a crash nor a failed download
loses it.

Films are jobs: https://developers.openai.com/api/reference/resources/videos. OpenAI has shut that API down on
24 September 2026, with no successor (https://developers.openai.com/api/docs/deprecations), so films are only offered
where another URL is set: https://docs.vllm.ai/projects/vllm-omni/en/latest/serving/videos_api/, for one, speaks it. A
list of films shows prompts and sizes, but no pictures. So one whose answer was lost is known by what was asked for,
and to the process that has asked; where a picture was sent, and two films would do, neither is taken for ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from anyio import to_thread
from msgspec import json

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.domain.errors import AttemptError, CallFailed, Fault, paid_for
from stepwell.domain.model import Sent
from stepwell.domain.steps import KnownStep
from stepwell.domain.urls import split_url
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
    Request,
    UrlReader,
)
from stepwell.providers.openai.answers import (
    NAME,
    Chat,
    Drawings,
    OpenAiSession,
    Words,
    chat_result,
    drawing_of,
    picture_result,
    refuses_key,
)
from stepwell.providers.openai.bodies import chat_body, film_body, film_told, picture_body
from stepwell.providers.openai.multipart import FILES, form_body
from stepwell.providers.openai.parameters import CAPABILITIES, model_of
from stepwell.providers.openai.refusals import refusals
from stepwell.providers.openai.videos import CreatedVideo, cancelled, film_of, made_around, state_of, url_of
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.provider_api import ProviderApi

T = TypeVar("T")

PUBLIC_URL = "https://api.openai.com/v1"
_PUBLIC_HOST = "api.openai.com"  # or below it: eu.api.openai.com
MAX_ANSWER = 64 * 1024 * 1024
_PICTURE = "picture"  # among the addresses of a job: its result
_EXTENSIONS = {"jpeg": "jpg", "jpg": "jpg", "webp": "webp", "gif": "gif"}
_REDIRECTS = 3


class OpenAiProvider:
    """Implements `ports.Provider`. The key is the credential "OPENAI", or the one that a step names; servers other than
    OpenAI's own may need none.

    *client* is a `web.plain_client`, *url* the API's base, whatever its path. *timeout_s* is the deadline of each call,
    but *work_s* that of a call which is answered with the work itself, in at most *max_answer* bytes. In
    `provider_config`: `model` and `parameters` (see `parameters` and `bodies`).
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
        except AttemptError:  # it is told where the step runs
            return task_type

    def url_reader(self, task_type: TaskType, _name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        passed_on = self._public and task_type is TaskType.LLM_INTERACTION
        return UrlReader.PROVIDER if passed_on else UrlReader.STEPWELL

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
                body = await film_body(attempt, io)
            case _:
                body = await picture_body(attempt, io, public=self._public)
        return Request(model=model, body=body)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        session, body = self._session(attempt), request.body
        if attempt.task_type is TaskType.VIDEO_GENERATION:
            return Job(id=(await _posted(session, "videos", body, CreatedVideo, as_form=True)).id)
        if attempt.task_type is TaskType.LLM_INTERACTION:
            chat = await _posted(session, "chat/completions", body, Chat)
            with paid_for():
                return Finished(chat_result(chat, request.model, session.words, as_json=_wants_json(body)))
        if FILES & body.keys():
            drawings = await _posted(session, "images/edits", body, Drawings, as_form=True)
        else:
            drawings = await _posted(session, "images/generations", body, Drawings)
        with paid_for():
            drawn = drawing_of(drawings)
            if drawn.b64_json is None and drawn.url is not None:
                return Job(id=f"picture-{attempt.task_id}", urls={_PICTURE: drawn.url}, done=True)
            return Finished(await picture_result(drawn, drawings.usage, request.model, attempt, io))

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        if _PICTURE in job.urls:
            return JobState(status=JobStatus.SUCCEEDED, word="completed")
        return await state_of(self._calling(attempt), job)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        session, model = self._calling(attempt), self.model(attempt.task_type, attempt.provider_config)
        if (address := job.urls.get(_PICTURE)) is not None:
            own = origin_of(address) == origin_of(self._url)
            suffix = _EXTENSIONS.get(split_url(address).path.rpartition(".")[2].lower(), "png")
            picture = await io.download(
                address,
                f"result.{suffix}",
                ("image/",),
                headers=session.headers if own else None,
                error_text=session.words if own else None,
            )
            return Finished({"result_image_path": picture.path, "size": picture.size, "model": model})
        film = await film_of(session, job)
        if film.status != "completed":
            raise CallFailed(sanitised(f"{NAME}: the film is {film.status}, not completed", 200))
        stored = await io.download(
            f"{url_of(session, job)}/content",
            "result.mp4",
            ("video/",),
            headers=session.headers,
            error_text=session.words,
            redirects=_REDIRECTS,
        )
        result = {"result_video_path": stored.path, "format": "MP4", "size": stored.size}
        return Finished(result | film.sides | {"model": film.model if isinstance(film.model, str) else model})

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        """OpenAI deletes films that are done, and documents no way to end one before. Other servers end one that is
        deleted while it is made, as well as they can.
        """
        if _PICTURE in job.urls:
            return CancelAnswer.ENDED
        return CancelAnswer.REFUSED if self._public else await cancelled(self._calling(attempt), job)

    def called_back(self, _body: bytes, /) -> Job | None:
        """Null: OpenAI calls nobody back about a single request."""
        return None

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job] | None:
        """Null for what isn't a film, and where the inputs aren't known any more. Raises `CallFailed` if there are
        more than 20 pages of films to look through.
        """
        if attempt.task_type is not TaskType.VIDEO_GENERATION or not attempt.inputs:
            return None
        wanted = film_told(attempt) | {"model": sent.model}
        found = [listed async for listed in made_around(self._calling(attempt), sent.at) if listed.agrees(wanted)]
        if attempt.inputs.get("base_image_url") is not None and len(found) > 1:
            return ()
        found.sort(key=lambda listed: abs(listed.moment - sent.at))
        return [Job(id=listed.id) for listed in found]

    def _session(self, attempt: Attempt) -> OpenAiSession:
        """Raises `AttemptError` if there is no key where one is needed, or none that can be sent."""
        find = self._credentials.require_key if self.needs_credential else self._credentials.key
        key = find(attempt.provider_config, self.type)
        secret = None if key is None else key.secret
        if key and not (key.secret.isascii() and key.secret.isprintable()):  # the client's own error would show it
            raise AttemptError(f"OPENAI: the credential can't be sent in a header: {key.setting}", retryable=False)
        words, film = Words(secret), attempt.task_type is TaskType.VIDEO_GENERATION
        api = ProviderApi(
            self._client,
            NAME,
            words,
            timeout_s=self._timeout_s,
            work_s=None if film else self._work_s,
            max_answer=min(self._max_answer, 8 * 1024 * 1024) if film else self._max_answer,
            key=key,
            refuses_key=refuses_key,
        )
        return OpenAiSession(api, self._url, {"Authorization": f"Bearer {secret}"} if secret else {}, words)

    def _calling(self, attempt: Attempt) -> OpenAiSession:
        """For calls about a job, which goes on whether there is a key or not."""
        try:
            return self._session(attempt)
        except AttemptError as error:
            raise CallFailed(str(error)) from error


async def _posted(
    session: OpenAiSession, path: str, body: Mapping[str, Any], accepted: type[T], *, as_form: bool = False
) -> T:
    """Raises as `Provider.submit`."""
    kind, data = await to_thread.run_sync(form_body if as_form else _as_json, body)
    headers = {**session.headers, "Content-Type": kind}
    try:
        return (await session.api.submit(f"{session.url}/{path}", data, headers, accepted))[1]
    except AttemptError as error:
        if session.words.spent:
            raise AttemptError(str(error), retryable=False) from error
        raise


def _as_json(body: Mapping[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.encode(body)


def _wants_json(body: Mapping[str, Any]) -> bool:
    wanted = body.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") in {"json_schema", "json_object"}
