"""The provider for fal's queue.

The protocol: https://fal.ai/docs/documentation/model-apis/inference/queue and
https://fal.ai/docs/api-reference/inference-api. fal has no idempotency key. It deletes a result after an hour, a large
one after minutes, so results are fetched at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import httpx
from msgspec import Meta, Struct, json

from stepwell.basics.errors import AttemptError, CallFailed, Fault
from stepwell.basics.strict_json.canonical import digest
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.definition.validation.file_inputs import MESSAGES
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
from stepwell.providers.fal.answers import (
    CLIENT_CANCELLED,
    TRANSIENT_ERRORS,
    FalApis,
    error_words,
    failure_of,
    result_of,
)
from stepwell.providers.fal.descriptor import FalSettings
from stepwell.providers.fal.parameters import KINDS, app_of, body_of, known_members, refusals, root_of
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.credentials import Credentials, Key, check_header
from stepwell.providers.shared.input_references import with_references
from stepwell.providers.shared.provider_api import AFTER, BEFORE, ApiAnswer, as_call_failed
from stepwell.providers.shared.setup import ProviderSetup, call_options

PUBLIC_URL, _API_URL = "https://queue.fal.run", "https://api.fal.ai"
_NAME = "FAL"
_POLL_STATUSES = frozenset({200, 202})
_CANCELLED_WORDS = frozenset({"CANCELLED", "CANCELED"})
# Statuses of a result or of a failed request. Other statuses are about the call.
_RESULT_STATUSES = frozenset({200, *range(400, 600)}) - {401, 403, 404, 408, 410, 425, 429}
# If the body is an error of fal's, these statuses refuse a cancel. Other statuses say nothing about the job.
_CANCEL_STATUSES = frozenset({200, 202, 400, 404, 422})
_NOT_FOUND = 404
_OK = 200
# fal may filter by the time of a request's end, and a request may wait for hours.
_LISTED_FOR = timedelta(days=1)
_PAGE, _MAX_PAGES = 100, 50
_SUFFIXES = {"status": "/status", "response": "", "cancel": "/cancel"}

RequestId = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,200}(?!\n)$")]


class _SubmitAnswer(Struct, frozen=True):
    """The answer to a submit, and the body of a callback."""

    request_id: RequestId
    status_url: Any = None
    response_url: Any = None
    cancel_url: Any = None


class _Status(Struct, frozen=True):
    """The status of a request, and the answer to a cancel."""

    status: str
    error: Any = None
    error_type: Any = None


class _ListedRequest(Struct, frozen=True):
    request_id: RequestId
    sent_at: datetime
    endpoint_id: str | None = None
    json_input: Any = None


class _Page(Struct, frozen=True):
    items: list[_ListedRequest]
    next_cursor: str | None = None


class FalProvider(RemoteProvider):
    """Implements `RemoteProvider` with fal's queue at *url* and its platform API at *api_url*.

    *client* is an `http_client.plain_client`. *timeout_s* is the deadline of each call. fal documents no time after
    which a request is listed, and lists ended requests only. So *listing_lag_s* should be longer than a job takes.
    """

    type = ProviderType.FAL
    needs_credential = True

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str = PUBLIC_URL,
        api_url: str = _API_URL,
        listing_lag_s: float = 60.0,
        timeout_s: float = 30.0,
    ) -> None:
        self._client, self._credentials, self._timeout_s = client, credentials, timeout_s
        self._url, self._api_url = url.rstrip("/"), api_url.rstrip("/")
        self._origin = origin_of(self._url)
        self.listing_lag_s = listing_lag_s

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        if task_type is TaskType.EXPERIMENTAL_FAL:
            return frozenset()
        kind = KINDS.get(task_type)
        return kind.capabilities if kind else None

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        kind = KINDS.get(task_type)
        return str(provider_config.get("fal_app_id") or (kind.app if kind else task_type))

    def members(self, task_type: TaskType, provider_config: Mapping[str, Any], /) -> StepMembers:
        return known_members(task_type, own_app=provider_config.get("fal_app_id") is not None)

    def url_reader(self, _task_type: TaskType, name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return None if name == MESSAGES else UrlReader.PROVIDER

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return refusals(step)

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        self._key(attempt)
        inputs = without_nulls(attempt.inputs)
        app = app_of(attempt.task_type, inputs, attempt.provider_config)
        if attempt.task_type is TaskType.EXPERIMENTAL_FAL:
            return Request(model=app, body=inputs.get("arguments", {}))
        if attempt.task_type not in KINDS:
            raise AttemptError(f"{_NAME} can't do {attempt.task_type}", retryable=False)
        resolved = await with_references(inputs, io)
        return Request(model=app, body=body_of(attempt.task_type, resolved, attempt.seed, attempt.provider_config))

    async def submit(self, attempt: Attempt, request: Request, _io: AttemptIO, /) -> Job | Finished:
        """Submit without fal's own retries, up to ten: the engine decides how often an attempt is repeated."""
        apis = self._apis(attempt)
        query = f"?{urlencode({'fal_webhook': attempt.callback_url})}" if attempt.callback_url else ""
        _, accepted = await apis.queue.submit(
            f"{self._url}/{request.model}{query}",
            json.encode(request.body),
            {**apis.headers, "x-fal-no-retry": "1"},
            _SubmitAnswer,
        )
        urls = {"status": accepted.status_url, "response": accepted.response_url, "cancel": accepted.cancel_url}
        return self._job(accepted.request_id, request.model, urls)

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        """Return the state of the request.

        A cancelled request is COMPLETED with the error type `client_cancelled`; fal documents no other word for it. If
        fal has removed it from the queue, it may be unknown instead: `CallFailed.forgotten`.
        """
        apis = self._job_apis(attempt)
        answer = await apis.queue.call("GET", self._address(attempt, job, "status"), apis.headers, ok=_POLL_STATUSES)
        state = apis.queue.readable(answer, _Status)
        word = sanitised(state.status, 40)
        if word in _CANCELLED_WORDS or state.error_type == CLIENT_CANCELLED:
            return JobState(status=JobStatus.CANCELLED, word=word)
        if word != "COMPLETED":
            return JobState(status=JobStatus.RUNNING, word=word)
        if state.error or state.error_type:
            return await self._failed(apis, attempt, job, state)
        return JobState(status=JobStatus.SUCCEEDED, word=word)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        """Fetch the result. The cost is None, because fal reports units and not their price."""
        apis = self._job_apis(attempt)
        answer = await self._response(apis, attempt, job)
        if answer.status != _OK:
            if (failure := failure_of(answer)) is not None:
                raise AttemptError(apis.masked(str(failure)), retryable=failure.retryable)
            words = apis.masked(error_words(answer.body) or "without an error message")
            raise CallFailed(f"{_NAME}: the result was answered {answer.status}: {words}")
        output = None if answer.body.strip() == b"null" else apis.queue.readable(answer, object)
        return Finished(await result_of(attempt.task_type, output, io))

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        """Cancel the request; a running one may continue nevertheless. https://fal.ai/docs/inference-api/queue/cancel"""
        apis = self._job_apis(attempt)
        url = self._address(attempt, job, "cancel")
        answer = await apis.queue.call("PUT", url, apis.headers, ok=_CANCEL_STATUSES)
        status, words = answer.read(_Status), error_words(answer.body)
        word = status.status if status else ""
        if word == "ALREADY_COMPLETED":
            return CancelAnswer.ENDED
        if word == "NOT_FOUND" or (answer.status == _NOT_FOUND and words):
            return CancelAnswer.UNKNOWN_JOB
        if answer.is_success and word:
            return CancelAnswer.ACCEPTED
        if words and not answer.is_success:
            return CancelAnswer.REFUSED
        raise CallFailed(f"{_NAME}: its answer to the cancel can't be read")

    def called_back(self, body: bytes) -> Job | None:
        accepted = read_json(body, _SubmitAnswer)
        return None if accepted is None else Job(id=accepted.request_id)

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job]:
        """Find the request by its input. The key needs access to the platform API.

        https://fal.ai/docs/platform-apis/v1/models/requests/by-endpoint. Raises `CallFailed` also if the list can't
        prove that there is no such request: it is too long, or it shows a request of that time without its input.
        """
        apis = self._job_apis(attempt)
        distances: dict[str, timedelta] = {}
        hides_inputs = False
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self._listed(apis, sent, cursor)
            for item in page.items:
                distance = _aware(item.sent_at) - sent.at
                if item.endpoint_id not in {None, sent.model} or not -BEFORE <= distance <= AFTER:
                    continue
                if item.json_input is None:
                    hides_inputs = True
                elif digest(item.json_input) == sent.digest:
                    distances[item.request_id] = abs(distance)
            cursor = page.next_cursor
            if not cursor:
                break
        else:
            raise CallFailed(f"{_NAME}: its list of requests is longer than {_PAGE * _MAX_PAGES}")
        if hides_inputs and not distances:
            raise CallFailed(f"{_NAME}: its list of requests doesn't show what was sent")
        return [self._job(request_id, sent.model) for request_id in sorted(distances, key=lambda each: distances[each])]

    async def _listed(self, apis: FalApis, sent: Sent, cursor: str | None) -> _Page:
        query = {
            "endpoint_id": sent.model,
            "start": _iso(sent.at - BEFORE),
            "end": _iso(sent.at + _LISTED_FOR),
            "limit": _PAGE,
            "expand": "payloads",
        } | ({"cursor": cursor} if cursor else {})
        url = f"{self._api_url}/v1/models/requests/by-endpoint?{urlencode(query)}"
        answer = await apis.platform.call("GET", url, apis.headers, ok=frozenset({_OK}))
        return apis.platform.readable(answer, _Page)

    async def _failed(self, apis: FalApis, attempt: Attempt, job: Job, state: _Status) -> JobState:
        """Without an error type, the model failed, and its answer says if a retry helps."""
        words = state.error if isinstance(state.error, str) else ""
        retryable = True
        if isinstance(state.error_type, str):
            words = f"{state.error_type}: {words}".removesuffix(": ")
            retryable = state.error_type in TRANSIENT_ERRORS
        elif failure := failure_of(await self._response(apis, attempt, job)):
            words, retryable = str(failure).removeprefix(f"{_NAME}: "), failure.retryable
        message = sanitised(apis.masked(f"{_NAME}: {words or 'the request failed'}"))
        return JobState(status=JobStatus.FAILED, word=sanitised(state.status, 40), error=message, retryable=retryable)

    async def _response(self, apis: FalApis, attempt: Attempt, job: Job) -> ApiAnswer:
        url = self._address(attempt, job, "response")
        return await apis.results.call("GET", url, apis.headers, ok=_RESULT_STATUSES)

    def _apis(self, attempt: Attempt) -> FalApis:
        return FalApis(self._client, self._key(attempt), self._timeout_s, attempt.answers)

    _job_apis = as_call_failed()(_apis)

    def _key(self, attempt: Attempt) -> Key:
        return check_header(self._credentials.require_key(attempt.provider_config, _NAME), _NAME)

    def _job(self, request_id: str, app: str, named: Mapping[str, Any] | None = None) -> Job:
        default_urls = self._default_urls(request_id, app)
        trusted = {name: url for name, url in (named or {}).items() if self._is_own(url)}
        return Job(id=request_id, urls=default_urls | trusted)

    def _default_urls(self, request_id: str, app: str) -> dict[str, str]:
        base = f"{self._url}/{root_of(app)}/requests/{quote(request_id, safe='')}"
        return {name: base + suffix for name, suffix in _SUFFIXES.items()}

    def _address(self, attempt: Attempt, job: Job, purpose: str) -> str:
        """Return the URL that fal named; if it named none, or the settings have changed since, build it."""
        url = job.urls.get(purpose)
        if url is not None and self._is_own(url):
            return url
        return self._default_urls(job.id, app_of(attempt.task_type, {}, attempt.provider_config))[purpose]

    def _is_own(self, url: object) -> bool:
        """Return whether the key may be sent to *url*."""
        return self._origin is not None and origin_of(url) == self._origin


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def build(setup: ProviderSetup[FalSettings]) -> FalProvider:
    url = setup.own.url or PUBLIC_URL
    api_url = setup.own.api_url or (_API_URL if url.rstrip("/") == PUBLIC_URL else url)
    return FalProvider(setup.client, setup.credentials, url=url, api_url=api_url, **call_options(setup, 60.0))
