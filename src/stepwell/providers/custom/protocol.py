"""The HTTP protocol of custom workers, and the structs of its answers.

`stepwell openapi --custom-worker` prints the full description, and `stepwell example custom-worker` an example. All
paths are below STEPWELL_CUSTOM_URL.

| call                     | answers                                                                               |
|--------------------------|---------------------------------------------------------------------------------------|
| `POST /jobs`             | 202, a job: `id`; `status_url` and `cancel_url` if they differ from this table        |
|                          | 200, the work is done: `result`, `files`, `cost`                                      |
| `GET /jobs/{id}`         | 200: `id`, `status`, `error`, `retryable`; after success also the members above       |
| `POST /jobs/{id}/cancel` | 200: `status`; 404: there is no such job; 409: the worker refuses                     |
| `GET /jobs?attempt_id=…` | 200: `jobs`, each with `id` and `attempt_id`                                          |

A worker must keep these rules, so that nothing is paid twice:
- `Idempotency-Key` is the attempt's id. There is one job per key, whatever the body.
- A job is listed from its acceptance until a day after its end, even if it was done within its POST. Stepwell
  searches the list for a job whose answer was lost.
- A POST that is answered with `{"error": …}` and 4xx or 5xx has started nothing.
- A 404 with `{"error": …}` to a call about a job means that the job doesn't exist any more.

A callback `{"id", "attempt_id", "status"}` to `callback_url` only makes Stepwell poll again; it isn't trusted. If the
settings have a credential for the step (by default the one named "custom"), both sides sign: see `signing`. An answer
may have up to 8 MiB. Larger files have a `url`, which is fetched without a signature.
"""

from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any

from msgspec import Meta, Struct

from stepwell.outbound.http_client import MAX_URL
from stepwell.providers.shared.bounded_json import read_json

JobId = Annotated[str, Meta(max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:~-]*(?!\n)$")]
Address = Annotated[str, Meta(min_length=1, max_length=MAX_URL)]

NAME = "custom worker"  # in messages


class WorkerStatus(StrEnum):
    """The status of a job, as the worker reports it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ResultFile(Struct, frozen=True, kw_only=True):
    """A file for `result.{field}`, at *url* or in *data* (base64). *size* in bytes and *sha256* in hex are checked."""

    field: Annotated[str, Meta(max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(?!\n)$")]
    media_type: Annotated[str, Meta(max_length=100)]
    url: Address | None = None
    data: str | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{64}(?!\n)$")] | None = None
    size: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise ValueError("a file has either a url or data")


class Price(Struct, frozen=True, kw_only=True):
    amount: Annotated[float, Meta(ge=0)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3,8}(?!\n)$")]


class WorkResult(Struct, frozen=True, kw_only=True):
    """The members of an answer about finished work. `result` is None if the work isn't finished."""

    result: dict[str, Any] | None = None
    files: Annotated[list[ResultFile], Meta(max_length=100)] = []
    cost: Price | None = None


class SubmitAnswer(WorkResult, frozen=True, kw_only=True):
    """The answer to a POST: a job, or finished work. Finished work with an `id` can be fetched again as a job."""

    id: JobId | None = None
    status_url: Address | None = None
    cancel_url: Address | None = None


class JobView(Struct, frozen=True, kw_only=True):
    """The state of a job. `error` and `retryable` (true if absent) say why it failed."""

    id: JobId
    status: WorkerStatus
    error: str | None = None
    retryable: bool | None = None


class JobViewWithResult(WorkResult, frozen=True, kw_only=True):
    id: JobId
    status: WorkerStatus


class CancelView(Struct, frozen=True, kw_only=True):
    status: WorkerStatus


class ListedJob(Struct, frozen=True, kw_only=True):
    """A job in the list. `attempt_id` is compared, because a worker might not filter by it."""

    id: JobId
    attempt_id: str
    status_url: Address | None = None
    cancel_url: Address | None = None


class JobList(Struct, frozen=True, kw_only=True):
    jobs: list[ListedJob]


class WorkerError(Struct, frozen=True, kw_only=True):
    """An error of the worker. `retryable` overrides what the HTTP status means."""

    error: Annotated[str, Meta(min_length=1)]
    retryable: bool | None = None


def read_openapi() -> str:
    return (files("stepwell.providers.custom") / "openapi.json").read_text(encoding="utf-8")


def error_words(body: bytes) -> str | None:
    """Return the message of a `WorkerError`; None for anything else, such as a gateway's page."""
    answer = read_json(body, WorkerError)
    return None if answer is None else answer.error
