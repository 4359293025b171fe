"""Replicate's predictions API: one prediction an attempt, found again by its input where the answer was lost.

The protocol: https://replicate.com/docs/reference/http, https://replicate.com/docs/topics/predictions/lifecycle (the
statuses), .../create-a-prediction, .../rate-limits, https://replicate.com/docs/reference/error-codes, and
https://replicate.com/changelog/2025-10-16-prediction-deadlines. It has no idempotency key, and names no price.

Inputs and outputs of predictions made through the API are removed after an hour
(https://replicate.com/docs/topics/predictions/data-retention). A result that was removed before it was fetched is lost:
the attempt fails and isn't retried, for the work was done and is paid for, and whether to pay again is for somebody to
say. One that has succeeded with no output at all delivered nothing (an upload of Replicate's own failed), so a retry is
worth it.
"""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx
from msgspec import Meta, Struct, json

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.domain.errors import AttemptError, CallFailed, Fault
from stepwell.domain.model import Sent
from stepwell.domain.steps import KnownStep
from stepwell.domain.strict_json.canonical import canonical, digest
from stepwell.domain.urls import split_url
from stepwell.domain.validation.file_inputs import MESSAGES
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
from stepwell.providers.replicate.outputs import stored_output
from stepwell.providers.replicate.parameters import KINDS, deadline, model_input, refusals, target
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.provider_api import ProviderApi

_SUCCESS = frozenset(range(200, 300))
# What says nothing about the job: the key is wrong, or it is too much at once.
_NO_REFUSAL = frozenset({401, 403, 408, 425, 429})
_CANCEL_ANSWERS = _SUCCESS | (frozenset(range(400, 500)) - _NO_REFUSAL)
_GONE = frozenset({404, 410})
_ENDED = frozenset({"succeeded", "failed", "aborted"})
_MAX_PAGES = 50
_BEFORE, _AFTER = timedelta(seconds=60), timedelta(minutes=15)
# What another attempt would run into again; E1001 is out of memory, which Replicate puts down to the input.
_HOPELESS = re.compile(
    r"\b(E1001|E4875|E005)\b|nsfw|sensitive|moderation|safety|validation|invalid|unsupported|out of memory",
    re.IGNORECASE,
)

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}(?!\n)$")]


class _Created(Struct):
    id: Id
    urls: Any = None


class _Prediction(Struct):
    status: str
    input: Any = None
    output: Any = None
    error: Any = None
    data_removed: bool | None = None


class _Cancelled(Struct):
    status: str


class _Listed(Struct):
    id: Id
    created_at: Annotated[datetime, Meta(tz=True)]
    model: str | None = None
    version: str | None = None
    deployment: str | None = None
    input: Any = None
    urls: Any = None
    data_removed: bool | None = None


class _Page(Struct):
    results: list[_Listed]
    next: str | None = None


class _Session(NamedTuple):
    api: ProviderApi
    headers: Mapping[str, str]


