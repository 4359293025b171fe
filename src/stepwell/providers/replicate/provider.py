"""The provider for Replicate's predictions API. An attempt is one prediction.

The protocol: https://replicate.com/docs/reference/http, https://replicate.com/docs/topics/predictions/lifecycle (the
statuses), .../create-a-prediction, .../rate-limits, https://replicate.com/docs/reference/error-codes, and
https://replicate.com/changelog/2025-10-16-prediction-deadlines. Replicate has no idempotency key, so a prediction whose
answer was lost is found by its input. It reports no price.

Replicate removes inputs and outputs after an hour (https://replicate.com/docs/topics/predictions/data-retention). A
result that was removed before it was fetched is lost. The attempt fails without a retry, because the work is paid for,
and somebody must decide whether to pay again. A prediction that succeeded without any output delivered nothing, because
an upload of Replicate's failed; so it is retried.
"""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx
from msgspec import Meta, Struct, json

from stepwell.basics.errors import AttemptError, CallFailed, Fault
from stepwell.basics.strict_json.canonical import canonical, digest
from stepwell.basics.urls import split_url
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.validation.file_inputs import MESSAGES
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.outbound.http_client import GONE, origin_of
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
from stepwell.providers.replicate.descriptor import REPLICATE, ReplicateSettings
from stepwell.providers.replicate.outputs import store_output
from stepwell.providers.replicate.parameters import KINDS, deadline, model_input, refusals, target
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.provider_api import AFTER, BEFORE, ProviderApi, as_call_failed
from stepwell.providers.shared.setup import ProviderSetup, call_options

PUBLIC_URL = "https://api.replicate.com"
_SUCCESS = frozenset(range(200, 300))
# Statuses that say nothing about the job: the key is wrong, or there are too many calls.
_CALL_STATUSES = frozenset({401, 403, 408, 425, 429})
_CANCEL_ANSWERS = _SUCCESS | (frozenset(range(400, 500)) - _CALL_STATUSES)
_ENDED = frozenset({"succeeded", "failed", "aborted"})
_MAX_PAGES = 50
# Errors that another attempt would meet again. E1001 is out of memory, which Replicate attributes to the input.
_PERMANENT_ERROR = re.compile(
    r"\b(E1001|E4875|E005)\b|nsfw|sensitive|moderation|safety|validation|invalid|unsupported|out of memory",
    re.IGNORECASE,
)

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}(?!\n)$")]


class _SubmitAnswer(Struct):
    """The answer to a submit, and the body of a callback."""

    id: Id
    urls: Any = None


class _Prediction(Struct):
    status: str
    input: Any = None
    output: Any = None
    error: Any = None
    data_removed: bool | None = None


class _ListedPrediction(Struct):
    id: Id
    created_at: Annotated[datetime, Meta(tz=True)]
    model: str | None = None
    version: str | None = None
    deployment: str | None = None
    input: Any = None
    urls: Any = None
    data_removed: bool | None = None


class _Page(Struct):
    results: list[_ListedPrediction]
    next: str | None = None


class _Session(NamedTuple):
    api: ProviderApi
    headers: Mapping[str, str]


