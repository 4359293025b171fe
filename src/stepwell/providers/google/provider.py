"""What GEMINI and VERTEX share: the same bodies and answers, at other addresses and with other credentials.

Calls of generateContent and predict are answered with the result itself, so there is no job to follow. If such an
answer is lost, so is the result: Google keeps no list of them. Films are made by operations, and no documentation of
theirs lets one be cancelled, or found by what it was asked with.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import httpx

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.domain.errors import AttemptError, CallFailed, Fault, OutcomeUnknown, paid_for
from stepwell.domain.model import Sent
from stepwell.domain.steps import KnownStep
from stepwell.domain.strict_json.canonical import canonical
from stepwell.ports.providers import Attempt, AttemptIO, CancelAnswer, Finished, Job, JobState, Request, UrlReader
from stepwell.providers.google.answers import (
    Generated,
    Predicted,
    picture_result,
    predicted_result,
    text_result,
)
from stepwell.providers.google.instructions import EDIT_WORDS, check_edit
from stepwell.providers.google.media import media
from stepwell.providers.google.models import Family, asked_in, capabilities, family_of, target
from stepwell.providers.google.predictions import check_imagen, imagen_body, veo_body
from stepwell.providers.google.request_parts import checked_messages, content_body
from stepwell.providers.google.session import GoogleSession, ModelTerms
from stepwell.providers.google.video_operations import OperationVideo, Started, VideoOperation, film_of, state_of
from stepwell.providers.shared.credentials import Credentials, Key
from stepwell.providers.shared.refusals import collect_refusals
from stepwell.providers.shared.result_storage import store_from_job

_VERBS = {Family.GEMINI: "generateContent", Family.IMAGEN: "predict", Family.VEO: "predictLongRunning"}


class GoogleProvider(ABC):
    """Implements `ports.Provider`. Subclasses say where a model's calls go, with what credential, and how an operation
    is looked at. *seeded*: Imagen and Veo take a seed there.
    """

    type: ProviderType
    needs_credential = True
    seeded: bool

    def __init__(
        self, client: httpx.AsyncClient, credentials: Credentials, listing_lag_s: float, limits: ModelTerms
    ) -> None:
        self._client, self._credentials, self._limits = client, credentials, limits
        self.listing_lag_s = listing_lag_s

    @abstractmethod
    async def _session(self, attempt: Attempt) -> GoogleSession:
        """Raises `AttemptError` if there is no credential that holds."""

    @abstractmethod
    def _endpoint(self, attempt: Attempt, session: GoogleSession, call: str, /) -> str:
        """The address of *call*, "{model}:{verb}". Raises `AttemptError` where the step names no place for it."""

    @abstractmethod
    def _is_operation(self, name: str) -> bool:
        """Whether that may be the name of an operation: what isn't goes into no address."""

    @abstractmethod
    async def _operation(self, session: GoogleSession, name: str) -> VideoOperation:
        """Raises `CallFailed`."""

    @abstractmethod
    async def _downloaded(self, session: GoogleSession, uri: str, io: AttemptIO) -> dict[str, Any]:
        """A film that is somewhere else, stored: the result of its step. Raises as `AttemptIO.download`."""

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return capabilities(self.type, task_type)

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        try:
            return target(self.type, task_type, provider_config)
        except AttemptError:  # it is told where the step runs
            return task_type

    def url_reader(self, _task_type: TaskType, _name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return UrlReader.STEPWELL

    def refusals(self, step: KnownStep) -> Iterator[Fault]:
        task_type, config, inputs = step.task_type, step.provider_config, step.inputs
        model = list(collect_refusals(partial(target, self.type, task_type, config)))
        yield from model
        yield from collect_refusals(partial(asked_in, config))
        if task_type is TaskType.LLM_INTERACTION:
            yield from collect_refusals(partial(checked_messages, inputs))
        elif task_type is TaskType.EDITING and EDIT_WORDS.isdisjoint(step.unresolved):
            yield from collect_refusals(partial(check_edit, inputs))
        elif not model and family_of(target(self.type, task_type, config)) is Family.IMAGEN:
            yield from collect_refusals(partial(check_imagen, inputs.keys() | step.unresolved))

    def ends_jobs(self, model: str) -> bool:
        return family_of(model) is not Family.VEO

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        model = target(self.type, attempt.task_type, attempt.provider_config)
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
            started = await session.submit(url, body, Started)
            if not self._is_operation(started.name):
                raise OutcomeUnknown(f"{self.type}: the name of the operation can't be read")
            return Job(id=started.name)
        about = (self.type, request.body, request.model)
        if family is Family.IMAGEN:
            predicted = await session.submit(url, body, Predicted, works=True)
            with session.scrubbing(), paid_for():
                return Finished(await predicted_result(*about, predicted, attempt, io))
        generated = await session.submit(url, body, Generated, works=True)
        with session.scrubbing(), paid_for():
            if attempt.task_type is TaskType.LLM_INTERACTION:
                return Finished(await text_result(*about, generated))
            return Finished(await picture_result(*about, generated, attempt, io))

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        session = await self._calling(attempt)
        return state_of(self.type, await self._found(session, job), session.scrubbed)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        session = await self._calling(attempt)
        operation = await self._found(session, job)
        if not operation.done or operation.error is not None:
            raise CallFailed(f"{self.type}: the operation has not succeeded")
        with session.scrubbing():
            film = film_of(self.type, operation)
        result = await self._kept(film, io) if film.text else await self._downloaded(session, film.uri, io)
        return Finished(result | {"model": self.model(attempt.task_type, attempt.provider_config)})

    async def cancel(self, _attempt: Attempt, _job: Job, /) -> CancelAnswer:
        """Neither API documents a way to cancel an operation of predictLongRunning: it goes on, and is paid for."""
        return CancelAnswer.REFUSED

    def called_back(self, _body: bytes, /) -> Job | None:
        return None

    async def reconcile(self, _attempt: Attempt, _sent: Sent, /) -> Sequence[Job] | None:
        """Null, always: no documented list shows what an operation was asked with, that of interactions tells ids and
        times alone, and calls that are answered with their result leave nothing to be found. A lost answer is so for
        `on_unknown` to decide.
        """
        return None

    async def _found(self, session: GoogleSession, job: Job) -> VideoOperation:
        if not self._is_operation(job.id):
            raise CallFailed(f"{self.type}: no operation has such a name", forgotten=True)
        return await self._operation(session, job.id)

    async def _kept(self, film: OperationVideo, io: AttemptIO) -> dict[str, Any]:
        found = await media(film.text, film=True)
        if found is None:
            raise AttemptError(f"{self.type}: what came as a film is none", retryable=False)
        return found.result(await store_from_job(io, found.name, found.data))

    def _key(self, attempt: Attempt) -> Key:
        return self._credentials.require_key(attempt.provider_config, self.type)

    async def _calling(self, attempt: Attempt) -> GoogleSession:
        """For calls about a job, which goes on whether there is a credential or not."""
        try:
            return await self._session(attempt)
        except AttemptError as error:
            raise CallFailed(str(error), retry_after_s=error.retry_after_s) from error