class ReplicateProvider:
    """Implements `ports.Provider`. The key is the credential "REPLICATE", or the one that a step names.

    *client* is a `web.plain_client`, *url* the API's base, *timeout_s* the deadline of each call. In `provider_config`:
    `model` or `deployment`, `loras`, `parameters` (see `replicate_parameters`), and `cancel_after_s`, after which
    Replicate ends the prediction itself (5 to 86,400; what lies outside is moved to the nearer end).
    """

    type = ProviderType.REPLICATE
    needs_credential = True

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str = "https://api.replicate.com",
        listing_lag_s: float = 30.0,
        timeout_s: float = 30.0,
    ) -> None:
        self._client, self._credentials, self._timeout_s = client, credentials, timeout_s
        self.listing_lag_s = listing_lag_s
        self._url, self._origin = url.rstrip("/"), origin_of(url)

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        kind = KINDS.get(task_type)
        # Without a model of our own choice a step would be found out to be impossible when it runs.
        return kind.capabilities if kind and kind.model else None

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        try:
            return target(task_type, provider_config)[0]
        except AttemptError:  # it is told where the step runs
            return task_type

    def url_reader(self, _task_type: TaskType, name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return None if name == MESSAGES else UrlReader.PROVIDER

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return refusals(step)

    def ends_jobs(self, _model: str, /) -> bool:
        return True

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        deadline(attempt.provider_config)
        model, version = target(attempt.task_type, attempt.provider_config)
        body: dict[str, Any] = {"input": await model_input(attempt, io)}
        return Request(model=model, body={**body, "version": version} if version else body)

    async def submit(self, attempt: Attempt, request: Request, _io: AttemptIO, /) -> Job:
        session = self._session(attempt)
        body = dict(request.body)
        # Replicate takes no others than https; what stands in for it on plain http does.
        secure = self._url.startswith("http:") or (attempt.callback_url or "").startswith("https:")
        if attempt.callback_url is not None and secure:
            body |= {"webhook": attempt.callback_url, "webhook_events_filter": ["completed"]}
        headers = {**session.headers, **deadline(attempt.provider_config)}
        _, created = await session.api.submit(self._endpoint(request), canonical(body), headers, _Created)
        return Job(id=created.id, urls=_named(created.urls))

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        session = self._calling(attempt)
        found = await self._prediction(session, job)
        word = sanitised(found.status, 100)
        match found.status:
            case "succeeded":
                return JobState(status=JobStatus.SUCCEEDED, word=word)
            case "failed":
                said = found.error if isinstance(found.error, str) else json.encode(found.error).decode()
                why = sanitised(_scrubbed(said, session)) if found.error else "no reason given"
                return JobState(
                    status=JobStatus.FAILED, word=word, error=f"Replicate: {why}", retryable=not _HOPELESS.search(why)
                )
            case "canceled":
                return JobState(status=JobStatus.CANCELLED, word=word)
            case "aborted":
                why = "Replicate: the deadline passed before the prediction could start"
                # Where the step has set it, it may have been too short for anybody.
                own = attempt.provider_config.get("cancel_after_s") is not None
                return JobState(status=JobStatus.FAILED, word=word, error=why, request_fault=own)
            case _:
                return JobState(status=JobStatus.RUNNING, word=word)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        found = await self._prediction(self._calling(attempt), job)
        if found.status != "succeeded":
            raise CallFailed(sanitised(f"Replicate: the prediction is {found.status}, not succeeded", 200))
        if found.data_removed:
            raise AttemptError("Replicate: the result was removed before it was fetched", retryable=False)
        return Finished(await stored_output(attempt.task_type, found.output, found.input, io))

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        api, headers = self._calling(attempt)
        answer = await api.call("POST", self._address(job, "cancel"), headers, ok=_CANCEL_ANSWERS)
        if not answer.is_success:
            if _error_text(answer.body) is None:
                raise CallFailed(f"Replicate answered the cancel {answer.status}, without words of its own")
            return CancelAnswer.UNKNOWN_JOB if answer.status in _GONE else CancelAnswer.REFUSED
        if not answer.body.strip():
            return CancelAnswer.ACCEPTED
        return CancelAnswer.ENDED if api.readable(answer, _Cancelled).status in _ENDED else CancelAnswer.ACCEPTED

    def called_back(self, body: bytes) -> Job | None:
        told = read_json(body, _Created)
        return None if told is None else Job(id=told.id, urls=_named(told.urls))

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job]:
        """As the port says. Predictions whose input was removed can't be told, and are left out; no result of theirs
        could be fetched either. Raises `CallFailed` if there are more than 50 pages of predictions to look through.
        """
        session = self._calling(attempt)
        found = [
            listed
            async for listed in self._created_around(session, sent.at)
            if _of_model(listed, sent.model) and await self._is_same(session, listed, sent.digest)
        ]
        found.sort(key=lambda listed: abs(listed.created_at - sent.at))
        return [Job(id=listed.id, urls=_named(listed.urls)) for listed in found]

    async def _created_around(self, session: _Session, at: datetime) -> AsyncIterator[_Listed]:
        """The predictions of the key's account, newest first. The bounds are asked for, but not relied on."""
        earliest, latest = at - _BEFORE, at + _AFTER
        query = urlencode({"created_after": earliest.isoformat(), "created_before": latest.isoformat()})
        for _ in range(_MAX_PAGES):
            answer = await session.api.call("GET", f"{self._url}/v1/predictions?{query}", session.headers, ok=_SUCCESS)
            page = session.api.readable(answer, _Page)
            for listed in page.results:
                if listed.created_at < earliest:
                    return
                if listed.created_at <= latest:
                    yield listed
            if not page.next:
                return
            query = split_url(page.next).query  # the rest of the address is ours: the key goes nowhere else
        raise CallFailed(f"Replicate: more than {_MAX_PAGES} pages of predictions to look through")

    async def _is_same(self, session: _Session, listed: _Listed, wanted: str) -> bool:
        given = listed.input
        if listed.data_removed:
            return False
        if given is None:
            try:
                given = (await self._prediction(session, Job(id=listed.id, urls=_named(listed.urls)))).input
            except CallFailed as error:
                if error.forgotten:
                    return False
                raise
        # A prediction always shows a version, also where none was asked for.
        return wanted in {digest({"input": given}), digest({"input": given, "version": listed.version})}

    async def _prediction(self, session: _Session, job: Job) -> _Prediction:
        answer = await session.api.call("GET", self._address(job, "get"), session.headers, ok=_SUCCESS)
        return session.api.readable(answer, _Prediction)

    def _endpoint(self, request: Request) -> str:
        if "version" in request.body:
            return f"{self._url}/v1/predictions"
        kind = "" if _is_deployment(request.model) else "models/"
        return f"{self._url}/v1/{kind}{request.model}/predictions"

    def _address(self, job: Job, purpose: str) -> str:
        named = job.urls.get(purpose)
        if named is not None and self._origin is not None and origin_of(named) == self._origin:
            return named
        own = f"{self._url}/v1/predictions/{quote(job.id, safe='')}"
        return f"{own}/cancel" if purpose == "cancel" else own

    def _session(self, attempt: Attempt) -> _Session:
        """Raises `AttemptError` if the service holds no key for it."""
        key = self._credentials.require_key(attempt.provider_config, self.type)
        secret = key.secret

        def error_text(body: bytes) -> str | None:
            words = _error_text(body)
            return words and words.replace(secret, "…")

        api = ProviderApi(self._client, "Replicate", error_text, timeout_s=self._timeout_s, key=key)
        return _Session(api, {"Authorization": f"Bearer {secret}"})

    def _calling(self, attempt: Attempt) -> _Session:
        """For calls about a job, which goes on whether there is a key or not."""
        try:
            return self._session(attempt)
        except AttemptError as error:
            raise CallFailed(str(error)) from error


