"""The port of providers: what one must keep, whether it works in this process or on somebody else's GPU.

An attempt goes through these calls. All but `submit` may be made again at any time, by this process or a later one:

    prepare ──► submit ──┬──► poll … ──► fetch
                         │ answer lost
                         └──► reconcile ──┬──► poll …                        (a job was found)
                                          └──► the step's `on_unknown`       (none was)

What the engine commits in between: before `submit` what is about to be sent, after it the job, before `fetch` that the
job has ended. So after a crash it knows whether anything was sent (else it begins anew), whether it has a job (then it
goes on with `poll`), or neither, and then it asks `reconcile`: nothing is submitted twice.

How a call says that it went wrong:
- `AttemptError`: the attempt has failed, and surely there is no job of it that goes on.
- `CallFailed`: this call got no answer to go by. The engine makes it again, as long as the attempt has time. Not from
  `submit`.
- `OutcomeUnknown`, from `submit` alone: there may be a job, or not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import UUID

from msgspec import Struct, field

from stepwell.domain.definition import KnownStep
from stepwell.domain.errors import Fault
from stepwell.domain.model import Cost, Output, ProviderType, Sent, TaskType

ErrorText = Callable[[bytes], str | None]  # a body's words if it is an error as the provider documents it


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt at a step. `inputs` is config with defaults and mapped values applied; it is empty where a job of an
    earlier process is followed up. `callback_url`: where the provider may tell of the job's end; null if nowhere.
    `on_unknown`: what is to be done where nobody knows whether there is a job; the engine's business.

    The same `task_id` may come again after a crash: the same inputs with the same seed must give the same request.
    """

    task_id: UUID
    workflow_id: UUID
    tenant: str | None
    step_id: str
    task_type: TaskType
    number: int
    inputs: Mapping[str, Any]
    provider_config: Mapping[str, Any]
    seed: int
    callback_url: str | None = None
    on_unknown: Literal["fail", "resubmit"] = "fail"


class Request(Struct, frozen=True, kw_only=True):
    """What `submit` sends: a JSON object to a `model`, which is whatever limits and prices go by (an app, an endpoint).

    The digest of `body` is stored before it is sent, for `reconcile` to know the job by.
    """

    model: str
    body: Mapping[str, Any]


class Job(Struct, frozen=True, kw_only=True):
    """Work that goes on at the provider without us; or, *done*, has ended well, and only its result is to be fetched.
    `urls`: the addresses that it named for it, by purpose.
    """

    id: str
    urls: Mapping[str, str] = field(default_factory=dict)
    done: bool = False


class Finished(Struct, frozen=True):
    """The result of a step (JSON values only), and what it cost where the provider says so."""

    result: dict[str, Any]
    cost: Cost | None = None


class JobStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobState(Struct, frozen=True, kw_only=True):
    """How a job stands. `word` is the provider's own for it; `error` and `retryable` say why it FAILED, in words that
    may be shown to users; `request_fault`: by what was asked for, which says nothing of how the provider does.
    `progress` is the share that is done, 0 to 1, where the provider tells. `again_s`: how soon to look again, for a
    provider whose `poll` waits for news itself; null: at the service's pace.
    """

    status: JobStatus
    word: str = ""
    error: str = ""
    retryable: bool = True
    request_fault: bool = False
    progress: float | None = None
    again_s: float | None = None


