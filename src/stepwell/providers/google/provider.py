"""The base of the providers GEMINI and VERTEX, which have the same bodies and answers, but other URLs and credentials.

Calls of generateContent and predict are answered with the result itself, so there is no job. If such an answer is lost,
the result is lost too, because Google keeps no list of calls. Videos are made by operations. By Google's documentation,
an operation can neither be cancelled nor be found by its request.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import httpx

from stepwell.basics.errors import AttemptError, CallFailed, Fault, OutcomeUnknown, paid_for
from stepwell.basics.strict_json.canonical import canonical
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.ports.providers import Attempt, AttemptIO, CancelAnswer, Finished, Job, JobState, Request, UrlReader
from stepwell.providers.google.answers import (
    GenerateContentAnswer,
    PredictAnswer,
    image_result,
    imagen_result,
    text_result,
)
from stepwell.providers.google.bodies import (
    EDIT_WORDS,
    check_edit,
    check_imagen,
    check_messages,
    content_body,
    imagen_body,
    veo_body,
)
from stepwell.providers.google.media import decode_media
from stepwell.providers.google.models import Family, capabilities, family_of, known_members, model_for, parameters_of
from stepwell.providers.google.session import GoogleSession, ModelTerms
from stepwell.providers.google.video_jobs import OperationVideo, StartedOperation, VideoOperation, state_of, video_of
from stepwell.providers.shared.credentials import Credentials, Key
from stepwell.providers.shared.provider_api import as_call_failed
from stepwell.providers.shared.refusals import collect_refusals
from stepwell.providers.shared.result_storage import file_name, store_from_job

_VERBS = {Family.GEMINI: "generateContent", Family.IMAGEN: "predict", Family.VEO: "predictLongRunning"}


class GoogleProvider(ABC):
    """Implements `RemoteProvider`. Subclasses define the URLs, the credential, and how an operation is read.

    `seeded` says whether Imagen and Veo accept a seed there. `operation_name` matches the names of operations, which
    may become part of a URL.
    """

    type: ProviderType
    needs_credential = True
    seeded: bool
    operation_name: re.Pattern[str]

    def __init__(
        self, client: httpx.AsyncClient, credentials: Credentials, listing_lag_s: float, limits: ModelTerms
    ) -> None:
        self._client, self._credentials, self._limits = client, credentials, limits
        self.listing_lag_s = listing_lag_s

    @abstractmethod
    async def _session(self, attempt: Attempt) -> GoogleSession:
        """Return what calls need. Raises `AttemptError` if there is no valid credential."""

    @abstractmethod
    def _endpoint(self, attempt: Attempt, session: GoogleSession, call: str, /) -> str:
        """Return the URL of *call*, "{model}:{verb}". Raises `AttemptError` if a part of the URL is unknown."""

    @abstractmethod
    async def _operation(self, session: GoogleSession, name: str) -> VideoOperation:
        """Read the operation. Raises `CallFailed`."""

    @abstractmethod
    async def _download_video(self, session: GoogleSession, uri: str, io: AttemptIO) -> dict[str, Any]:
        """Download and store a video, and return the step's result. Raises as `AttemptIO.download`."""

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return capabilities(self.type, task_type)

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        try:
            return model_for(self.type, task_type, provider_config)
        except AttemptError:  # it is raised where the step runs
            return task_type

    def members(self, task_type: TaskType, _provider_config: Mapping[str, Any], /) -> StepMembers:
        return known_members(self.type, task_type)

    def url_reader(self, _task_type: TaskType, _name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return UrlReader.STEPWELL

    def refusals(self, step: KnownStep) -> Iterator[Fault]:
        task_type, config, inputs = step.task_type, step.provider_config, step.inputs
        model_faults = list(collect_refusals(partial(model_for, self.type, task_type, config)))
        yield from model_faults
        yield from collect_refusals(partial(parameters_of, config))
        if task_type is TaskType.LLM_INTERACTION:
            yield from collect_refusals(partial(check_messages, inputs))
        elif task_type is TaskType.EDITING and EDIT_WORDS.isdisjoint(step.unresolved):
            yield from collect_refusals(partial(check_edit, inputs))
        elif not model_faults and family_of(model_for(self.type, task_type, config)) is Family.IMAGEN:
            yield from collect_refusals(partial(check_imagen, inputs.keys() | step.unresolved))

    def ends_jobs(self, model: str) -> bool:
        return family_of(model) is not Family.VEO

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        model = model_for(self.type, attempt.task_type, attempt.provider_config)
        return Request(model=model, body=await self._body(attempt, model, io))

    async def _body(self, attempt: Attempt, model: str, io: AttemptIO) -> dict[str, Any]:
        match family_of(model):
            case Family.IMAGEN:
                return imagen_body(attempt, seeded=self.seeded)
            case Family.VEO:
                return await veo_body(attempt, io, seeded=self.seeded)
            case _:
                return await content_body(attempt, io)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        session, family = await self._session(attempt), family_of(request.model)
        url = self._endpoint(attempt, session, f"{request.model}:{_VERBS[family]}")
        body = canonical(request.body)
        if family is Family.VEO:
            started = await session.submit(url, body, StartedOperation)
            if not self.operation_name.fullmatch(started.name):
                raise OutcomeUnknown(f"{self.type}: the name of the operation can't be read")
            return Job(id=started.name)
        facts = (self.type, request.body, request.model)
        if family is Family.IMAGEN:
            predicted = await session.submit(url, body, PredictAnswer, works=True)
            with session.masking(), paid_for():
                return Finished(await imagen_result(*facts, predicted, attempt, io))
        generated = await session.submit(url, body, GenerateContentAnswer, works=True)
        with session.masking(), paid_for():
            if attempt.task_type is TaskType.LLM_INTERACTION:
                return Finished(await text_result(*facts, generated))
            return Finished(await image_result(*facts, generated, attempt, io))

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        session = await self._job_session(attempt)
        return state_of(self.type, await self._read_operation(session, job), session.masked)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        session = await self._job_session(attempt)
        operation = await self._read_operation(session, job)
        if not operation.done or operation.error is not None:
            raise CallFailed(f"{self.type}: the operation has not succeeded")
        with session.masking():
            video = video_of(self.type, operation)
        return Finished(await self._video_result(attempt, session, video, io))

    async def cancel(self, _attempt: Attempt, _job: Job, /) -> CancelAnswer:
        """Refuse: neither API documents a way to cancel an operation, so it continues and is paid for."""
        return CancelAnswer.REFUSED

    def called_back(self, _body: bytes, /) -> Job | None:
        return None

    async def reconcile(self, _attempt: Attempt, _sent: Sent, /) -> Sequence[Job] | None:
        """Return None, so that `on_unknown` decides.

        No documented list shows the request of an operation. The list of interactions shows ids and times only. Calls
        that are answered with their result leave nothing to find.
        """
        return None

    async def _read_operation(self, session: GoogleSession, job: Job) -> VideoOperation:
        if not self.operation_name.fullmatch(job.id):
            raise CallFailed(f"{self.type}: no operation has such a name", forgotten=True)
        return await self._operation(session, job.id)

    async def _video_result(
        self, attempt: Attempt, session: GoogleSession, video: OperationVideo, io: AttemptIO
    ) -> dict[str, Any]:
        """Store the video, and return the step's result. Raises as `AttemptIO.download`."""
        model = {"model": self.model(attempt.task_type, attempt.provider_config)}
        if not video.text:
            return await self._download_video(session, video.uri, io) | model
        media = await decode_media(video.text, is_video=True)
        if media is None:
            raise AttemptError(f"{self.type}: the data of the video is not a video", retryable=False)
        return media.result(await store_from_job(io, file_name(1, media.suffix), media.data)) | model

    def _key(self, attempt: Attempt) -> Key:
        return self._credentials.require_key(attempt.provider_config, self.type)

    async def _job_session(self, attempt: Attempt) -> GoogleSession:
        with as_call_failed():
            return await self._session(attempt)
