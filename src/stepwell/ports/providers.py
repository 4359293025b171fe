"""The ports of providers: `InProcessProvider` works in this process, `RemoteProvider` on somebody else's machine.

An attempt at a remote provider makes these calls. All of them except `submit` may be repeated at any time, by this
process or by a later one:

    prepare ──► submit ──┬──► poll … ──► fetch
                         │ answer lost
                         └──► reconcile ──┬──► poll …                        (a job was found)
                                          └──► the step's `on_unknown`       (no job was found)

Between these calls, the engine commits: before `submit`, what it is about to send; after `submit`, the job; before
`fetch`, that the job has ended. So the engine knows after a crash how far the attempt had come:
- Nothing was sent: it starts from the beginning.
- There is a job: it continues with `poll`.
- Something was sent, and no job is known: it calls `reconcile`. Nothing is submitted twice.

A failed call raises one of:
- `AttemptError`: the attempt has failed, and certainly no job of it is still running.
- `CallFailed`: this call got no usable answer. The engine repeats it while the attempt has time. `submit` never raises
  it.
- `OutcomeUnknown`: there may be a job or not. Only `submit` raises it.

The parameters of the methods are positional, so that an implementation can name one that it doesn't need `_model`.

An attempt hands an `AnswerMemory` to its provider, as `Attempt.answers`. An answer to a submit may be paid, and often
exists nowhere else. An answer that must wait for memory is stored first. So if the process ends before the answer is
used, the next process uses the stored answer and sends nothing again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from enum import StrEnum
from typing import IO, Any, Literal, Protocol, runtime_checkable
from uuid import UUID

from msgspec import Struct, field

from stepwell.basics.errors import AttemptError, Fault
from stepwell.basics.tenancy import FileScope
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Cost, Output
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.steps import KnownStep, StepMembers

ErrorText = Callable[[bytes], str | None]
"""Reads a response body: returns the error message if the body is an error as the provider documents it, else None."""


class AnswerHead(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]


class ReceivedAnswer(Struct, frozen=True):
    """An answer that an earlier process has received and stored."""

    head: AnswerHead
    body: bytes


class AnswerMemory(Protocol):
    """The memory of one attempt for answers. Each answer replaces the one before."""

    async def reserve(self, size: int) -> None:
        """Wait until an answer of *size* bytes may be read to memory."""

    async def reserve_for_submit(self, size: int, head: AnswerHead, chunks: AsyncIterator[bytes]) -> None:
        """Wait until the answer to a submit may be read. An answer that must wait is stored: its body is *chunks*.

        Raises `AttemptSuperseded` if the process stops while a stored answer waits.
        """

    def take_stored_answer(self) -> ReceivedAnswer | None:
        """Return the stored answer, and forget it. None if there is none. It replaces the answer to the next submit."""


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt at a step, as a provider sees it.

    The same `task_id` may come again after a crash. The same inputs with the same seed must then give the same request.
    """

    task_id: UUID
    workflow_id: UUID
    tenant: str | None
    step_id: str
    task_type: TaskType
    number: int
    # The config after defaults and mappings. It is empty when an abandoned job of an earlier process is polled.
    inputs: Mapping[str, Any]
    provider_config: Mapping[str, Any]
    seed: int
    callback_url: str | None = None  # where the provider may report the job's end; None if it can't reach this service
    on_unknown: Literal["fail", "resubmit"] = "fail"  # what the engine does if it can't find out whether there is a job
    execution_id: UUID | None = None  # of the workflow's execution; None if there is none any more
    timeout_s: float = 600.0  # the time that the attempt has
    answers: AnswerMemory | None = None  # the memory for answers of the provider's API; None: nobody counts them


class Request(Struct, frozen=True, kw_only=True):
    """The request that `submit` sends: a JSON object for a `model`.

    `model` is what limits and prices apply to (an app, an endpoint). The engine stores the digest of `body` before it
    is sent, so that `reconcile` can recognise the job.
    """

    model: str
    body: Mapping[str, Any]


class Job(Struct, frozen=True, kw_only=True):
    """Work at a provider that continues without this service.

    `urls` are the addresses that the provider named for the job, by purpose, and other texts that `fetch` needs. If
    `done` is true, the job has succeeded already and only its result is left to fetch.
    """

    id: str
    urls: Mapping[str, str] = field(default_factory=dict)
    done: bool = False


