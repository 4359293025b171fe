"""The provider for custom workers, which speak the protocol in `protocol`."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
from anyio import to_thread
from msgspec import json

from stepwell.basics.data_uris import decode_base64
from stepwell.basics.errors import AttemptError, CallFailed, Fault, OutcomeUnknown, paid_for
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.contract.tasks import Cost, Output
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.definition.provider_descriptors import SHARED_MEMBERS
from stepwell.definition.validation.file_inputs import MESSAGES
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.steps import KnownStep
from stepwell.outbound.http_client import GONE
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
from stepwell.providers.custom import protocol
from stepwell.providers.custom.descriptor import CustomSettings
from stepwell.providers.custom.signing import SignedApi
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.credentials import Credentials
from stepwell.providers.shared.input_references import with_references
from stepwell.providers.shared.provider_api import as_call_failed
from stepwell.providers.shared.refusals import collect_refusals, config_refusal, seed_of
from stepwell.providers.shared.result_storage import EXTENSIONS, retry_store, store_from_job
from stepwell.providers.shared.setup import ProviderSetup, call_options

View = TypeVar("View", protocol.JobView, protocol.JobViewWithResult)

CREDENTIAL = "custom"
_ACCEPTED, _CONFLICT = 202, 409
_OK = frozenset({200, 202})
_UNSUPPORTED = WITHOUT_PROVIDER | {TaskType.EXPERIMENTAL_FAL}
_EXTENSIONS = {**EXTENSIONS, "application/json": "json", "text/plain": "txt"}
_CHECKED_KINDS = frozenset({"image", "video", "audio"})

_STATUSES = {
    protocol.WorkerStatus.QUEUED: JobStatus.RUNNING,
    protocol.WorkerStatus.RUNNING: JobStatus.RUNNING,
    protocol.WorkerStatus.SUCCEEDED: JobStatus.SUCCEEDED,
    protocol.WorkerStatus.FAILED: JobStatus.FAILED,
    protocol.WorkerStatus.CANCELLED: JobStatus.CANCELLED,
}


class CustomProvider(RemoteProvider):
    """Implements `RemoteProvider` for the worker at *url*.

    *client* is an `http_client.plain_client`. *timeout_s* is the deadline of one call, so a worker that needs longer
    for a job should answer 202. *clock* returns seconds since 1970.
    """

    type = ProviderType.CUSTOM
    needs_credential = False

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        *,
        url: str,
        listing_lag_s: float = 0.0,
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._credentials, self._base = client, credentials, url.rstrip("/")
        self.listing_lag_s = listing_lag_s
        self._timeout_s, self._clock = timeout_s, clock

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return None if task_type in _UNSUPPORTED else frozenset({"seed"})

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        return str(provider_config.get("model") or task_type)

    def url_reader(self, _task_type: TaskType, name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return None if name == MESSAGES else UrlReader.OPERATOR

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        return collect_refusals(partial(_model, step.task_type, step.provider_config), partial(seed_of, step.inputs, 0))

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        """Build the job. Inputs named `*_url` and `*_urls` become references that a worker can read."""
        if attempt.task_type in _UNSUPPORTED:
            raise AttemptError(f"{protocol.NAME}: it can't do {attempt.task_type}", retryable=False)
        config = {name: value for name, value in attempt.provider_config.items() if name not in SHARED_MEMBERS}
        model = _model(attempt.task_type, config)
        inputs = await with_references(without_nulls(attempt.inputs), io)
        body = {
            "attempt_id": str(attempt.task_id),
            "task_type": str(attempt.task_type),
            "step_id": attempt.step_id,
            "workflow_id": str(attempt.workflow_id),
            "attempt": attempt.number,
            "inputs": inputs,
            "config": config,
            "seed": seed_of(inputs, attempt.seed),
        }
        if attempt.callback_url is not None:
            body["callback_url"] = attempt.callback_url
        return Request(model=model, body=body)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        api, key = self._api(attempt), {"Idempotency-Key": str(attempt.task_id)}
        try:
            answer, body = await api.submit(f"{self._base}/jobs", json.encode(request.body), key, protocol.SubmitAnswer)
        except AttemptError as error:
            worker_error = None if api.answer is None else api.answer.read(protocol.WorkerError)
            if worker_error is None or worker_error.retryable is None:
                raise
            again = worker_error.retryable
            away = error.provider_away
            raise AttemptError(
                str(error), retryable=again, retry_after_s=error.retry_after_s, provider_away=away
            ) from error
        if answer.status != _ACCEPTED and body.result is not None:
            store = partial(_store_result, body, body.result, io)
            try:
                with paid_for():
                    return await (retry_store(store) if body.id is None else store())
            except (CallFailed, AttemptError) as error:
                if isinstance(error, AttemptError) and not error.retryable:
                    raise
                if body.id is None:  # its files are paid for, and can be fetched from the job, which `reconcile` finds
                    raise OutcomeUnknown(str(error)) from error
        if body.id is None:
            raise OutcomeUnknown(f"{protocol.NAME}: its answer has neither a job's id nor a result")
        return self._job(body.id, body.status_url, body.cancel_url)

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        api = self._job_api(attempt)
        view = await _view(api, self._url(job, "status"), job, protocol.JobView)
        error, again = sanitised(api.masked(view.error or "")), view.retryable is not False
        return JobState(status=_STATUSES[view.status], word=view.status, error=error, retryable=again)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        view = await _view(self._job_api(attempt), self._url(job, "status"), job, protocol.JobViewWithResult)
        if view.status is not protocol.WorkerStatus.SUCCEEDED or view.result is None:
            raise CallFailed(f"{protocol.NAME}: the job had succeeded, but its answer ({view.status}) has no result")
        return await _store_result(view, view.result, io)

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        api = self._job_api(attempt)
        answer = await api.call("POST", self._url(job, "cancel"), {}, ok=_OK | GONE | {_CONFLICT})
        if answer.status in _OK:
            status = api.readable(answer, protocol.CancelView).status
            ended = status in {protocol.WorkerStatus.SUCCEEDED, protocol.WorkerStatus.FAILED}
            return CancelAnswer.ENDED if ended else CancelAnswer.ACCEPTED
        api.readable(answer, protocol.WorkerError)
        return CancelAnswer.REFUSED if answer.status == _CONFLICT else CancelAnswer.UNKNOWN_JOB

    def called_back(self, body: bytes) -> Job | None:
        view = read_json(body, protocol.JobView)
        return None if view is None else Job(id=view.id)

    async def reconcile(self, attempt: Attempt, _sent: Sent, /) -> Sequence[Job]:
        api, attempt_id = self._job_api(attempt), str(attempt.task_id)
        try:
            answer = await api.call("GET", f"{self._base}/jobs?{urlencode({'attempt_id': attempt_id})}", {}, ok=_OK)
        except CallFailed as error:  # a 404 means that the worker has no list, not that it has forgotten the job
            raise CallFailed(str(error), retry_after_s=error.retry_after_s) from error
        listed = api.readable(answer, protocol.JobList).jobs
        return [self._job(job.id, job.status_url, job.cancel_url) for job in listed if job.attempt_id == attempt_id]

    def _api(self, attempt: Attempt) -> SignedApi:
        """Raises `AttemptError` if the settings don't contain the credential that the step names."""
        key = self._credentials.key(attempt.provider_config, CREDENTIAL)
        answers, clock = attempt.answers, self._clock
        return SignedApi(self._client, answers=answers, key=key, clock=clock, timeout_s=self._timeout_s)

    _job_api = as_call_failed()(_api)

    def _job(self, job_id: str, status_url: str | None, cancel_url: str | None) -> Job:
        named = {"status": status_url, "cancel": cancel_url}
        urls = {purpose: own for purpose, url in named.items() if url and (own := self._own_url(url))}
        return Job(id=job_id, urls=urls)

    def _url(self, job: Job, purpose: str) -> str:
        """Return the URL that the worker named, if it still has the worker's origin; else the one of the protocol."""
        default = f"{self._base}/jobs/{quote(job.id, safe='')}" + ("/cancel" if purpose == "cancel" else "")
        return self._own_url(job.urls.get(purpose, default)) or default

    def _own_url(self, url: str) -> str | None:
        """Return *url*, made absolute. None if it has another origin: only the worker may get signed requests."""
        try:
            base, target = httpx.URL(self._base), httpx.URL(self._base + "/").join(url)
            same = (base.scheme, base.host, base.port) == (target.scheme, target.host, target.port)
        except (httpx.InvalidURL, ValueError):
            return None
        return str(target) if same and not target.userinfo else None


