"""One attempt at a step: resolve its inputs, call the provider within its time, say how it went."""

import asyncio
import base64
import random
from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any, Literal, Protocol
from uuid import UUID

import structlog
from anyio import sleep_forever
from msgspec import Struct, json
from msgspec.structs import replace

from stepwell.contract.costs import Cost
from stepwell.contract.definition import WorkflowConfig, WorkflowStepDefinition
from stepwell.contract.enums import ProviderType, TaskType, TransformType
from stepwell.domain.artifacts import media_type_of
from stepwell.domain.errors import ArtifactError, AttemptError
from stepwell.domain.lifecycle.inputs import AttemptFailed, FollowUpEnded, Succeeded
from stepwell.domain.mapping.input_mapping import (
    DeferredTransform,
    check_inputs,
    effective_config,
    put_input,
    resolve_inputs,
)
from stepwell.domain.model import Task
from stepwell.domain.steps import ResolvedStep
from stepwell.domain.strict_json.size import MAX_LEVELS, MAX_RESULT_BYTES, is_deeper, is_larger_than
from stepwell.engine.admission.model_health import ModelKey
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.attempt_io import ArtifactUrls, BoundAttemptIO, OutputDownloader
from stepwell.engine.attempts.job_cancellation import JobCanceller
from stepwell.engine.attempts.remote_attempt import AttemptSuperseded, RemoteAttempt
from stepwell.engine.attempts.remote_jobs import RemoteJobs
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.providers import Attempt, Finished, InputFetcher, Providers

log = structlog.get_logger()

_ERROR_CAP = 2_000


class AttemptContext(Protocol):
    """What an attempt needs to know of its workflow."""

    @property
    def workflow_id(self) -> Any: ...
    @property
    def tenant(self) -> str | None: ...
    @property
    def config(self) -> WorkflowConfig: ...

    @property
    def lost(self) -> bool:
        """Whether another process may have the workflow now, and with it the task's files."""

    def resolved_step(self, position: int) -> ResolvedStep: ...
    def definition(self, position: int) -> WorkflowStepDefinition: ...
    def on_fallback(self, position: int) -> bool: ...
    def has_sent(self, position: int) -> bool:
        """Whether something of the step's attempt has left for a provider."""

    def results(self, definition: WorkflowStepDefinition) -> Mapping[str, bytes]: ...


class Callbacks(Protocol):
    def url(self, workflow_id: UUID, task_id: UUID) -> str | None:
        """Where a provider may tell of the attempt; None where it could not reach us."""


class PreparedAttempt(Struct):
    """What an attempt has to wait for: transforms that need I/O, the provider."""

    inputs: dict[str, Any]
    deferred: list[DeferredTransform]


class AttemptEnd(Struct):
    """`outcome` is null for an attempt that was cancelled; `stored`: it has written files, or may have."""

    outcome: Succeeded | AttemptFailed | None
    stored: bool