class Finished(Struct, frozen=True):
    """The result of a step (JSON values only), and its cost if the provider reports one."""

    result: dict[str, Any]
    cost: Cost | None = None


class JobStatus(StrEnum):
    """The status of a job: it is still running, or it has ended in one of these ways."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobState(Struct, frozen=True, kw_only=True):
    """The state of a job at one moment. `error` to `provider_fault` say why a job FAILED, as for `AttemptError`."""

    status: JobStatus
    word: str = ""  # the provider's own word for the state
    error: str = ""  # may be shown to users
    retryable: bool = True
    request_fault: bool = False  # the request was at fault, so the failure says nothing about the provider's health
    provider_fault: bool = True
    progress: float | None = None  # from 0 to 1; None if the provider doesn't report it
    again_s: float | None = (
        None  # seconds until the next poll, if `poll` itself waits for news; None: the service's pace
    )
    queued: bool = False  # nobody works on it yet, so the attempt's time doesn't run


class CancelAnswer(StrEnum):
    """A provider's answer to a cancel.

    ACCEPTED: it has cancelled the job, or will. REFUSED: it won't. ENDED: the job had ended before. UNKNOWN_JOB: it
    knows no such job.
    """

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


LIGHT_COST = 4.0  # megapixels
LIGHT_MEMORY = 192 * 1024 * 1024  # bytes


class WorkWeight(Struct, frozen=True):
    """The weight of LOCAL's work: `cost` in megapixels to compute, `memory` in bytes of its child process."""

    cost: float
    memory: int

    @property
    def light(self) -> bool:
        """True if the work takes about a second at most, in a child process of the usual size."""
        return self.cost <= LIGHT_COST and self.memory <= LIGHT_MEMORY

    def check_fits(self, max_memory: int, work: str = "the step") -> None:
        """Raise `AttemptError`, not retryable, if LOCAL's *max_memory* bytes can never be enough for *work*."""
        largest = max_memory - LIGHT_MEMORY
        if self.memory > largest:
            message = (
                f"{work} needs {-(-self.memory >> 20)} MiB of memory, and LOCAL has {largest >> 20} MiB for one "
                "step: use smaller images, or raise STEPWELL_LOCAL_MEMORY_MAX_BYTES"
            )
            raise AttemptError(message, retryable=False)


LIGHT = WorkWeight(LIGHT_COST, LIGHT_MEMORY)


