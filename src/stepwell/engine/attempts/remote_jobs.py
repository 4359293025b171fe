"""One attempt at a provider, from its inputs to its result, whatever process had begun it.

What must hold:
- Nothing leaves for a provider before `Sending` is committed, and nothing leaves twice for one attempt: what was sent
  without an answer is looked for (`reconcile`), never sent again.
- A job's id is handed to the run the moment it is known, without a pause in which a cancel could strike.
- An attempt that is cancelled while it is being submitted hears the answer out: else nobody could cancel its job. One
  whose time is up by then is judged by what it hears: work that is done is kept, what is lost is the step's to decide.
- No two attempts take one job for theirs.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

import structlog
from anyio import CancelScope, fail_after, to_thread
from msgspec import Struct

from stepwell.contract.costs import Cost
from stepwell.contract.enums import CancelReceipt, ProviderType, TaskPhase
from stepwell.domain.errors import AttemptError, CallFailed, OutcomeUnknown, Unavailable, paid_for
from stepwell.domain.lifecycle.inputs import (
    FollowUpEnded,
    OutcomeLost,
    Progressed,
    RemoteEnded,
    Sending,
    Submitted,
)
from stepwell.domain.model import Sent, Task
from stepwell.domain.prices import PriceList
from stepwell.domain.strict_json.canonical import digest
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.ports.clock import Clock
from stepwell.ports.providers import Attempt, AttemptIO, Finished, Job, JobState, JobStatus, RemoteProvider, Request

log = structlog.get_logger()

T = TypeVar("T")

_FORGOTTEN = 3  # so often in a row a provider must say that it knows no such job, while it might not yet know it
_FETCHING_S = 3_600.0  # what is done is paid for: it has more time than the attempt
_SUBMITTING_S = 900.0  # for a provider's code that knows no deadline
_SLOWER = 1.5
_AGAIN_S = 0.5
_REMEMBERED = 10_000
_WORTH_TELLING = 0.05  # of a job: an event is a row


class AttemptSuperseded(Exception):
    """The run doesn't want the attempt any more."""


class JobNotFound(Exception):
    """The provider doesn't know the job any more."""


class KnownJob(Protocol):
    async def known_jobs(self, provider: ProviderType, remote_ids: Collection[str]) -> set[str]:
        """`ports.WorkflowStore.known_jobs`."""


class PollPace(Struct, frozen=True):
    """Seconds between two looks at a job: the first, and the longest that it grows to."""

    first_s: float = 1.0
    last_s: float = 10.0


class PollIntervals(Struct, frozen=True):
    """The pace of each provider: its own, else *usual*."""

    usual: PollPace = PollPace()
    own: Mapping[ProviderType, PollPace] = {}

    def of(self, provider: RemoteProvider) -> PollPace:
        return self.own.get(provider.type, self.usual)


