"""Providers that a script controls. They accept and refuse the same steps as the providers that they stand for.

What must hold:
- No request leaves the machine.
- An answer without a delay is the provider's answer to the request. An answer with a delay is a job: it is polled, it
  can be cancelled, and its delay passes on the clock.
"""

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast
from uuid import UUID

import filetype

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import TaskType
from stepwell.lifecycle.model import Sent
from stepwell.ports.clock import Clock, Timer
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    CancelAnswer,
    Finished,
    InProcessProvider,
    Job,
    JobState,
    JobStatus,
    Provider,
    RemoteProvider,
    Request,
)
from stepwell.providers.registry import is_in_process
from stepwell.testing.provider_scripts import Answer, ProviderCall, ProviderScript, ProviderScripts, files_of

_POLL_S = 0.2  # a poll returns after this time at the latest, so that a stop of the service doesn't wait for it
NEVER = datetime.max.replace(tzinfo=UTC)
_OPTIONAL = ("refusals", "url_reader", "members")


class ScriptedProviders:
    """Replaces providers by scripted ones (`running_app(adapt_provider=...)`)."""

    def __init__(self, scripts: ProviderScripts, clock: Clock) -> None:
        self.scripts = scripts
        self._delays = _Delays(clock)

    def adapt(self, provider: Provider) -> Provider:
        script = self.scripts.by_type[provider.type]
        script.bind(lambda task_type: provider.capabilities(task_type) is not None, is_free=is_in_process(provider))
        if is_in_process(provider):
            return ScriptedInProcess(script, cast("InProcessProvider", provider), self._delays)
        return ScriptedRemote(script, provider, self._delays)

    def due_times(self, workflow_id: UUID) -> dict[str, datetime]:
        """Return the steps of the workflow whose answers are delayed, with the times of the answers.

        The time of an answer that never comes is `NEVER`.
        """
        return {delay.call.step_id: delay.at for delay in self._delays.of(workflow_id)}

    def end_delays(self, workflow_id: UUID) -> None:
        """Let the delayed answers of the workflow come now."""
        for delay in self._delays.of(workflow_id):
            if delay.at != NEVER:
                delay.end()


class _Delays:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[UUID, _Delay] = {}  # by task

    def begin(self, call: ProviderCall, answer: Answer) -> "_Delay":
        """Begin the delay of the answer to *call*. An infinite one only ends by `_Delay.end`."""
        at = NEVER if answer.delay_s == math.inf else self._clock.now() + timedelta(seconds=answer.delay_s)
        delay = self._waiting[call.task_id] = _Delay(call, answer, at, lambda: self._waiting.pop(call.task_id, None))
        if at != NEVER:
            delay.timer = self._clock.call_later(answer.delay_s, delay.end)
        return delay

    def of(self, workflow_id: UUID) -> "list[_Delay]":
        return [delay for delay in self._waiting.values() if delay.call.workflow_id == workflow_id]


class _Delay:
    """One delay, until *at*, of an answer or of the end of a job. `over` is set after its time, or by `end`."""

    def __init__(self, call: ProviderCall, answer: Answer, at: datetime, on_end: Callable[[], object]) -> None:
        self.call, self.answer, self.at = call, answer, at
        self.over, self.cancelled = asyncio.Event(), False
        self.timer: Timer | None = None
        self._on_end = on_end

    def end(self) -> None:
        self._on_end()
        if self.timer is not None:
            self.timer.cancel()
        self.over.set()


class _ScriptedProvider:
    """The members of a provider that decide which steps are accepted."""

    def __init__(self, script: ProviderScript, real: Provider) -> None:
        self.type, self.needs_credential = real.type, real.needs_credential
        self._script, self._real = script, real
        # The registry looks for these by name.
        for name in _OPTIONAL:
            if hasattr(real, name):
                setattr(self, name, getattr(real, name))

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return self._real.capabilities(task_type)

    def model(self, task_type: TaskType, provider_config: Mapping[str, Any]) -> str:
        return self._real.model(task_type, provider_config)

    def close(self) -> None:
        if (close := getattr(self._real, "close", None)) is not None:
            close()


class ScriptedInProcess(_ScriptedProvider):
    """A provider that works in-process, with scripted answers for the steps that have a script."""

    def __init__(self, script: ProviderScript, real: InProcessProvider, delays: _Delays) -> None:
        super().__init__(script, real)
        self._run, self._delays = real.run, delays

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        call, answer = self._script.begin(attempt, self.model(attempt.task_type, attempt.provider_config))
        try:
            if answer is None:
                result = await self._run(attempt, io)
            else:
                await self._wait(call, answer)
                result = await _result_of(answer, io)
        except AttemptError:
            call.outcome = "failed"
            raise
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
        call.outcome = "succeeded"
        return result

    async def _wait(self, call: ProviderCall, answer: Answer) -> None:
        if answer.delay_s <= 0:
            return
        delay = self._delays.begin(call, answer)
        try:
            await delay.over.wait()
        finally:
            delay.end()