def _error_text(body: bytes) -> str | None:
    """A problem as Replicate words it: {"title", "detail", "status"}; a throttled call gets the detail alone."""
    problem = read_json(body, dict[str, Any])
    if problem is None:
        return None
    said = (problem.get("detail"), problem.get("title"))
    return next((words for words in said if isinstance(words, str) and words), None)


def _scrubbed(text: str, session: _Session) -> str:
    return text.replace(session.headers["Authorization"].partition(" ")[2], "…")


def _named(urls: Any) -> dict[str, str]:
    """The addresses that a prediction names for itself, of those that are used."""
    if not isinstance(urls, Mapping):
        return {}
    return {purpose: url for purpose in ("get", "cancel") if isinstance(url := urls.get(purpose), str)}


def _is_deployment(model: str) -> bool:
    return model.count("/") == 2  # noqa: PLR2004 - deployments/owner/name


def _of_model(listed: _Listed, model: str) -> bool:
    """Whether it may be of the model that was sent to; what it doesn't say speaks for it."""
    wanted = model.lower()
    if _is_deployment(model):
        names = wanted.removeprefix("deployments/"), wanted.rpartition("/")[2]
        return listed.deployment is None or listed.deployment.lower() in names
    shown = listed.model if "/" in model else listed.version
    return shown is None or shown.lower() == wanted
