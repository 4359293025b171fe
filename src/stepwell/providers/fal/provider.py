"""fal's queue: https://fal.ai/docs/documentation/model-apis/inference/queue; each operation by itself:
https://fal.ai/docs/api-reference/inference-api.

fal has no idempotency key. It keeps a result for an hour at most, a big one for minutes: it should be fetched at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import httpx
from msgspec import Meta, Struct, json

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.domain.errors import AttemptError, CallFailed, Fault
from stepwell.domain.mapping.task_configs import without_nulls
from stepwell.domain.model import Sent
from stepwell.domain.steps import KnownStep
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
from stepwell.providers.fal.answers import (
    CLIENT_CANCELLED,
    Keyed,
    error_words,
    failure_of,
    is_passing,
    result_of,
)
from stepwell.providers.fal.parameters import KINDS, app_of, body_of, refusals, root_of
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.credentials import Credentials, Key
from stepwell.providers.shared.input_references import with_references
from stepwell.providers.shared.provider_api import ApiAnswer, digest

_NAME = "FAL"
_POLLED = frozenset({200, 202})
_CANCELLED_WORDS = frozenset({"CANCELLED", "CANCELED"})
# Statuses of a result, a failed request's included; others are about the call.
_ANSWERED = frozenset({200, *range(400, 600)}) - {401, 403, 404, 408, 410, 425, 429}
# With a body in fal's words these say no; any other status says nothing of the job.
_CANCEL_ANSWERED = frozenset({200, 202, 400, 404, 422})
_NOT_FOUND = 404
_OK = 200
_BEFORE, _AFTER = timedelta(seconds=60), timedelta(minutes=15)
# fal may go by the end of a request where it filters by time, and a request may wait for hours.
_LISTED_FOR = timedelta(days=1)
_PAGE, _MAX_PAGES = 100, 50
_SUFFIXES = {"status": "/status", "response": "", "cancel": "/cancel"}


RequestId = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,200}(?!\n)$")]


class _Accepted(Struct, frozen=True):
    request_id: RequestId
    status_url: Any = None
    response_url: Any = None
    cancel_url: Any = None


class _Status(Struct, frozen=True):
    status: str
    error: Any = None
    error_type: Any = None


class _CancelStatus(Struct, frozen=True):
    status: str


class _Listed(Struct, frozen=True):
    request_id: RequestId
    sent_at: datetime
    endpoint_id: str | None = None
    json_input: Any = None


class _Page(Struct, frozen=True):
    items: list[_Listed]
    next_cursor: str | None = None


class FalProvider:
    """Implements `ports.Provider` with fal's queue at *url* and its platform API at *api_url*.

    *client* is a `web.plain_client`; *timeout_s* bounds each call. fal documents no time within which a request is
    listed, and shows an end for all that it lists: *listing_lag_s*, in seconds, should be longer than a job takes.
    """

    type = ProviderType.FAL
    needs_credential = True

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str = "https://queue.fal.run",
        api_url: str = "https://api.fal.ai",
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

    def url_reader(self, _task_type: TaskType, name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return None if name == MESSAGES else UrlReader.PROVIDER

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return refusals(step)

    def ends_jobs(self, _model: str, /) -> bool:
        return True

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
        """Unless it is told not to, fal repeats what fails on its side up to ten times: but an attempt is one run, and
        how many there are is the engine's to say.
        """
        keyed = self._keyed(attempt)
        query = f"?{urlencode({'fal_webhook': attempt.callback_url})}" if attempt.callback_url else ""
        _, accepted = await keyed.queue.submit(
            f"{self._url}/{request.model}{query}",
            json.encode(request.body),
            {**keyed.headers, "x-fal-no-retry": "1"},
            _Accepted,
        )
        named = {"status": accepted.status_url, "response": accepted.response_url, "cancel": accepted.cancel_url}
        return self._job(accepted.request_id, request.model, named)

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        """A request that was cancelled is COMPLETED with the error type `client_cancelled`. fal documents no other word
        for it; one that it has removed from its queue for good may be unknown instead: `CallFailed.forgotten`.
        """
        keyed = self._follow(attempt)
        answer = await keyed.queue.call("GET", self._address(attempt, job, "status"), keyed.headers, ok=_POLLED)
        state = keyed.queue.readable(answer, _Status)
        word = sanitised(state.status, 40)
        if word in _CANCELLED_WORDS or state.error_type == CLIENT_CANCELLED:
            return JobState(status=JobStatus.CANCELLED, word=word)
        if word != "COMPLETED":
            return JobState(status=JobStatus.RUNNING, word=word)
        if state.error or state.error_type:
            return await self._failed(keyed, attempt, job, state)
        return JobState(status=JobStatus.SUCCEEDED, word=word)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        """The cost is null: fal counts units, and prices them elsewhere."""
        keyed = self._follow(attempt)
        answer = await self._response(keyed, attempt, job)
        if answer.status != _OK:
            failure = failure_of(answer)
            if failure is None:
                words = keyed.clean(error_words(answer.body) or "without words of its own")
                raise CallFailed(f"{_NAME}: the result was answered {answer.status}: {words}")
            raise AttemptError(keyed.clean(str(failure)), retryable=failure.retryable)
        output = None if answer.body.strip() == b"null" else keyed.queue.readable(answer, object)
        return Finished(await result_of(attempt.task_type, output, io))

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        """https://fal.ai/docs/inference-api/queue/cancel; a request that runs may go on in spite of it."""
        keyed = self._follow(attempt)
        url = self._address(attempt, job, "cancel")
        answer = await keyed.queue.call("PUT", url, keyed.headers, ok=_CANCEL_ANSWERED)
        told = answer.read(_CancelStatus)
        word = told.status if told else ""
        words = error_words(answer.body)
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
        told = read_json(body, _Accepted)
        return None if told is None else Job(id=told.request_id)

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job]:
        """https://fal.ai/docs/platform-apis/v1/models/requests/by-endpoint; the key needs access to that API.

        Raises `CallFailed` too where the list doesn't surely say that there is none: it is too long to be read whole,
        or a request of that time is shown without what was sent.
        """
        keyed = self._follow(attempt)
        found: dict[str, timedelta] = {}
        unread = False
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self._listed(keyed, sent, cursor)
            for item in page.items:
                distance = _moment(item.sent_at) - sent.at
                if item.endpoint_id not in {None, sent.model} or not -_BEFORE <= distance <= _AFTER:
                    continue
                if item.json_input is None:
                    unread = True
                elif digest(item.json_input) == sent.digest:
                    found[item.request_id] = abs(distance)
            cursor = page.next_cursor
            if not cursor:
                break
        else:
            raise CallFailed(f"{_NAME}: its list of requests is longer than {_PAGE * _MAX_PAGES}")
        if unread and not found:
            raise CallFailed(f"{_NAME}: its list of requests doesn't show what was sent")
        return [self._job(request_id, sent.model) for request_id in sorted(found, key=lambda each: found[each])]

    async def _listed(self, keyed: Keyed, sent: Sent, cursor: str | None) -> _Page:
        query = {
            "endpoint_id": sent.model,
            "start": _iso(sent.at - _BEFORE),
            "end": _iso(sent.at + _LISTED_FOR),
            "limit": _PAGE,
            "expand": "payloads",
        } | ({"cursor": cursor} if cursor else {})
        url = f"{self._api_url}/v1/models/requests/by-endpoint?{urlencode(query)}"
        answer = await keyed.platform.call("GET", url, keyed.headers, ok=frozenset({_OK}))
        return keyed.platform.readable(answer, _Page)

    async def _failed(self, keyed: Keyed, attempt: Attempt, job: Job, state: _Status) -> JobState:
        """Without an error type it is the model that failed, and its answer tells whether a retry may help."""
        words = state.error if isinstance(state.error, str) else ""
        retryable = True
        if isinstance(state.error_type, str):
            words, retryable = f"{state.error_type}: {words}".removesuffix(": "), is_passing(state.error_type)
        elif failure := failure_of(await self._response(keyed, attempt, job)):
            words, retryable = str(failure).removeprefix(f"{_NAME}: "), failure.retryable
        told = sanitised(keyed.clean(f"{_NAME}: {words or 'the request failed'}"))
        return JobState(status=JobStatus.FAILED, word=sanitised(state.status, 40), error=told, retryable=retryable)

    async def _response(self, keyed: Keyed, attempt: Attempt, job: Job) -> ApiAnswer:
        url = self._address(attempt, job, "response")
        return await keyed.results.call("GET", url, keyed.headers, ok=_ANSWERED)

    def _keyed(self, attempt: Attempt) -> Keyed:
        return Keyed(self._client, self._key(attempt), self._timeout_s)

    def _follow(self, attempt: Attempt) -> Keyed:
        """For calls about a job, which goes on whether or not there is a key for it now."""
        try:
            return self._keyed(attempt)
        except AttemptError as error:
            raise CallFailed(str(error)) from error

    def _key(self, attempt: Attempt) -> Key:
        key = self._credentials.require_key(attempt.provider_config, _NAME)
        if not (key.secret.isascii() and key.secret.isprintable()):  # the client's own error would show it
            raise AttemptError(f"{_NAME}: the credential can't be sent in a header: {key.setting}", retryable=False)
        return key

    def _job(self, request_id: str, app: str, named: Mapping[str, Any] | None = None) -> Job:
        built = self._built(request_id, app)
        trusted = {name: url for name, url in (named or {}).items() if self._is_own(url)}
        return Job(id=request_id, urls=built | trusted)

    def _built(self, request_id: str, app: str) -> dict[str, str]:
        base = f"{self._url}/{root_of(app)}/requests/{quote(request_id, safe='')}"
        return {name: base + suffix for name, suffix in _SUFFIXES.items()}

    def _address(self, attempt: Attempt, job: Job, purpose: str) -> str:
        """As fal has named it; built where it hasn't, or where the settings have moved elsewhere since."""
        url = job.urls.get(purpose)
        if url is not None and self._is_own(url):
            return url
        return self._built(job.id, app_of(attempt.task_type, {}, attempt.provider_config))[purpose]

    def _is_own(self, url: object) -> bool:
        """Whether the key may go there."""
        return self._origin is not None and origin_of(url) == self._origin


def _moment(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
