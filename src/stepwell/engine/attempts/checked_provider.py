"""Calls a remote provider, and checks what its code returns.

What must hold:
- What is stored of a job can be stored, and read again. Anything else fails the call, in words that name the provider,
  the method and the member.
- Finished work is kept, even if its cost can't be used.
- No exception leaves that would end more than the attempt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeVar

import structlog
from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import asdict, replace

from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, paid_for
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    CancelAnswer,
    Finished,
    Job,
    JobState,
    JobStatus,
    Providers,
    RemoteProvider,
    Request,
)
from stepwell.runtime.containment import contained

log = structlog.get_logger()

T = TypeVar("T")

_TEXT = r"\A[^\x00\ud800-\udfff]*\Z"  # what PostgreSQL can store
_Text = Annotated[str, Meta(pattern=_TEXT)]


class _Request(Struct):
    model: _Text
    body: dict[str, Any]


class _Job(Struct):
    id: Annotated[str, Meta(min_length=1, max_length=500, pattern=_TEXT)]
    urls: dict[str, _Text]
    done: bool


class _JobState(Struct):
    status: JobStatus
    word: str
    error: str
    progress: float | None
    again_s: Annotated[float, Meta(ge=0)] | None


class _Cost(Struct):
    amount: Annotated[float, Meta(ge=0, le=1e15)]
    currency: Annotated[str, Meta(min_length=1, max_length=10, pattern=_TEXT)]
    source: Literal["provider", "settings"]


class CheckedProvider:
    """The calls of an attempt at a provider. An error of its code is what the engine expects of that call."""

    def __init__(self, provider: RemoteProvider) -> None:
        self._provider = provider
        self.type = provider.type

    @property
    def listing_lag_s(self) -> float:
        return self._provider.listing_lag_s

    def ends_jobs(self, model: str) -> bool:
        """Return whether a running job of *model* can be ended. False if the provider's code fails."""
        try:
            with contained():
                return self._provider.ends_jobs(model)
        except Exception:
            log.exception("provider.broken", action="ends_jobs", provider=self.type)
            return False

    def called_back(self, body: bytes) -> Job | None:
        """Return the job that a callback is about. None if the provider's code fails: the job may still be listed."""
        try:
            with contained():
                job = self._provider.called_back(body)
            return None if job is None else self._checked(job, Job, _Job)
        except Exception:
            log.exception("provider.broken", action="called_back", provider=self.type)
            return None

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:
        with contained():
            request = await self._provider.prepare(attempt, io)
        with self._invalid("prepare", _unusable):
            return self._checked(request, Request, _Request)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        with contained():
            answer = await self._provider.submit(attempt, request, io)
        if isinstance(answer, Finished):
            return self._finished("submit", answer)
        with self._invalid("submit", OutcomeUnknown):
            return self._checked(answer, Job, _Job)

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        with contained():
            state = await self._provider.poll(attempt, job)
        with self._invalid("poll", CallFailed):
            return self._checked(state, JobState, _JobState)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        with contained():
            finished = await self._provider.fetch(attempt, job, io)
        return self._finished("fetch", finished)

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        with contained():
            answer = await self._provider.cancel(attempt, job)
        with self._invalid("cancel", CallFailed):
            return convert(answer, CancelAnswer)

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job] | None:
        """Return the jobs that may have come from what was *sent*. Raises `CallFailed`, also if the code fails."""
        try:
            with contained():
                listed = await self._provider.reconcile(attempt, sent)
        except (AttemptError, CallFailed):
            raise
        except Exception as error:
            log.exception("provider.broken", action="reconcile", provider=self.type)
            raise CallFailed(f"{self.type}: internal error: {type(error).__name__}") from error
        if listed is None:
            return None
        with self._invalid("reconcile", CallFailed):
            return [self._checked(job, Job, _Job) for job in convert(listed, list[Any])]

    def _finished(self, method: str, finished: Finished) -> Finished:
        with paid_for(), self._invalid(method, _unusable):
            if not isinstance(finished, Finished):
                raise ValidationError(f"Expected `Finished`, got `{type(finished).__name__}`")
            convert(finished.result, dict[str, Any])
        try:
            return (
                finished if finished.cost is None else replace(finished, cost=self._checked(finished.cost, Cost, _Cost))
            )
        except ValidationError:
            log.exception("provider.invalid_cost", action=method, provider=self.type)
            return replace(finished, cost=None)

    def _checked(self, record: T, kind: type[T], rule: type[Struct]) -> T:
        """Return *record*. Raises `ValidationError` unless it is a *kind* that keeps *rule*."""
        if not isinstance(record, kind):
            raise ValidationError(f"Expected `{kind.__name__}`, got `{type(record).__name__}`")
        convert(asdict(record), rule)  # type: ignore[arg-type] # every record is a Struct
        return record

    @contextmanager
    def _invalid(self, method: str, error_of: Callable[[str], Exception]) -> Iterator[None]:
        try:
            yield
        except ValidationError as error:
            log.exception("provider.broken", action=method, provider=self.type)
            raise error_of(f"{self.type}: {method} returned what can't be used: {error}") from error


def _unusable(message: str) -> AttemptError:
    return AttemptError(message, retryable=False)


def checked_model(
    providers: Providers, kind: ProviderType, task_type: TaskType, config: Mapping[str, Any], action: str
) -> str | None:
    """Return the model that an attempt would use. None if its provider isn't configured any more, or has a bug."""
    try:
        with contained():
            model = providers[kind].model(task_type, config)
        return convert(model, str)
    except Exception:  # the attempt reports it
        log.exception("provider.no_model", action=action, provider=kind)
        return None