class CancelAnswer(StrEnum):
    """What a provider says to a cancel: it will, or has; it won't; the job had ended; it knows no such job."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    ENDED = "ended"
    UNKNOWN_JOB = "unknown_job"


class UrlReader(StrEnum):
    """The party that downloads the http(s) URL of an input: this service, the provider in its own network, or a server
    of the operator, which may read from private networks.
    """

    STEPWELL = "stepwell"
    PROVIDER = "provider"
    OPERATOR = "operator"


class Blob(Struct, frozen=True):
    """Fetched input bytes. `media_type` is lower case, without parameters, "" if unknown."""

    data: bytes
    media_type: str


class AttemptIO(Protocol):
    """What a provider may do with files in an attempt. Whatever it stored is deleted if the attempt doesn't succeed."""

    async def fetch(self, reference: str, field: str) -> Blob:
        """The bytes behind an artifact path of the workflow's tenant, an http(s) URL or a data URI.

        Raises `AttemptError`, its message naming *field*: not retryable for what can't get better (unknown path,
        broken data URI, a 4xx, too big, wrong type), retryable for the rest.
        """

    async def link(self, path: str, field: str) -> str | None:
        """A signed, expiring address of an artifact of the workflow's tenant, for a provider to read from; None where
        the service has no address that others can reach. Raises as `fetch` for a path that isn't the tenant's.
        """

    async def store(self, name: str, data: bytes) -> Output:
        """Write *data* durably as `media/{task_id}/{name}`; *name* is the provider's own, never from input.

        Writing the same name again replaces the file.
        """

    async def download(
        self,
        url: str,
        name: str,
        media_types: Sequence[str] = (),
        *,
        headers: Mapping[str, str] | None = None,
        error_text: ErrorText | None = None,
        redirects: int = 0,
    ) -> Output:
        """Stream what is at *url*, which a provider has named, into `media/{task_id}/{name}`, durably.

        *headers* (a key, say) go to the origin of *url* alone. So many *redirects* are followed, each vetted as *url*.
        *error_text* reads the errors of that origin, for an address of the API itself.

        *media_types*: prefixes like "image/", one of which the answer's type must have if it has one that says
        anything. Raises `CallFailed` for what a repeat may mend, `AttemptError` for the rest: the address isn't
        allowed, the file is too big, or of another type. `CallFailed.forgotten`: a signed address says that it is of no
        use (any more), or the API, in its own words, that there is no such file.
        """


class Provider(Protocol):
    """Does the work of one provider type.

    `in_process`: `submit` does the work itself, in this process, and costs nothing. After a crash it is then done again
    without a question, nothing is committed before it, and no other call is ever made.
    `needs_credential`: it does nothing without one, by `provider_config.credential` or by its own name.
    `listing_lag_s`: how long after it was sent a job may be missing from what `reconcile` finds, in seconds.
    """

    type: ProviderType
    in_process: bool
    needs_credential: bool
    listing_lag_s: float

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        """What it offers for *task_type*; None if it can't do it at all."""

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        """What would do it, as far as that is known before the inputs are: what limits go by."""

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        """What it would refuse whatever else happens, in the words of `prepare` and `submit`: it is told where the step
        is created, before anything is paid for. The places are in the step's definition, below "config" or, for the
        fallback too, "provider_config". Asks nobody, and is only asked about tasks that it can do.
        """

    def ends_jobs(self, model: str) -> bool:
        """Whether a job of *model* can be ended once it has been taken. If not, a time-out is no reason for another
        attempt, as the first would go on and be paid for, unless `on_unknown` says so.
        """

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        """Bring the inputs into the form that the provider wants, files included. Costs nothing, starts nothing."""

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        """Send it, once. A provider that answers with the result itself returns that.

        Raises `AttemptError` only where the provider surely has not taken it, and `OutcomeUnknown` where it may have:
        see `providers.outcomes` for which is which over HTTP. It may be given a deadline by the engine; an attempt that
        is cancelled meanwhile lets it end, for an answer that nobody hears is a job that nobody can cancel.
        """

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        """How the job stands now."""

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        """The result of a job that has SUCCEEDED, its files stored. May be called again for the same job."""

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        """Ask for the job's end. Whether it has ended, and how, `poll` tells. May be called again."""

    def called_back(self, body: bytes) -> Job | None:
        """The job that a callback is about; null if it can't be read. Only the provider could send it, for the address
        is secret; how the job stands `poll` says.
        """

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job] | None:
        """The jobs that may have come of what was *sent*, the likeliest first: with its digest, its model and, give or
        take the clocks, its time. Others may have sent the same: the engine leaves out those that it knows. Null where
        nothing can ever be found: the provider keeps no list, or shows nothing to know a job by.
        """


@runtime_checkable
class ReadsFiles(Protocol):
    """A provider that declares how it reads files. A file must be an artifact's path, a data URI or a URL; anything
    else is refused at create. Of a provider without this protocol, files aren't checked at create.
    """

    def url_reader(self, task_type: TaskType, name: str, provider_config: Mapping[str, Any]) -> UrlReader | None:
        """Return who reads the URL in the input *name* (of "messages": in an image); None if no file is read."""


class InputFetcher(Protocol):
    async def fetch(self, reference: str, field: str, tenant: str | None) -> Blob:
        """As `AttemptIO.fetch`, for a tenant."""