class ScriptedRemote(_ScriptedProvider, RemoteProvider):
    listing_lag_s = 0.0

    def __init__(self, script: ProviderScript, real: Provider, delays: _Delays) -> None:
        super().__init__(script, real)
        self._delays = delays
        self._jobs: dict[str, _Delay] = {}  # each job ends after its delay, or when it is cancelled
        self._numbers = count(1)

    def ends_jobs(self, model: str) -> bool:
        return cast("RemoteProvider", self._real).ends_jobs(model)

    async def prepare(self, attempt: Attempt, _io: AttemptIO, /) -> Request:
        body = {"inputs": dict(attempt.inputs), "provider_config": dict(attempt.provider_config), "seed": attempt.seed}
        return Request(model=self.model(attempt.task_type, attempt.provider_config), body=body)

    async def submit(self, attempt: Attempt, request: Request, io: AttemptIO) -> Job | Finished:
        call, answer = self._script.begin(attempt, request.model)
        if answer is None:
            call.outcome = "failed"
            how = f'providers[{self.type.value!r}].on("{attempt.task_type}").returns(...)'
            message = f"no answer of {self.type} is scripted for step {attempt.step_id!r}: {how}"
            raise AttemptError(message, retryable=False, provider_fault=False)
        if answer.delay_s > 0:
            job_id = f"{self.type.lower()}-{next(self._numbers)}"
            self._jobs[job_id] = self._delays.begin(call, answer)
            return Job(id=job_id)
        return await self._finish(call, answer, io)

    async def poll(self, _attempt: Attempt, job: Job, /) -> JobState:
        entry = self._job(job)
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await entry.over.wait()
        if not entry.over.is_set():
            return JobState(status=JobStatus.RUNNING, word="running", again_s=0.0)
        if entry.cancelled:
            entry.call.outcome = "cancelled"
            return JobState(status=JobStatus.CANCELLED)
        if entry.answer.error is not None:
            entry.call.outcome = "failed"
            return JobState(status=JobStatus.FAILED, error=entry.answer.error, retryable=entry.answer.retryable)
        return JobState(status=JobStatus.SUCCEEDED)

    async def fetch(self, _attempt: Attempt, job: Job, io: AttemptIO, /) -> Finished:
        entry = self._job(job)
        return await self._finish(entry.call, entry.answer, io)

    async def cancel(self, _attempt: Attempt, job: Job, /) -> CancelAnswer:
        entry = self._job(job)
        if entry.over.is_set():
            return CancelAnswer.ENDED
        entry.cancelled = True
        entry.end()
        return CancelAnswer.ACCEPTED

    async def reconcile(self, _attempt: Attempt, _sent: Sent, /) -> list[Job]:
        return []

    def close(self) -> None:
        for job in self._jobs.values():
            job.end()
        super().close()

    def _job(self, job: Job) -> _Delay:
        if job.id not in self._jobs:
            raise CallFailed("the job is of a service that has ended", forgotten=True)
        return self._jobs[job.id]

    async def _finish(self, call: ProviderCall, answer: Answer, io: AttemptIO) -> Finished:
        call.outcome = "failed" if answer.error is not None else "succeeded"
        return Finished(await _result_of(answer, io), answer.cost)


async def _result_of(answer: Answer, io: AttemptIO) -> dict[str, Any]:
    """Return the result with the paths of its files, which are stored here. Raises `AttemptError` for a failure."""
    if answer.error is not None:
        raise AttemptError(answer.error, retryable=answer.retryable, retry_after_s=answer.retry_after_s)
    paths = {key: (await io.store(_file_name(key, data), data)).path for key, data in files_of(answer.result)}
    return {key: _with_paths(key, value, paths) for key, value in answer.result.items()}


def _with_paths(key: str, value: Any, paths: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [paths.get(f"{key}[{index}]", each) for index, each in enumerate(value)]
    return paths.get(key, value)


def _file_name(key: str, data: bytes) -> str:
    suffix = filetype.guess_extension(data) or "bin"
    stem = re.sub("[^A-Za-z0-9]+", "-", key.removesuffix("_path")).strip("-") or "file"
    return f"{stem[:80]}.{suffix}"
