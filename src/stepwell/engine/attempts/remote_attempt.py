"""One attempt at a remote provider, from its inputs to its result, whichever process began it, and its follow-up.

What must hold:
- Nothing is sent to a provider before `Sending` is committed, and nothing is sent twice for one attempt. If the answer
  is lost, the attempt looks for the job (`reconcile`) and doesn't send the request again.
- A job's id is reported as soon as it is known. No await comes in between, so no cancellation can lose the id.
- An answer that an earlier process has stored is used, whatever the policy says about lost answers.
- An attempt that is cancelled while it submits waits for the answer, because otherwise nobody could cancel the job. If
  its time is up by then, the answer decides: finished work counts. The step's policy decides if the answer is lost.
"""

import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from anyio import CancelScope
from msgspec import UNSET, UnsetType

from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, StepwellError, paid_for
from stepwell.basics.strict_json.canonical import digest
from stepwell.contract.enums import CancelReceipt, ProviderType, TaskPhase
from stepwell.contract.tasks import Cost
from stepwell.engine.attempts.attempt_answers import AttemptAnswers
from stepwell.engine.attempts.attempt_control import AttemptControl, AttemptSuperseded
from stepwell.engine.attempts.attempt_memory import AttemptMemory
from stepwell.engine.attempts.budget_keeper import BudgetOwner
from stepwell.engine.attempts.checked_provider import CheckedProvider
from stepwell.engine.attempts.remote_jobs import PollPace, RemoteJobs
from stepwell.lifecycle.inputs import FollowUpEnded, OutcomeLost, Progressed, RemoteEnded, Sending, Submitted
from stepwell.lifecycle.model import Sent, Task
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    CancelAnswer,
    Finished,
    Job,
    JobState,
    JobStatus,
    RemoteProvider,
)
from stepwell.rules.costs import PricedWork
from stepwell.runtime.offloop import off_loop_if_large

log = structlog.get_logger()

T = TypeVar("T")

_NOT_FOUND = 3  # answers in a row that say so: the provider might not know the job yet
_FETCHING_S = 3_600.0  # finished work is paid for: it has more time than the attempt
_SUBMITTING_S = 900.0  # for a provider's code without its own deadline
_SLOWER = 1.5
_AGAIN_S = 0.5
_PROGRESS_STEP = 0.05  # every progress event is a database row
_PAID = (CancelReceipt.FINISHED_TOO_LATE, CancelReceipt.PROVIDER_REFUSED)  # the work was done


class JobNotFound(Exception):
    """Raised when the provider doesn't know the job any more."""


class AnswerNotRead(Exception):
    """Raised when a stored answer could not be interpreted yet, for example because the provider's key is missing."""


