"""What the port asks of a provider that does its work in this process, for nothing: all but the work itself."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from stepwell.domain.definition import KnownStep
from stepwell.domain.errors import Fault
from stepwell.domain.model import ProviderType, Sent, TaskType
from stepwell.ports.providers import Attempt, AttemptIO, CancelAnswer, Finished, Job, JobState, Request


class InProcess(ABC):
    """Implements `ports.providers.Provider` by `run`. Nothing of it is ever elsewhere, so nothing is asked there."""

    type: ProviderType
    in_process = True
    needs_credential = False
    listing_lag_s = 0.0

    @abstractmethod
    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        """As the port says."""

    @abstractmethod
    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        """Do the work and return the step's result (JSON values only).

        Raises `AttemptError` for a failure. Cancellation must end the work, or let go of it, promptly.
        """

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:  # noqa: ARG002 - the port's
        return task_type

    def refusals(self, step: KnownStep) -> Iterable[Fault]:  # noqa: ARG002 - the port's
        return ()

    def ends_jobs(self, model: str) -> bool:  # noqa: ARG002 - the port's
        return True

    async def prepare(self, attempt: Attempt, io: AttemptIO) -> Request:  # noqa: ARG002 - the port's
        return Request(model=self.type, body=attempt.inputs)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:  # noqa: ARG002
        return Finished(await self.run(attempt, io))

    async def poll(self, attempt: Attempt, job: Job) -> JobState:
        _nothing_elsewhere(attempt, job)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO) -> Finished:
        _nothing_elsewhere(attempt, job, io)

    async def cancel(self, attempt: Attempt, job: Job) -> CancelAnswer:
        _nothing_elsewhere(attempt, job)

    def called_back(self, body: bytes) -> Job | None:
        _nothing_elsewhere(body)

    async def reconcile(self, attempt: Attempt, sent: Sent) -> Sequence[Job]:
        _nothing_elsewhere(attempt, sent)


def _nothing_elsewhere(*_: object) -> NoReturn:
    raise AssertionError("work in this process leaves no job anywhere")
