"""What becomes of the job of an attempt that was given up: it is ended at the provider, and its end is waited for."""

import structlog

from stepwell.contract.enums import CancelReceipt
from stepwell.domain.errors import StepwellError
from stepwell.domain.lifecycle.inputs import FollowUpEnded, Submitted
from stepwell.domain.model import Task
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.remote_jobs import JobNotFound, RemoteJobs, job_of
from stepwell.ports.providers import Attempt, CancelAnswer, Job, JobStatus, RemoteProvider

log = structlog.get_logger()

_PAID = (CancelReceipt.FINISHED_TOO_LATE, CancelReceipt.PROVIDER_REFUSED)  # the work was done


class JobCanceller:
    """Follows given-up attempts up, one by one."""

    def __init__(self, remote: RemoteJobs) -> None:
        self._remote = remote

    async def run(
        self, provider: RemoteProvider, attempt: Attempt, task: Task, control: AttemptControl
    ) -> FollowUpEnded:
        """Until the job's end is seen. *task* is the given-up attempt, as its run has it now."""
        try:
            receipt = await self._receipt(provider, attempt, task, control)
        except (StepwellError, JobNotFound) as error:
            log.warning("follow_up.failed", action="follow_up", task_id=str(task.id), error=str(error))
            receipt = CancelReceipt.UNKNOWN
        assert task.sent is not None
        cost = self._remote.cost(provider, task.sent) if receipt in _PAID else None
        return FollowUpEnded(task.position, task.id, receipt, cost)

    async def _receipt(
        self, provider: RemoteProvider, attempt: Attempt, task: Task, control: AttemptControl
    ) -> CancelReceipt:
        job = await self._job(provider, attempt, task, control)
        if job is None:
            return CancelReceipt.UNKNOWN
        answer = CancelAnswer.UNKNOWN_JOB
        for _ in range(2):  # once more where the provider didn't know it: it may have been too early
            answer = await self._remote.repeated(provider, lambda: provider.cancel(attempt, job), control)
            if answer is not CancelAnswer.UNKNOWN_JOB:
                break
            await control.sleep(self._remote.paces.of(provider).last_s)
        return await self._end_of(provider, attempt, job, control, answer)

    async def _job(self, provider: RemoteProvider, attempt: Attempt, task: Task, control: AttemptControl) -> Job | None:
        if (known := job_of(task)) is not None:
            return known
        assert task.sent is not None
        job = await self._remote.found_job(provider, attempt, task.sent, control, task.completed_at or task.sent.at)
        if job is not None:
            control.report(Submitted(task.position, task.id, job.id, dict(job.urls)))
        return job

    async def _end_of(
        self, provider: RemoteProvider, attempt: Attempt, job: Job, control: AttemptControl, answer: CancelAnswer
    ) -> CancelReceipt:
        refused = answer is CancelAnswer.REFUSED
        while True:
            try:
                state = await self._remote.repeated(provider, lambda: provider.poll(attempt, job), control)
            except JobNotFound:
                # It is gone: taken out of a queue, or nobody has seen how.
                ended = answer is CancelAnswer.ACCEPTED
                return CancelReceipt.PROVIDER_CANCELLED if ended else CancelReceipt.UNKNOWN
            match state.status:
                case JobStatus.RUNNING:
                    pace = self._remote.paces.of(provider)
                    await control.sleep(pace.last_s if refused else pace.first_s)
                case JobStatus.SUCCEEDED:
                    return CancelReceipt.PROVIDER_REFUSED if refused else CancelReceipt.FINISHED_TOO_LATE
                case _:
                    return CancelReceipt.PROVIDER_CANCELLED