class AttemptRunner:
    def __init__(
        self,
        providers: Providers,
        artifacts: Artifacts,
        inputs: InputFetcher,
        links: ArtifactUrls,
        downloads: OutputDownloader,
        callbacks: Callbacks,
        remote_jobs: RemoteJobs,
    ) -> None:
        self._providers, self._artifacts, self._inputs, self._links = providers, artifacts, inputs, links
        self._downloads, self._callbacks = downloads, callbacks
        self._remote_jobs = remote_jobs

    def prepare(self, context: AttemptContext, task: Task) -> Succeeded | AttemptFailed | PreparedAttempt:
        """Resolve the inputs. An attempt that has nothing to wait for ends here; the other goes on with `run`."""
        if task.sent is not None:
            return PreparedAttempt({}, [])  # it has what it needs, at the provider
        plan, definition = context.resolved_step(task.position), context.definition(task.position)
        try:
            results = {step_id: json.decode(result) for step_id, result in context.results(definition).items()}
            inputs, deferred = resolve_inputs(definition, effective_config(context.config, definition), results)
            if deferred or task.provider is not None:
                return PreparedAttempt(inputs, deferred)
            check_inputs(plan.task_type, inputs)
            return Succeeded(task.position, task.id, _encoded(inputs))
        except Exception as error:  # noqa: BLE001 - it is told
            return _failed_by(error, task, plan)

    def works_here(self, provider: ProviderType | None) -> bool:
        """Return whether the provider works in this process: the registry decides that, and only the registry."""
        return self._providers.works_here(provider)

    def model_key(self, context: AttemptContext, position: int, *, on_fallback: bool) -> ModelKey | None:
        """What the step's next attempt would ask; null where that is nothing outside this process."""
        plan = context.resolved_step(position)
        provider = plan.fallback if on_fallback else plan.provider
        if provider is None or self._providers.works_here(provider):
            return None
        try:
            config = _provider_config(context, position, on_fallback)
            return ModelKey(provider, self._providers[provider].model(plan.task_type, config))
        except Exception:  # it isn't configured any more, or has a fault: that is told where the step runs
            log.exception("provider.no_model", action="attempt", provider=provider)
            return None

    async def run(
        self, context: AttemptContext, task: Task, work: PreparedAttempt, control: AttemptControl
    ) -> AttemptEnd:
        """How the attempt went. Its files are the caller's business: it knows whether the end was recorded."""
        io = BoundAttemptIO(context.tenant, task, self._artifacts, self._inputs, self._links, self._downloads)
        outcome = await self._attempt(context, task, work, io, control)
        return AttemptEnd(outcome, bool(io.stored))

    async def discard(self, task: Task) -> None:
        """Delete whatever the task has stored."""
        try:
            await self._artifacts.discard(task.id)
        except ArtifactError:
            log.exception("artifact.discard_failed", action="discard", task_id=str(task.id))

    async def _attempt(
        self, context: AttemptContext, task: Task, work: PreparedAttempt, io: BoundAttemptIO, control: AttemptControl
    ) -> Succeeded | AttemptFailed | None:
        plan = context.resolved_step(task.position)
        encoded: bytes | None = None
        cost: Cost | None = None
        try:
            with control.within(plan.timeout_s):
                finished = await self._call(context, plan, task, work, io, control)
                cost = finished.cost
                encoded = _encoded(finished.result)
        except AttemptSuperseded:
            return None
        except (Exception, CancelledError) as error:
            if isinstance(error, CancelledError) and _cancelling():
                raise
            if control.cancelled:
                return None  # whatever the provider has made of it
            return _failed_by(error, task, plan, cost)
        if encoded is not None:
            return Succeeded(task.position, task.id, encoded, tuple(io.stored.values()), cost)
        if control.cancelled:
            return None
        endable = self._is_endable(context, task)
        why = "" if endable else "; its job can't be ended there, so that it isn't paid for again (on_unknown is fail)"
        late = AttemptError(f"timed out after {plan.timeout_s:g} s{why}", retryable=True)
        return replace(_failed(task, late), timed_out=True, endable=endable)

    def _is_endable(self, context: AttemptContext, task: Task) -> bool:
        """Whether what the attempt may have at its provider can be ended, or may be paid for twice."""
        if not context.has_sent(task.position):
            return True
        on_fallback = context.on_fallback(task.position)
        key = self.model_key(context, task.position, on_fallback=on_fallback)
        if key is None or self._providers.remote(key.provider).ends_jobs(key.model):
            return True
        return _attempt_of(context, task, {}, on_fallback=on_fallback).on_unknown == "resubmit"

    async def follow_up(self, context: AttemptContext, task: Task, control: AttemptControl) -> FollowUpEnded:
        """End what a given-up attempt has at its provider; what has become of it."""
        assert task.provider is not None
        attempt = _attempt_of(context, task, {}, on_fallback=task.sent is not None and task.sent.on_fallback)
        try:
            provider = self._providers.remote(task.provider)
            return await JobCanceller(RemoteAttempt(self._remote_jobs, provider, attempt, task, control)).run()
        except Exception:
            # Its provider isn't configured any more, or has a fault: another process may do better, for as long as
            # the attempt is followed up.
            log.exception("follow_up.broken", action="follow_up", task_id=str(task.id))
            await sleep_forever()
            raise

    async def _call(
        self,
        context: AttemptContext,
        plan: ResolvedStep,
        task: Task,
        work: PreparedAttempt,
        io: BoundAttemptIO,
        control: AttemptControl,
    ) -> Finished:
        inputs = work.inputs
        for transform in work.deferred:
            put_input(inputs, transform.to_field, await self._finish(transform, context.tenant, io))
        if task.sent is None:
            check_inputs(plan.task_type, inputs)
        if task.provider is None:
            return Finished(inputs)
        on_fallback = context.on_fallback(task.position)
        attempt = _attempt_of(context, task, inputs, on_fallback=on_fallback)
        if (run_here := self._providers.in_process(task.provider)) is not None:
            return await run_here(attempt, io)
        attempt = replace(attempt, callback_url=self._callbacks.url(context.workflow_id, task.id))
        provider = self._providers.remote(task.provider)
        remote = RemoteAttempt(self._remote_jobs, provider, attempt, task, control)
        return await remote.run(io, on_fallback=on_fallback)

    async def _finish(self, transform: DeferredTransform, tenant: str | None, io: BoundAttemptIO) -> Any:
        """The transforms that need more than their value, one path or a list: a signed address, or the file itself."""
        if isinstance(transform.value, list):
            return [await self._finish_one(transform, path, tenant, io) for path in transform.value]
        return await self._finish_one(transform, transform.value, tenant, io)

    async def _finish_one(self, transform: DeferredTransform, path: Any, tenant: str | None, io: BoundAttemptIO) -> str:
        if not isinstance(path, str) or not await self._links.owns(path, tenant):
            message = f"{transform.label}: {transform.transform} needs the path of an artifact, and there is none such"
            raise AttemptError(message, retryable=False, provider_fault=False)
        if transform.transform is TransformType.PATH_TO_URL:
            return await io.address(path)
        blob = await io.fetch(path, transform.to_field)
        media_type = media_type_of(path) or "application/octet-stream"
        return f"data:{media_type};base64,{base64.b64encode(blob.data).decode()}"