async def _view(api: SignedApi, url: str, job: Job, kind: type[View]) -> View:
    answer = await api.call("GET", url, {}, ok=_OK | GONE)
    if answer.status in GONE:
        words = protocol.error_words(answer.body)
        message = f"{protocol.NAME} answered {answer.status}" + (f": {words}" if words else "")
        raise CallFailed(sanitised(api.masked(message)), forgotten=words is not None)
    view = api.readable(answer, kind)
    if view.id != job.id:
        raise CallFailed(f"{protocol.NAME}: its answer is about another job")
    return view


def _model(task_type: TaskType, config: Mapping[str, Any]) -> str:
    model = config.get("model") or str(task_type)
    if not isinstance(model, str):
        raise config_refusal("model", why="must be a string")
    return model


async def _store_result(work: protocol.WorkResult, result: Mapping[str, Any], io: AttemptIO) -> Finished:
    """Store the files. Raises `CallFailed` for errors that a repeat may fix, else `AttemptError`."""
    fields = [file.field for file in work.files]
    if len(set(fields)) < len(fields):
        raise AttemptError(f"{protocol.NAME}: it has two files for one field", retryable=False)
    complete = dict(result)
    for number, file in enumerate(work.files, 1):
        name = ("result" if number == 1 else f"result-{number}") + "." + _EXTENSIONS.get(file.media_type, "bin")
        complete[file.field] = (await _store_file(file, name, io)).path
    cost = None if work.cost is None else Cost(work.cost.amount, work.cost.currency, "provider")
    return Finished(complete, cost)


