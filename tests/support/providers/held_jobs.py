"""A remote provider in the test's own process: its jobs run until the test ends them, whatever becomes of the service.

It charges for its jobs, so none may be accepted twice. It finds the job of an attempt again.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    CancelAnswer,
    Finished,
    Job,
    JobState,
    JobStatus,
    Request,
)

_POLL_S = 1.0


class HeldJob:
    """A job of one attempt. `status` is RUNNING until it has ended."""

    def __init__(self, attempt: Attempt) -> None:
        self.task_id, self.workflow_id, self.step_id = attempt.task_id, attempt.workflow_id, attempt.step_id
        self.item: Any = attempt.inputs.get("item")
        self.status, self.ended = JobStatus.RUNNING, asyncio.Event()

    def end(self, status: JobStatus) -> None:
        if self.status is JobStatus.RUNNING:
            self.status = status
            self.ended.set()


class HeldJobs:
    """The provider. `jobs` has all jobs that it has accepted, by their ids."""

    type, needs_credential, listing_lag_s = ProviderType.CUSTOM, False, 0.0

    def __init__(self) -> None:
        self.jobs: dict[str, HeldJob] = {}

    def capabilities(self, _task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset()

    def model(self, _task_type: TaskType, _provider_config: Mapping[str, Any], /) -> str:
        return "held"

    def ends_jobs(self, _model: str, /) -> bool:
        return True

    async def prepare(self, attempt: Attempt, _io: AttemptIO, /) -> Request:
        return Request(model="held", body={"task_id": str(attempt.task_id)})

    async def submit(self, attempt: Attempt, _request: Request, _io: AttemptIO, /) -> Job | Finished:
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = HeldJob(attempt)
        return Job(id=job_id)

    async def poll(self, _attempt: Attempt, job: Job, /) -> JobState:
        held = self.jobs[job.id]
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await held.ended.wait()
        return JobState(status=held.status, error="it had to fail", retryable=False, again_s=0.0)

    async def fetch(self, _attempt: Attempt, job: Job, _io: AttemptIO, /) -> Finished:
        return Finished({"job": job.id})

    async def cancel(self, _attempt: Attempt, job: Job, /) -> CancelAnswer:
        held = self.jobs[job.id]
        if held.status is not JobStatus.RUNNING:
            return CancelAnswer.ENDED
        held.end(JobStatus.CANCELLED)
        return CancelAnswer.ACCEPTED

    def called_back(self, _body: bytes, /) -> Job | None:
        return None

    async def reconcile(self, attempt: Attempt, _sent: Sent, /) -> Sequence[Job]:
        return [Job(id=job_id) for job_id, job in self.jobs.items() if job.task_id == attempt.task_id]

    def of(self, *workflow_ids: UUID) -> list[HeldJob]:
        """Return the jobs of these workflows, in the order in which they were accepted."""
        return [job for job in self.jobs.values() if job.workflow_id in workflow_ids]

    def end(self, job: HeldJob) -> None:
        """End a job. It fails if the id of its step says so."""
        job.end(JobStatus.FAILED if job.step_id.startswith("fails") else JobStatus.SUCCEEDED)


def paid_for(jobs: Sequence[HeldJob]) -> Counter[tuple[str, Any]]:
    """Return how many jobs there are for each step and item."""
    return Counter((job.step_id, job.item) for job in jobs)