class AttemptIO(Protocol):
    """File access for one attempt, and its turns in LOCAL's child processes.

    The files that it stores are deleted if the attempt doesn't succeed.
    """

    def child_process(self, weight: WorkWeight) -> AbstractAsyncContextManager[None]:
        """Wait for a turn in a child process that does work of this weight. The step's time-out doesn't run then.

        Raises `AttemptError`, not retryable, if there can never be enough memory.
        """

    def charge(self, cost: float) -> None:
        """Charge the cost of the attempt's work, in megapixels, to its tenant, as soon as it is known."""

    async def fetch(self, reference: str, field: str) -> Blob:
        """Return the bytes behind an artifact path of the workflow's tenant, an http(s) URL or a data URI.

        Waits until there is memory for them, and for their copies in a request. The wait isn't the attempt's time.

        Raises `AttemptError` with a message that names *field*. The error is not retryable if a retry can't help
        (unknown path, broken data URI, a 4xx, too big, wrong type, never enough memory), otherwise it is.
        """

    def input_file(self, reference: str, field: str) -> AbstractAsyncContextManager[str]:
        """Return a context with a path at which other processes of this machine can read what `fetch` returns.

        The file takes no memory here. Raises as `fetch`. An artifact can be deleted before the path is opened.
        """

    async def size_of(self, path: str) -> int | None:
        """Return the size of the artifact of the workflow's tenant at exactly *path*; None if there is none."""

    def record_file(self, output: Output, *, has_credentials: bool) -> None:
        """Record a file of the attempt that another process has stored. Raises `AttemptError` for a path of others.

        *has_credentials*: the file contains Content Credentials of the provider.
        """

    async def link(self, path: str, field: str) -> str | None:
        """Return a signed, expiring URL by which a provider can read an artifact of the workflow's tenant.

        Returns None if others can't reach this service. Raises as `fetch` for a path that isn't the tenant's.
        """

    async def store(self, name: str, data: bytes) -> Output:
        """Write *data* durably as `media/{task_id}/{name}`, replacing a file of that name.

        *name* is the provider's own choice, never taken from input.
        """

    async def store_file(self, name: str, file: IO[bytes]) -> Output:
        """Write the contents of *file* as `store` does, without taking memory for them.

        A `temporary_file` must not be changed afterwards.
        """

    def temporary_file(self) -> AbstractAsyncContextManager[IO[bytes]]:
        """Return a context with an empty temporary file, which `store_file` stores at the least cost.

        Other processes of this machine can open it, see `temporary_files`. Raises OSError if the disk is full.
        """

    async def wait_for_disk(self, why: str) -> None:
        """Return after a pause, because the disk was full when the output was to be written.

        Raises `AttemptError` with *why* if no time is left for another attempt to write it.
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
        """Stream the file at *url*, which a provider has named, durably into `media/{task_id}/{name}`.

        *headers*, for example a key, go to the origin of *url* only. It goes along up to *redirects* redirects; each is
        vetted like *url*. *error_text* reads error responses of that origin, if *url* belongs to the provider's API.
        *media_types* are prefixes like "image/". The response's type must have one of them, unless the response states
        no meaningful type.

        Raises `CallFailed` if a repeat may help. Raises `AttemptError` otherwise: the address isn't allowed, or the
        file is too big or of another type. `CallFailed.forgotten` means that the file is absent: a signed URL is not
        valid (any more), or the API says that there is no such file.
        """


class Provider(Protocol):
    """The members that all providers have.

    `needs_credential`: it can do nothing without a credential, which `provider_config.credential` or its own name
    selects.
    """

    type: ProviderType
    needs_credential: bool

    def capabilities(self, task_type: TaskType, /) -> frozenset[str] | None:
        """Return what the provider offers for *task_type*; None if it can't do such tasks at all."""

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any], /) -> str:
        """Return the model that limits apply to. The inputs aren't known yet."""


class InProcessProvider(Provider, Protocol):
    """A provider that works in this process and costs nothing.

    After a crash, its work is done again: nothing is committed before `run`.
    """

    async def run(self, attempt: Attempt, io: AttemptIO, /) -> dict[str, Any]:
        """Do the work and return the step's result (JSON values only).

        Raises `AttemptError` for a failure. A cancellation must end the work, or detach from it, promptly.
        """


class RemoteProvider(Provider, Protocol):
    """A provider that works elsewhere, and charges for it.

    `listing_lag_s`: for how many seconds after `submit` a job may be missing from what `reconcile` finds.
    """

    listing_lag_s: float

    def ends_jobs(self, model: str, /) -> bool:  # noqa: ARG002 - most jobs can be ended
        """Return whether a running job of *model* can be ended.

        If it can't, a time-out doesn't lead to another attempt unless `on_unknown` says so, because the first job
        would continue and be paid for.
        """
        return True

    async def prepare(self, attempt: Attempt, io: AttemptIO, /) -> Request:
        """Convert the inputs and their files into the provider's format. This costs nothing and starts nothing."""

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO, /) -> Job | Finished:
        """Send the request, once. Returns `Finished` if the provider answers with the result itself.

        Raises `AttemptError` only if the provider has certainly not accepted the work, and `OutcomeUnknown` if it may
        have: `providers.shared.submit_outcomes` tells the two apart for HTTP. The engine may set a deadline. If the
        attempt is cancelled meanwhile, the engine still waits for the answer, because a job can only be cancelled by
        someone who knows its id.
        """

    async def poll(self, attempt: Attempt, job: Job, /) -> JobState:
        """Return the present state of the job."""

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO, /) -> Finished:
        """Store the files of a job that has SUCCEEDED, and return its result. May be called again for the same job."""

    async def cancel(self, attempt: Attempt, job: Job, /) -> CancelAnswer:
        """Ask the provider to end the job. `poll` reports whether and how it has ended. May be called again."""

    def called_back(self, body: bytes, /) -> Job | None:  # noqa: ARG002 - most providers send none
        """Return the job that a callback is about; None if the body can't be read.

        The callback's URL is secret, so only the provider can have sent it. The state of the job comes from `poll`.
        """
        return None

    async def reconcile(self, attempt: Attempt, sent: Sent, /) -> Sequence[Job] | None:
        """Return the jobs that may have come from what was *sent*, the likeliest first.

        They match its digest, its model and (within the clocks' difference) its time. Other attempts may have sent the
        same request, so the engine ignores the jobs of attempts that it knows. Returns None if no job can ever be
        found, because the provider keeps no list or lists nothing that identifies a job.
        """