class RemoteAttempt:
    """One attempt, or the follow-up of one. *task* says how far an earlier process came.

    *root_id* is the workflow whose budget the attempt uses; None if there is none.
    """

    def __init__(
        self,
        jobs: RemoteJobs,
        provider: RemoteProvider,
        attempt: Attempt,
        task: Task,
        control: AttemptControl,
        *,
        root_id: UUID | None = None,
    ) -> None:
        self._jobs, self._clock, self._budget_owner = jobs, jobs.clock, BudgetOwner(root_id, attempt.tenant)
        self.provider = CheckedProvider(provider)
        self.attempt, self.task, self.control = attempt, task, control

    @property
    def pace(self) -> PollPace:
        return self._jobs.intervals.of(self.provider.type)

    @property
    def known_job(self) -> Job | None:
        """The job that the task has; None if it has none, or nobody knows."""
        if self.task.remote_id is None:
            return None
        return Job(id=self.task.remote_id, urls=self.task.urls or {}, done=self.task.phase is TaskPhase.REMOTE_DONE)

    def cost(self, sent: Sent, reported: Cost | None = None) -> Cost | None:
        """Return the cost of work that was done: the *reported* cost of the provider, else the price in the list."""
        return reported or sent.price or self._jobs.prices.of(self.provider.type, sent.model)

    async def run(
        self, io: AttemptIO, memory: AttemptMemory, answers: AttemptAnswers, *, on_fallback: bool
    ) -> Finished:
        """Return the result. Raises `AttemptError`, `AttemptSuperseded` or `NoRoom`."""
        sent = self.task.sent
        answer: Job | Finished | None = self.known_job
        if sent is None:
            with memory.for_request():
                sent, answer = await self._submit(io, answers, on_fallback=on_fallback)
        elif answer is None:
            answer = await self._continue_without_job(sent, io, answers)
        if isinstance(answer, Job):
            try:
                answer = await self._finish(answer, io)
            except AttemptError as error:
                error.cost = self.cost(sent) if error.paid else None
                raise
        assert answer is not None
        return Finished(answer.result, self.cost(sent, answer.cost))

    async def with_retries(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat *call* until it returns a usable answer, and return that.

        Raises `JobNotFound` if the provider reports no such job for longer than it may take to list a new one.
        """
        pace = self.pace
        pause, not_found, since = pace.first_s, 0, self._clock.now()
        while True:
            try:
                return await call()
            except CallFailed as error:
                if not error.forgotten:
                    not_found, since = 0, self._clock.now()
                not_found += error.forgotten
                lag = timedelta(seconds=self.provider.listing_lag_s)
                if not_found >= _NOT_FOUND and self._clock.now() >= since + lag:
                    raise JobNotFound(str(error)) from error
                self.control.record_poll_error(str(error))
                wait_s = max(error.retry_after_s or 0.0, pause)
            except (AttemptError, AttemptSuperseded, OutcomeUnknown):
                raise
            except Exception:
                # A bug in the provider's code. The job continues all the same.
                log.exception("provider.broken", action="attempt", provider=self.provider.type)
                self.control.record_poll_error("internal error")
                wait_s = pause
            await self.control.sleep(wait_s)
            pause = min(pause * _SLOWER, pace.last_s)

    async def find_unowned_job(self, sent: Sent, lost_at: datetime) -> Job | None:
        """Return a job of the request *sent* that belongs to no attempt: one from a callback, or one that is listed.

        The answer to the request was lost at *lost_at*. Returns None once such a job can't appear any more. The caller
        must report the job before its next await.
        """
        provider, task_id = self.provider, self.attempt.task_id
        listed_by = max(sent.at, lost_at) + timedelta(seconds=provider.listing_lag_s)
        pace = self.pace
        pause, not_found = pace.first_s, 0
        while True:
            listed_at = self._clock.now()
            if (job := await self._job_of_callback()) is not None:
                return job
            try:
                listed = await provider.reconcile(self.attempt, sent)
            except CallFailed as error:
                not_found = not_found + 1 if error.forgotten else 0
                if not_found == _NOT_FOUND:
                    return None  # the provider has no such list
            else:
                if listed is None:
                    return None
                # If an equal request is being submitted now, its job may be listed too, and isn't this attempt's.
                if not self._jobs.is_submitting(sent.digest):
                    if (job := await self._jobs.take_unowned(provider.type, listed, task_id)) is not None:
                        return job
                    if listed_at >= listed_by:
                        return None
            await self.control.sleep(min(pause, max((listed_by - listed_at).total_seconds(), _AGAIN_S)))
            pause = min(pause * _SLOWER, pace.last_s)

    async def _job_of_callback(self) -> Job | None:
        """Return the job that a callback names; None if there is none, or the job belongs to another attempt."""
        body = self.control.callback_body
        job = None if body is None else self.provider.called_back(body)
        if job is None:
            return None
        return await self._jobs.take_unowned(self.provider.type, [job], self.attempt.task_id)

    def report_job(self, job: Job) -> bool:
        """Report the job. False if the run ignores it."""
        return self.control.report(Submitted(self.task.position, self.task.id, job.id, dict(job.urls)))

    async def _continue_without_job(self, sent: Sent, io: AttemptIO, answers: AttemptAnswers) -> Job | Finished:
        """Use the answer that an earlier process has stored, or find the job if that process got no answer."""
        request = await self.with_retries(answers.load)
        if request is None:
            # The request may have been under way until its deadline.
            lost_at = sent.at + timedelta(seconds=self._jobs.answer_s)
            return await self._find_lost_job(sent, "the service ended before its answer", lost_at)

        async def submit() -> Job | Finished:
            try:
                return await self.provider.submit(self.attempt, request, io)
            except AttemptError as error:
                if answers.is_loaded:
                    raise AnswerNotRead(str(error)) from error
                raise

        async def interpret() -> Job | Finished:
            try:
                return await self._send(submit, sent)
            except AnswerNotRead as error:
                raise CallFailed(str(error)) from error

        try:
            answer = await self.with_retries(interpret)
        except OutcomeUnknown as error:
            return await self._find_lost_job(sent, str(error), self._clock.now())
        await self.control.flushed()
        return answer

    async def _submit(
        self, io: AttemptIO, answers: AttemptAnswers, *, on_fallback: bool
    ) -> tuple[Sent, Job | Finished]:
        control, task = self.control, self.task
        request = await self.provider.prepare(self.attempt, io)
        # A body may contain pictures; their digest takes a tenth of a second.
        body_digest = await off_loop_if_large(digest, request.body)
        price, reserved = await self._reserve(request.model)
        sent = Sent(request.model, body_digest, self._clock.now(), on_fallback, price, reserved)
        _require_current(control.report(Sending(task.position, task.id, sent)))
        try:
            await control.flushed()
            while not self._jobs.lease.holds:  # after a standstill, another process may have sent the request
                await self._jobs.until_may_send()
                # This is written only if no other process has taken over the workflow.
                _require_current(control.report(Sending(task.position, task.id, sent)))
                await control.flushed()
            _require_current(not control.cancelled)
        except BaseException:
            # Report that nothing was sent, because the next process would reconcile the attempt otherwise.
            control.report(Sending(task.position, task.id, None))
            control.report(FollowUpEnded(task.position, task.id, CancelReceipt.NEVER_STARTED))
            raise
        control.pause_deadline()
        try:
            with answers.submitting(request):
                answer = await self._send(lambda: self.provider.submit(self.attempt, request, io), sent)
        except OutcomeUnknown as error:
            return sent, await self._find_lost_job(sent, str(error), self._clock.now())
        if isinstance(answer, Job):
            if not answer.done:
                control.resume_deadline()
            await control.flushed()
        return sent, answer

    async def _reserve(self, model: str) -> tuple[Cost | UnsetType, bool | UnsetType]:
        """Reserve what the attempt is expected to cost, if it has a budget. Return `price` and `reserved` of `Sent`."""
        kind, prices = self.provider.type, self._jobs.prices
        if kind is ProviderType.LOCAL:  # on workers
            return UNSET, UNSET
        price = prices.of(kind, model, PricedWork(self.attempt.task_type, self.attempt.inputs))
        reserved = await self._jobs.budgets.reserve(self._budget_owner, self.task.id, price)
        depends = price is not None and prices.depends_on_work(kind, model)
        return (price if depends and price is not None else UNSET), reserved or UNSET

    async def _send(self, submit: Callable[[], Awaitable[Job | Finished]], sent: Sent) -> Job | Finished:
        answer: Job | Finished | None = None
        try:
            with self._jobs.submitting(sent.digest), CancelScope(shield=True), self.control.fail_after(_SUBMITTING_S):
                answer = self._report_answer(await submit(), sent)
        except AttemptError as error:
            receipt = CancelReceipt.FINISHED_TOO_LATE if error.paid else CancelReceipt.NEVER_STARTED
            error.cost = self.cost(sent) if error.paid else None
            self.control.report(FollowUpEnded(self.task.position, self.task.id, receipt, error.cost))
            raise
        except (OutcomeUnknown, AttemptSuperseded, AnswerNotRead):
            raise
        except Exception as error:
            # A bug in the provider's code says nothing about what was sent.
            log.exception("provider.broken", action="attempt", provider=self.provider.type)
            raise OutcomeUnknown(f"{self.provider.type}: internal error: {type(error).__name__}") from error
        assert answer is not None
        return answer

    def _report_answer(self, answer: Job | Finished, sent: Sent) -> Job | Finished:
        """Report the answer to the run, which may have abandoned the attempt meanwhile."""
        task = self.task
        if isinstance(answer, Job):
            self._jobs.record_owner(self.provider.type, answer, task.id)
            self.report_job(answer)
            if answer.done:
                self.control.report(RemoteEnded(task.position, task.id))
        else:
            cost = self.cost(sent, answer.cost)
            self.control.report(FollowUpEnded(task.position, task.id, CancelReceipt.FINISHED_TOO_LATE, cost))
        return answer

    async def _find_lost_job(self, sent: Sent, why: str, lost_at: datetime) -> Job:
        """Return the job of what was sent without an answer. If there is none, raise `AttemptError` by the policy."""
        if not self.task.outcome_unknown:
            _require_current(self.control.report(OutcomeLost(self.task.position, self.task.id, why)))
            await self.control.flushed()
        job = await self.find_unowned_job(sent, lost_at)
        if job is not None:
            _require_current(self.report_job(job))
            self.control.resume_deadline()
            await self.control.flushed()
            return job
        if self.attempt.on_unknown == "resubmit":
            raise AttemptError(f"{why}; no job of it was found at the provider", retryable=True)
        message = f"{why}; no job of it was found, but there may be one: not submitted again (on_unknown is fail)"
        raise AttemptError(message, retryable=False, provider_fault=False)

    async def _finish(self, job: Job, io: AttemptIO) -> Finished:
        """Wait for the job's end, and fetch its result."""
        if not job.done:
            await self._poll_until_done(job)
            _require_current(self.control.report(RemoteEnded(self.task.position, self.task.id)))
        self.control.set_deadline(2 * _FETCHING_S)  # later than the deadline below, which has its own message
        try:
            with self.control.fail_after(_FETCHING_S), paid_for():
                return await self.with_retries(lambda: self.provider.fetch(self.attempt, job, io))
        except (JobNotFound, TimeoutError) as error:
            why = f"{error}: its result is missing" if str(error) else "its result could not be fetched for an hour"
            with paid_for():
                message = f"the job was done, but {why}"
                raise AttemptError(message, retryable=False, provider_fault=False) from error

    async def _poll_until_done(self, job: Job) -> None:
        pace = self.pace
        pause, reported, queued = pace.first_s, 0.0, False
        while True:
            try:
                state = await self.with_retries(lambda: self.provider.poll(self.attempt, job))
            except JobNotFound as error:
                # The job may continue, or may have been paid for: the step's policy says whether to pay again.
                again = self.attempt.on_unknown == "resubmit"
                message = f"{error}: the job no longer exists"
                raise AttemptError(message, retryable=again, provider_fault=again) from error
            if state.status is JobStatus.SUCCEEDED:
                return
            if state.status is not JobStatus.RUNNING:
                raise self._failure(state)
            self.control.record_status(state.word, state.progress, self._clock.now())
            if state.queued or queued:
                self.control.set_deadline(math.inf if state.queued else self.attempt.timeout_s)
            queued = state.queued
            if state.progress is not None and state.progress >= reported + _PROGRESS_STEP:
                reported = state.progress
                progressed = Progressed(self.task.position, self.task.id, reported, state.word)
                _require_current(self.control.report(progressed))
            await self.control.sleep(pause if state.again_s is None else state.again_s)
            pause = min(pause * _SLOWER, pace.last_s)

    def _failure(self, state: JobState) -> AttemptError:
        kind = self.provider.type
        if state.status is JobStatus.CANCELLED:
            return AttemptError(f"{kind}: the job was cancelled there", retryable=False, provider_fault=False)
        why = state.error or f"{kind}: the job failed"
        return AttemptError(
            why, retryable=state.retryable, provider_fault=state.provider_fault, request_fault=state.request_fault
        )


def _require_current(is_current: bool) -> None:  # noqa: FBT001 - the call reads as a sentence
    """Raise `AttemptSuperseded` unless the run still wants the attempt."""
    if not is_current:
        raise AttemptSuperseded


async def end_job(remote: RemoteAttempt) -> FollowUpEnded:
    """Cancel the job of an abandoned attempt, whose present row is the task of *remote*, and wait for the job's end.

    Return the receipt of the cancellation.
    """
    task = remote.task
    try:
        receipt = await _receipt(remote)
    except (StepwellError, JobNotFound) as error:
        log.warning("follow_up.failed", action="follow_up", task_id=str(task.id), error=str(error))
        receipt = CancelReceipt.UNKNOWN
    assert task.sent is not None
    cost = remote.cost(task.sent) if receipt in _PAID else None
    return FollowUpEnded(task.position, task.id, receipt, cost)


async def _receipt(remote: RemoteAttempt) -> CancelReceipt:
    if (job := remote.known_job) is None:
        assert remote.task.sent is not None
        job = await remote.find_unowned_job(remote.task.sent, remote.task.completed_at or remote.task.sent.at)
        if job is None:
            return CancelReceipt.UNKNOWN
        remote.report_job(job)
    answer = CancelAnswer.UNKNOWN_JOB
    for _ in range(2):  # a second time if the provider didn't know the job, because that may have been too early
        answer = await remote.with_retries(lambda: remote.provider.cancel(remote.attempt, job))
        if answer is not CancelAnswer.UNKNOWN_JOB:
            break
        await remote.control.sleep(remote.pace.last_s)
    return await _poll_until_ended(remote, job, answer)


async def _poll_until_ended(remote: RemoteAttempt, job: Job, answer: CancelAnswer) -> CancelReceipt:
    refused = answer is CancelAnswer.REFUSED
    while True:
        try:
            state = await remote.with_retries(lambda: remote.provider.poll(remote.attempt, job))
        except JobNotFound:
            # The job no longer exists: it was taken out of a queue, or nobody has seen how it ended.
            return CancelReceipt.PROVIDER_CANCELLED if answer is CancelAnswer.ACCEPTED else CancelReceipt.UNKNOWN
        match state.status:
            case JobStatus.RUNNING:
                await remote.control.sleep(remote.pace.last_s if refused else remote.pace.first_s)
            case JobStatus.SUCCEEDED:
                return CancelReceipt.PROVIDER_REFUSED if refused else CancelReceipt.FINISHED_TOO_LATE
            case _:
                return CancelReceipt.PROVIDER_CANCELLED