class ReplicateProvider(RemoteProvider):
    """Implements `RemoteProvider`. The key is the credential "REPLICATE", or the one that a step names.

    *client* is an `http_client.plain_client`, *url* the API's base, *timeout_s* the deadline of each call.
    `provider_config` may have `model` or `deployment`, `loras`, `parameters` (see `parameters`), and `cancel_after_s`,
    the seconds after which Replicate cancels the prediction itself (clamped to 5 to 86,400).
    """

    type = ProviderType.REPLICATE
    needs_credential = True

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str = PUBLIC_URL,
        listing_lag_s: float = 30.0,
        timeout_s: float = 30.0,
    ) -> None:
        self._client, self._credentials, self._timeout_s = client, credentials, timeout_s
        self.listing_lag_s = listing_lag_s
        self._url, self._origin = url.rstrip("/"), origin_of(url)

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        kind = KINDS.get(task_type)
        # Without a default model, a step that names none would only fail when it runs.
        return kind.capabilities if kind and kind.model else None

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        try:
            return target(task_type, provider_config)[0]
        except AttemptError:  # it is raised where the step runs
            return task_type

    def members(self, task_type: TaskType, _provider_config: Mapping[str, Any], /) -> StepMembers:
        return StepMembers(config=REPLICATE.config_members, outputs=REPLICATE.outputs_of(task_type))

    def url_reader(self, _task_type: TaskType, name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return None if name == MESSAGES else UrlReader.PROVIDER

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return refusals(step)

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        deadline(attempt.provider_config)
        model, version = target(attempt.task_type, attempt.provider_config)
        body: dict[str, Any] = {"input": await model_input(attempt, io)}
        return Request(model=model, body={**body, "version": version} if version else body)

    async def submit(self, attempt: Attempt, request: Request, _io: AttemptIO, /) -> Job:
        session, body = self._session(attempt), dict(request.body)
        # Replicate accepts https callbacks only; a server that replaces it over plain http accepts any.
        secure = self._url.startswith("http:") or (attempt.callback_url or "").startswith("https:")
        if attempt.callback_url is not None and secure:
            body |= {"webhook": attempt.callback_url, "webhook_events_filter": ["completed"]}
        headers = {**session.headers, **deadline(attempt.provider_config)}
        _, created = await session.api.submit(self._endpoint(request), canonical(body), headers, _SubmitAnswer)
        return Job(id=created.id, urls=_urls(created.urls))

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        session = self._job_session(attempt)
        prediction = await self._prediction(session, job)
        word = sanitised(prediction.status, 100)
        match prediction.status:
            case "succeeded":
                return JobState(status=JobStatus.SUCCEEDED, word=word)
            case "failed":
                error = prediction.error
                message = error if isinstance(error, str) else json.encode(error).decode()
                why = sanitised(_scrubbed(message, session)) if error else "no reason given"
                again = not _PERMANENT_ERROR.search(why)
                return JobState(status=JobStatus.FAILED, word=word, error=f"Replicate: {why}", retryable=again)
            case "canceled":
                return JobState(status=JobStatus.CANCELLED, word=word)
            case "aborted":
                why = "Replicate: the deadline passed before the prediction could start"
                # If the step set the deadline, it may have been too short for any provider.
                own = attempt.provider_config.get("cancel_after_s") is not None
                return JobState(status=JobStatus.FAILED, word=word, error=why, request_fault=own)
            case _:
                return JobState(status=JobStatus.RUNNING, word=word)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        prediction = await self._prediction(self._job_session(attempt), job)
        if prediction.status != "succeeded":
            raise CallFailed(sanitised(f"Replicate: the prediction is {prediction.status}, not succeeded", 200))
        if prediction.data_removed:
            raise AttemptError("Replicate: the result was removed before it was fetched", retryable=False)
        return Finished(await store_output(attempt.task_type, prediction.output, prediction.input, io))

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        api, headers = self._job_session(attempt)
        answer = await api.call("POST", self._address(job, "cancel"), headers, ok=_CANCEL_ANSWERS)
        if not answer.is_success:
            if _error_text(answer.body) is None:
                raise CallFailed(f"Replicate answered the cancel {answer.status}, without an error message")
            return CancelAnswer.UNKNOWN_JOB if answer.status in GONE else CancelAnswer.REFUSED
        if not answer.body.strip():
            return CancelAnswer.ACCEPTED
        return CancelAnswer.ENDED if api.readable(answer, _Prediction).status in _ENDED else CancelAnswer.ACCEPTED

    def called_back(self, body: bytes) -> Job | None:
        created = read_json(body, _SubmitAnswer)
        return None if created is None else Job(id=created.id, urls=_urls(created.urls))

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job]:
        """Find the predictions with the same input.

        Predictions whose input was removed are left out: they can't be recognised, and their results are removed too.
        Raises `CallFailed` if the list has more than 50 pages.
        """
        session = self._job_session(attempt)
        predictions = [
            listed
            async for listed in self._list_around(session, sent.at)
            if _of_model(listed, sent.model) and await self._has_same_input(session, listed, sent.digest)
        ]
        predictions.sort(key=lambda listed: abs(listed.created_at - sent.at))
        return [Job(id=listed.id, urls=_urls(listed.urls)) for listed in predictions]

    async def _list_around(self, session: _Session, at: datetime) -> AsyncIterator[_ListedPrediction]:
        """Yield the predictions around *at*, newest first. Replicate may ignore the bounds in the query."""
        earliest, latest = at - BEFORE, at + AFTER
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
            query = split_url(page.next).query  # only the query, so that the key is sent nowhere else
        raise CallFailed(f"Replicate: more than {_MAX_PAGES} pages of predictions to look through")

    async def _has_same_input(self, session: _Session, listed: _ListedPrediction, wanted: str) -> bool:
        model_input = listed.input
        if listed.data_removed:
            return False
        if model_input is None:
            try:
                model_input = (await self._prediction(session, Job(id=listed.id, urls=_urls(listed.urls)))).input
            except CallFailed as error:
                if error.forgotten:
                    return False
                raise
        # A listed prediction has a version even if none was asked for.
        return wanted in {digest({"input": model_input}), digest({"input": model_input, "version": listed.version})}

    async def _prediction(self, session: _Session, job: Job) -> _Prediction:
        answer = await session.api.call("GET", self._address(job, "get"), session.headers, ok=_SUCCESS)
        return session.api.readable(answer, _Prediction)

    def _endpoint(self, request: Request) -> str:
        if "version" in request.body:
            return f"{self._url}/v1/predictions"
        kind = "" if _is_deployment(request.model) else "models/"
        return f"{self._url}/v1/{kind}{request.model}/predictions"

    def _address(self, job: Job, purpose: str) -> str:
        url = job.urls.get(purpose)
        if url is not None and self._origin is not None and origin_of(url) == self._origin:
            return url
        own = f"{self._url}/v1/predictions/{quote(job.id, safe='')}"
        return f"{own}/cancel" if purpose == "cancel" else own

    def _session(self, attempt: Attempt) -> _Session:
        """Raises `AttemptError` if the service has no key for the step."""
        key = self._credentials.require_key(attempt.provider_config, self.type)
        secret = key.secret

        def error_text(body: bytes) -> str | None:
            words = _error_text(body)
            return words and words.replace(secret, "…")

        api = ProviderApi(
            self._client,
            "Replicate",
            error_text,
            provider=REPLICATE,
            answers=attempt.answers,
            timeout_s=self._timeout_s,
            key=key,
        )
        return _Session(api, {"Authorization": f"Bearer {secret}"})

    _job_session = as_call_failed()(_session)