class RemoteJobs:
    """Drives attempts at providers that work elsewhere. *answer_s*: how long a call to one takes at most."""

    def __init__(self, known: KnownJob, clock: Clock, paces: PollIntervals, prices: PriceList, answer_s: float) -> None:
        self._known, self._clock, self.paces, self._prices, self._answer_s = known, clock, paces, prices, answer_s
        self._on_their_way: Counter[str] = Counter()  # digests of what is being submitted
        self._handed_in: dict[tuple[ProviderType, str], UUID] = {}  # jobs, some perhaps not yet committed, by task

    async def run(
        self,
        provider: RemoteProvider,
        attempt: Attempt,
        task: Task,
        io: AttemptIO,
        control: AttemptControl,
        *,
        on_fallback: bool,
    ) -> Finished:
        """The result. *task* tells how far an earlier process came. Raises `AttemptError` or `AttemptSuperseded`."""
        sent = task.sent
        answer: Job | Finished | None = job_of(task)
        if sent is None:
            sent, answer = await self._submitted(provider, attempt, task, io, control, on_fallback=on_fallback)
        elif answer is None:
            # It may have been on its way until its deadline.
            lost_at = sent.at + timedelta(seconds=self._answer_s)
            why = "the service ended before its answer"
            answer = await self._found(provider, attempt, task, sent, control, why, lost_at)
        if isinstance(answer, Job):
            try:
                answer = await self._done(provider, attempt, answer, task, io, control)
            except AttemptError as error:
                error.cost = self.cost(provider, sent) if error.paid else None
                raise
        assert answer is not None
        return Finished(answer.result, self.cost(provider, sent, answer.cost))

    def cost(self, provider: RemoteProvider, sent: Sent, told: Cost | None = None) -> Cost | None:
        """What work that was done has cost: as the provider has *told*, else by the prices."""
        return told or self._prices.of(provider.type, sent.model)

    async def _done(
        self, provider: RemoteProvider, attempt: Attempt, job: Job, task: Task, io: AttemptIO, control: AttemptControl
    ) -> Finished:
        if not job.done:
            await self._until_done(provider, attempt, job, task, control)
            _must(control.report(RemoteEnded(task.position, task.id)))
        control.set_deadline(2 * _FETCHING_S)  # beyond the deadline below, which has words of its own
        try:
            with fail_after(_FETCHING_S), paid_for():
                return await self.repeated(provider, lambda: provider.fetch(attempt, job, io), control)
        except (JobNotFound, TimeoutError) as error:
            why = f"{error}: its result is gone" if str(error) else "its result could not be fetched for an hour"
            with paid_for():
                message = f"the job was done, but {why}"
                raise AttemptError(message, retryable=False, provider_fault=False) from error

    async def repeated(self, provider: RemoteProvider, call: Callable[[], Awaitable[T]], control: AttemptControl) -> T:
        """What *call* answers, in the end. Raises `JobNotFound` where the provider says that it knows no such job, for
        longer than one may be missing at first.
        """
        pace = self.paces.of(provider)
        pause, forgotten, since = pace.first_s, 0, self._clock.now()
        while True:
            try:
                return await call()
            except CallFailed as error:
                if not error.forgotten:
                    forgotten, since = 0, self._clock.now()
                forgotten += error.forgotten
                lag = timedelta(seconds=provider.listing_lag_s)
                if forgotten >= _FORGOTTEN and self._clock.now() >= since + lag:
                    raise JobNotFound(str(error)) from error
                control.record_poll_error(str(error))
                wait_s = max(error.retry_after_s or 0.0, pause)
            except (AttemptError, AttemptSuperseded):
                raise
            except Exception:
                # A fault of the provider's code: the job goes on all the same.
                log.exception("provider.broken", action="attempt", provider=provider.type)
                control.record_poll_error("internal error")
                wait_s = pause
            await control.sleep(wait_s)
            pause = min(pause * _SLOWER, pace.last_s)

    async def found_job(
        self, provider: RemoteProvider, attempt: Attempt, sent: Sent, control: AttemptControl, lost_at: datetime
    ) -> Job | None:
        """A job of what was sent that no attempt has: the provider has called back about it, or lists it. None once
        there is no more hope for that, since *lost_at*. Whoever gets it must hand it in without a pause.
        """
        listed_by = max(sent.at, lost_at) + timedelta(seconds=provider.listing_lag_s)
        pace = self.paces.of(provider)
        pause, forgotten = pace.first_s, 0
        while True:
            asked_at = self._clock.now()
            told = None if control.callback_body is None else provider.called_back(control.callback_body)
            if told is not None and (free := await self._free(provider.type, [told], attempt.task_id)) is not None:
                return free
            try:
                found = await provider.reconcile(attempt, sent)
            except CallFailed as error:
                forgotten = forgotten + 1 if error.forgotten else 0
                if forgotten == _FORGOTTEN:
                    return None  # there is no such list to ask
            else:
                if found is None:
                    return None
                # One that is being submitted just now may be among those found, and not ours.
                if not self._on_their_way[sent.digest]:
                    if (free := await self._free(provider.type, found, attempt.task_id)) is not None:
                        return free
                    if asked_at >= listed_by:
                        return None
            await control.sleep(min(pause, max((listed_by - asked_at).total_seconds(), _AGAIN_S)))
            pause = min(pause * _SLOWER, pace.last_s)

    async def _submitted(
        self,
        provider: RemoteProvider,
        attempt: Attempt,
        task: Task,
        io: AttemptIO,
        control: AttemptControl,
        *,
        on_fallback: bool,
    ) -> tuple[Sent, Job | Finished]:
        request = await provider.prepare(attempt, io)
        # Pictures stand in some bodies, and take a tenth of a second.
        sent = Sent(request.model, await to_thread.run_sync(digest, request.body), self._clock.now(), on_fallback)
        _must(control.report(Sending(task.position, task.id, sent)))
        try:
            await control.flushed()
            _must(not control.cancelled)
        except BaseException:
            # Nothing has left, and whoever comes next should know.
            control.report(Sending(task.position, task.id, None))
            control.report(FollowUpEnded(task.position, task.id, CancelReceipt.NEVER_STARTED))
            raise
        control.pause_deadline()
        try:
            answer = await self._sent(provider, attempt, request, sent, task, io, control)
        except OutcomeUnknown as error:
            return sent, await self._found(provider, attempt, task, sent, control, str(error), self._clock.now())
        if isinstance(answer, Job):
            if not answer.done:
                control.resume_deadline()
            await control.flushed()
        return sent, answer

    async def _sent(
        self,
        provider: RemoteProvider,
        attempt: Attempt,
        request: Request,
        sent: Sent,
        task: Task,
        io: AttemptIO,
        control: AttemptControl,
    ) -> Job | Finished:
        self._on_their_way[sent.digest] += 1
        try:
            answer: Job | Finished | None = None
            with CancelScope(shield=True), fail_after(_SUBMITTING_S):
                answer = self._heard(provider, await provider.submit(attempt, request, io), task, sent, control)
        except AttemptError as error:
            receipt = CancelReceipt.FINISHED_TOO_LATE if error.paid else CancelReceipt.NEVER_STARTED
            error.cost = self.cost(provider, sent) if error.paid else None
            control.report(FollowUpEnded(task.position, task.id, receipt, error.cost))
            raise
        except OutcomeUnknown:
            raise
        except Exception as error:
            # A fault of the provider's code says nothing of what it has sent.
            log.exception("provider.broken", action="attempt", provider=provider.type)
            raise OutcomeUnknown(f"{provider.type}: internal error: {type(error).__name__}") from error
        finally:
            self._on_their_way[sent.digest] -= 1
            if not self._on_their_way[sent.digest]:
                del self._on_their_way[sent.digest]
        assert answer is not None
        return answer

    def _heard(
        self, provider: RemoteProvider, answer: Job | Finished, task: Task, sent: Sent, control: AttemptControl
    ) -> Job | Finished:
        """Tell the run, which may have given the attempt up meanwhile."""
        if isinstance(answer, Job):
            self._note(provider.type, answer, task.id)
            control.report(Submitted(task.position, task.id, answer.id, dict(answer.urls)))
            if answer.done:
                control.report(RemoteEnded(task.position, task.id))
        else:
            cost = self.cost(provider, sent, answer.cost)
            control.report(FollowUpEnded(task.position, task.id, CancelReceipt.FINISHED_TOO_LATE, cost))
        return answer

    async def _found(
        self,
        provider: RemoteProvider,
        attempt: Attempt,
        task: Task,
        sent: Sent,
        control: AttemptControl,
        why: str,
        lost_at: datetime,
    ) -> Job:
        """The job of what was sent without an answer; `AttemptError` by the step's policy where there is none."""
        if not task.outcome_unknown:
            _must(control.report(OutcomeLost(task.position, task.id, why)))
            await control.flushed()
        job = await self.found_job(provider, attempt, sent, control, lost_at)
        if job is not None:
            _must(control.report(Submitted(task.position, task.id, job.id, dict(job.urls))))
            control.resume_deadline()
            await control.flushed()
            return job
        if attempt.on_unknown == "resubmit":
            raise AttemptError(f"{why}; no job of it was found at the provider", retryable=True)
        message = f"{why}; no job of it was found, but there may be one: not submitted again (on_unknown is fail)"
        raise AttemptError(message, retryable=False, provider_fault=False)

    async def _free(self, kind: ProviderType, found: Collection[Job], task_id: UUID) -> Job | None:
        """The first that no other attempt has. From now on this one has it."""
        while found:
            try:
                taken = await self._known.known_jobs(kind, [job.id for job in found])
            except Unavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            for job in found:
                if job.id not in taken and self._handed_in.get((kind, job.id), task_id) == task_id:
                    self._note(kind, job, task_id)
                    return job
            break
        return None

    def _note(self, kind: ProviderType, job: Job, task_id: UUID) -> None:
        self._handed_in[kind, job.id] = task_id
        if len(self._handed_in) > _REMEMBERED:
            del self._handed_in[next(iter(self._handed_in))]

    async def _until_done(
        self, provider: RemoteProvider, attempt: Attempt, job: Job, task: Task, control: AttemptControl
    ) -> None:
        pace = self.paces.of(provider)
        pause, told = pace.first_s, 0.0
        while True:
            try:
                state = await self.repeated(provider, lambda: provider.poll(attempt, job), control)
            except JobNotFound as error:
                # It may go on, or have been paid for: whether to pay again is for the step to say.
                again = attempt.on_unknown == "resubmit"
                message = f"{error}: the job is gone"
                raise AttemptError(message, retryable=again, provider_fault=again) from error
            if state.status is JobStatus.SUCCEEDED:
                return
            if state.status is not JobStatus.RUNNING:
                raise _ended(provider, state)
            control.record_status(state.word, state.progress, self._clock.now())
            if state.progress is not None and state.progress >= told + _WORTH_TELLING:
                told = state.progress
                _must(control.report(Progressed(task.position, task.id, told, state.word)))
            await control.sleep(pause if state.again_s is None else state.again_s)
            pause = min(pause * _SLOWER, pace.last_s)


def job_of(task: Task) -> Job | None:
    if task.remote_id is None:
        return None
    return Job(id=task.remote_id, urls=task.urls or {}, done=task.phase is TaskPhase.REMOTE_DONE)


def _must(accepted: bool) -> None:  # noqa: FBT001 - it reads as it is called
    if not accepted:
        raise AttemptSuperseded


def _ended(provider: RemoteProvider, state: JobState) -> AttemptError:
    if state.status is JobStatus.CANCELLED:
        return AttemptError(f"{provider.type}: the job was cancelled there", retryable=False, provider_fault=False)
    why = state.error or f"{provider.type}: the job failed"
    return AttemptError(why, retryable=state.retryable, request_fault=state.request_fault)