async def _store_file(file: protocol.ResultFile, name: str, io: AttemptIO) -> Output:
    if file.data is not None:
        return await store_from_job(io, name, await to_thread.run_sync(_decode, file))
    assert file.url is not None
    kind = file.media_type.partition("/")[0]
    output = await io.download(file.url, name, (f"{kind}/",) if kind in _CHECKED_KINDS else ())
    if not _matches(file, output.size, output.sha256):
        raise CallFailed(f"{protocol.NAME}: the file for {file.field} has another size or SHA-256 than it says")
    return output


def _decode(file: protocol.ResultFile) -> bytes:
    try:
        data = decode_base64(file.data or "")
    except ValueError as error:
        raise AttemptError(
            f"{protocol.NAME}: the data of the file for {file.field} isn't base64", retryable=False
        ) from error
    if not data:
        raise AttemptError(f"{protocol.NAME}: the file for {file.field} is empty", retryable=False)
    if not _matches(file, len(data), hashlib.sha256(data).hexdigest()):
        why = f"{protocol.NAME}: the file for {file.field} has another size or SHA-256 than it says"
        raise AttemptError(why, retryable=False)
    return data


def _matches(file: protocol.ResultFile, size: int, sha256: str) -> bool:
    return file.size in {None, size} and (file.sha256 is None or file.sha256.lower() == sha256)


def build(setup: ProviderSetup[CustomSettings]) -> CustomProvider:
    assert setup.own.url is not None
    return CustomProvider(setup.client, setup.credentials, url=setup.own.url, **call_options(setup, 0.0))
