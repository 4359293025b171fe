"""The protocol of CUSTOM: workers of your own. `deploy/custom-worker/openapi.json` says it in full, and `worker.py`
beside it is an example to copy. All paths are under STEPWELL_CUSTOM_URL.

| call                     | answers                                                                               |
|--------------------------|---------------------------------------------------------------------------------------|
| `POST /jobs`             | 202, a job: `id`; `status_url` and `cancel_url` where they aren't those of this table |
|                          | 200, the work done: `result`, `files`, `cost`                                         |
| `GET /jobs/{id}`         | 200: `id`, `status`, `error`, `retryable`; once succeeded all that a 200 above has    |
| `POST /jobs/{id}/cancel` | 200: `status`; 404: there is no such job; 409: it won't                               |
| `GET /jobs?attempt_id=…` | 200: `jobs`, each with `id` and `attempt_id`                                          |

What keeps money safe, so a worker must keep it:
- `Idempotency-Key` is the attempt's id: for the same key there is one job, whatever the body. Nothing is paid twice.
- A job is listed from the moment it is taken until a day after its end, even one that is done within its POST: there a
  lost answer is looked for.
- A POST that is answered `{"error": …}` and 4xx or 5xx has started nothing.
- 404 and `{"error": …}` to a question about a job: it is gone for good.

A callback `{"id", "attempt_id", "status"}` to `callback_url` is a hint to look again; nothing is believed of it.
Where the settings hold a credential for the step (by default one named "custom") both sides sign: `custom_signing`.
An answer may have 8 MiB: bigger files have a `url`, which is fetched without a signature.
"""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

from stepwell.outbound.http_client import MAX_URL
from stepwell.providers.shared.bounded_json import read_json

JobId = Annotated[str, Meta(max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:~-]*(?!\n)$")]
Address = Annotated[str, Meta(min_length=1, max_length=MAX_URL)]


class WorkerStatus(StrEnum):
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


class Done(Struct, frozen=True, kw_only=True):
    """What any answer about work that is done has; *result* is null where it isn't."""

    result: dict[str, Any] | None = None
    files: Annotated[list[ResultFile], Meta(max_length=100)] = []
    cost: Price | None = None


class Taken(Done, frozen=True, kw_only=True):
    """The answer to a POST: a job, or the work done. The latter may name a job too: then its files can be had again."""

    id: JobId | None = None
    status_url: Address | None = None
    cancel_url: Address | None = None


class JobView(Struct, frozen=True, kw_only=True):
    """How a job stands. *error* and *retryable* (true if absent) say why it failed."""

    id: JobId
    status: WorkerStatus
    error: str | None = None
    retryable: bool | None = None


class DoneJobView(Done, frozen=True, kw_only=True):
    id: JobId
    status: WorkerStatus


class CancelView(Struct, frozen=True, kw_only=True):
    status: WorkerStatus


class ListedJob(Struct, frozen=True, kw_only=True):
    """*attempt_id* is compared: a worker that doesn't filter must not give one attempt another's job."""

    id: JobId
    attempt_id: str
    status_url: Address | None = None
    cancel_url: Address | None = None


class JobList(Struct, frozen=True, kw_only=True):
    jobs: list[ListedJob]


class WorkerError(Struct, frozen=True, kw_only=True):
    """*retryable* stands over what the status says."""

    error: Annotated[str, Meta(min_length=1)]
    retryable: bool | None = None


def error_words(body: bytes) -> str | None:
    """The words of an error in the form above; null for anything else, such as a gateway's page."""
    answer = read_json(body, WorkerError)
    return None if answer is None else answer.error