RunInProcess = Callable[[Attempt, AttemptIO], Awaitable[Finished]]
"""Does the work of an in-process provider."""


class Providers(Protocol):
    """The configured providers, by type."""

    def __getitem__(self, kind: ProviderType, /) -> Provider:
        """Raises KeyError if *kind* isn't configured."""

    def works_here(self, kind: ProviderType | None) -> bool:
        """Return whether a step works in this process: it has no provider (None), or an in-process one.

        Only this method decides it. False for a provider that isn't configured.
        """

    def in_process(self, kind: ProviderType) -> RunInProcess | None:
        """Return the function that does the work of *kind* in this process. None if *kind* is remote or isn't
        configured.
        """

    def in_process_types(self) -> frozenset[ProviderType]:
        """Return the types of the providers that work in this process."""

    def remote(self, kind: ProviderType) -> RemoteProvider:
        """Return the remote provider. Raises KeyError if *kind* isn't configured or works in this process."""

    def on_workers(self, kind: ProviderType | None) -> bool:
        """Return whether workers of this service do the work of *kind* (`RunsOnWorkers`)."""


@runtime_checkable
class RunsOnWorkers(Protocol):
    """A remote provider whose work other processes of this service do.

    The work is free, so lost work is submitted again by default. The workers write files into the artifact store.
    """

    runs_on_workers: Literal[True]


@runtime_checkable
class RefusesSteps(Protocol):
    """A provider that can tell at create that it will refuse a step."""

    def refusals(self, step: KnownStep, /) -> Iterable[Fault]:
        """Return the faults that make the provider refuse the step in any case.

        They are reported when the step is created, before anything is paid for, in the words that `prepare` and
        `submit` would use. A fault's place is in the step's definition, below "config" or "provider_config".
        "provider_config" means the fallback's too. Only called for task types that the provider can do. Does no I/O.
        """


@runtime_checkable
class ReadsFiles(Protocol):
    """A provider that declares how it reads files. A file must be an artifact's path, a data URI or a URL; anything
    else is refused at create. For a provider without this protocol, files aren't checked at create.
    """

    def url_reader(self, task_type: TaskType, name: str, provider_config: Mapping[str, Any], /) -> UrlReader | None:
        """Return who reads a URL in the input *name* (in "messages", the URL of an image); None if the input isn't a
        file.
        """


@runtime_checkable
class DeclaresMembers(Protocol):
    """A provider that declares which members of a step it uses, and which its results may have.

    At create, an output that can't exist is refused, and a member that isn't used leads to a warning. A provider
    without this protocol may use and give any member.
    """

    def members(self, task_type: TaskType, provider_config: Mapping[str, Any], /) -> StepMembers:
        """Return the members for a task type that the provider can do. Does no I/O."""


class FileMemory(Protocol):
    """Reserves memory for files, before their bytes are read."""

    async def take_file(self, size: int, /) -> bool:
        """Wait until there is memory for *size* more bytes. Return whether that took a wait.

        Raises `AttemptError` if there can never be enough.
        """

    async def take_decoded(self, size: int, /) -> bool:
        """Wait until there is memory for the bytes of a file that is in memory as text."""

    def for_request(self) -> AbstractContextManager[None]:
        """Return a context that releases at its end the memory that was reserved within it."""


class InputFetcher(Protocol):
    """Reads the files that inputs refer to."""

    async def fetch(self, reference: str, field: str, scope: FileScope, memory: FileMemory) -> Blob:
        """Return the bytes as `AttemptIO.fetch` does. An artifact must be in *scope*."""

    def file(
        self, reference: str, field: str, scope: FileScope, memory: FileMemory
    ) -> AbstractAsyncContextManager[str]:
        """Return a context as `AttemptIO.input_file` does. An artifact must be in *scope*."""
