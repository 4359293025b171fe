"""The follow-up of an abandoned attempt: its job is cancelled at the provider, and polled until it has ended."""

import structlog

from stepwell.basics.errors import StepwellError
from stepwell.contract.enums import CancelReceipt
from stepwell.engine.attempts.remote_attempt import JobNotFound, RemoteAttempt
from stepwell.lifecycle.inputs import FollowUpEnded
from stepwell.ports.providers import CancelAnswer, Job, JobStatus

log = structlog.get_logger()

_PAID = (CancelReceipt.FINISHED_TOO_LATE, CancelReceipt.PROVIDER_REFUSED)  # the work was done


class JobCanceller:
    """Ends the job of one abandoned attempt. The task of *remote* is the attempt's present row."""

    def __init__(self, remote: RemoteAttempt) -> None:
        self._remote = remote

    async def run(self) -> FollowUpEnded:
        """Cancel the job and wait for its end. Return the receipt of the cancellation."""
        task = self._remote.task
        try:
            receipt = await self._receipt()
        except (StepwellError, JobNotFound) as error:
            log.warning("follow_up.failed", action="follow_up", task_id=str(task.id), error=str(error))
            receipt = CancelReceipt.UNKNOWN
        assert task.sent is not None
        cost = self._remote.cost(task.sent) if receipt in _PAID else None
        return FollowUpEnded(task.position, task.id, receipt, cost)

    async def _receipt(self) -> CancelReceipt:
        remote = self._remote
        job = await self._job()
        if job is None:
            return CancelReceipt.UNKNOWN
        answer = CancelAnswer.UNKNOWN_JOB
        for _ in range(2):  # a second time if the provider didn't know the job, because that may have been too early
            answer = await remote.with_retries(lambda: remote.provider.cancel(remote.attempt, job))
            if answer is not CancelAnswer.UNKNOWN_JOB:
                break
            await remote.control.sleep(remote.pace.last_s)
        return await self._poll_until_ended(job, answer)

    async def _job(self) -> Job | None:
        remote = self._remote
        if (known := remote.known_job) is not None:
            return known
        assert remote.task.sent is not None
        job = await remote.find_unowned_job(remote.task.sent, remote.task.completed_at or remote.task.sent.at)
        if job is not None:
            remote.report_job(job)
        return job

    async def _poll_until_ended(self, job: Job, answer: CancelAnswer) -> CancelReceipt:
        remote, refused = self._remote, answer is CancelAnswer.REFUSED
        while True:
            try:
                state = await remote.with_retries(lambda: remote.provider.poll(remote.attempt, job))
            except JobNotFound:
                # The job is gone: it was taken out of a queue, or nobody has seen how it ended.
                cancelled = answer is CancelAnswer.ACCEPTED
                return CancelReceipt.PROVIDER_CANCELLED if cancelled else CancelReceipt.UNKNOWN
            match state.status:
                case JobStatus.RUNNING:
                    await remote.control.sleep(remote.pace.last_s if refused else remote.pace.first_s)
                case JobStatus.SUCCEEDED:
                    return CancelReceipt.PROVIDER_REFUSED if refused else CancelReceipt.FINISHED_TOO_LATE
                case _:
                    return CancelReceipt.PROVIDER_CANCELLED