def _error_text(body: bytes) -> str | None:
    """Return the message of an error: {"title", "detail", "status"}, or {"detail"} for a throttled call; else None."""
    problem = read_json(body, dict[str, Any])
    if problem is None:
        return None
    texts = (problem.get("detail"), problem.get("title"))
    return next((words for words in texts if isinstance(words, str) and words), None)


def _scrubbed(text: str, session: _Session) -> str:
    return text.replace(session.headers["Authorization"].partition(" ")[2], "…")


def _urls(urls: Any) -> dict[str, str]:
    """Return the URLs of a prediction that are used here, by purpose."""
    if not isinstance(urls, Mapping):
        return {}
    return {purpose: url for purpose in ("get", "cancel") if isinstance(url := urls.get(purpose), str)}


def _is_deployment(model: str) -> bool:
    return model.count("/") == 2  # noqa: PLR2004 - deployments/owner/name


def _of_model(listed: _ListedPrediction, model: str) -> bool:
    """Return whether the prediction may belong to *model*. It may if the list doesn't show its model."""
    wanted = model.lower()
    if _is_deployment(model):
        names = wanted.removeprefix("deployments/"), wanted.rpartition("/")[2]
        return listed.deployment is None or listed.deployment.lower() in names
    listed_name = listed.model if "/" in model else listed.version
    return listed_name is None or listed_name.lower() == wanted


def build(setup: ProviderSetup[ReplicateSettings]) -> ReplicateProvider:
    url = setup.own.url or PUBLIC_URL
    return ReplicateProvider(setup.client, setup.credentials, url=url, **call_options(setup, 30.0))