def _provider_config(context: AttemptContext, position: int, on_fallback: bool) -> dict[str, Any]:  # noqa: FBT001
    definition = context.definition(position)
    return (definition.fallback_provider_config if on_fallback else definition.provider_config) or {}


def _attempt_of(context: AttemptContext, task: Task, inputs: dict[str, Any], *, on_fallback: bool) -> Attempt:
    definition = context.definition(task.position)
    config = _provider_config(context, task.position, on_fallback)
    by_type: Literal["fail", "resubmit"] = "fail"
    if definition.task_type is TaskType.LLM_INTERACTION:
        by_type = "resubmit"  # a few cents, and nobody's picture
    return Attempt(
        task_id=task.id,
        workflow_id=context.workflow_id,
        tenant=context.tenant,
        step_id=definition.id,
        task_type=definition.task_type,
        number=task.attempt,
        inputs=inputs,
        provider_config=config,
        seed=task.seed or 0,
        on_unknown=config.get("on_unknown") or context.config.on_unknown or by_type,
    )


def _encoded(result: dict[str, Any]) -> bytes:
    if is_larger_than(result, MAX_RESULT_BYTES):
        message = (
            f"the result is over {MAX_RESULT_BYTES:,} bytes: files belong into artifacts, their paths into results"
        )
        raise AttemptError(message, retryable=False, provider_fault=False)
    if is_deeper(result, MAX_LEVELS):
        message = f"the result is nested deeper than {MAX_LEVELS} levels"
        raise AttemptError(message, retryable=False, provider_fault=False)
    try:
        return json.encode(result)
    except (TypeError, ValueError, OverflowError) as error:
        # A literal in an expression may hold a lone surrogate: that won't get better.
        raise AttemptError(f"the result is no JSON: {error}", retryable=False, provider_fault=False) from error


def _cancelling() -> bool:
    """Whether somebody asked for it; a provider's inner task that was cancelled is no more than a failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failed_by(error: BaseException, task: Task, plan: ResolvedStep, cost: Cost | None = None) -> AttemptFailed:
    """*cost*: that of work which was done, and whose result can't be used."""
    if isinstance(error, AttemptError):
        error.cost = error.cost or cost
        return _failed(task, error)
    # A bug of ours or of a provider: its text may hold anything, so only its kind is shown.
    log.error("attempt.crashed", action="attempt", task_id=str(task.id), step_id=plan.step_id, exc_info=error)
    return replace(_failed(task, AttemptError(f"internal error: {type(error).__name__}", retryable=True)), broken=True)


def _failed(task: Task, error: AttemptError) -> AttemptFailed:
    clean = str(error).replace("\x00", "").encode("utf-8", "replace").decode()
    return AttemptFailed(
        task.position,
        task.id,
        clean if len(clean) <= _ERROR_CAP else clean[: _ERROR_CAP - 1] + "…",
        retryable=error.retryable,
        provider_fault=error.provider_fault,
        jitter=random.random(),  # noqa: S311 - jitter
        retry_after_s=error.retry_after_s,
        cost=error.cost,
        request_fault=error.request_fault,
    )
